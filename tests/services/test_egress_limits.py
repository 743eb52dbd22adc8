"""Slots, pauses and the breaker: when the next request to a host may go out."""

from __future__ import annotations

import asyncio

import pytest

from areabox.services.limits import HostPaused, Limits, parse_retry_after
from areabox.services.wire import NotSent
from tests.services.loopback import Connection, opened, serving


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def start(limits: Limits, *hosts: str) -> tuple[list[str], list[asyncio.Task[None]]]:
    """Ask for slots in this order; the list tells who got one, in order."""
    entered: list[str] = []

    async def enter(host: str, number: int) -> None:
        await limits.enter(host)
        entered.append(f"{host}{number}")

    tasks = []
    for number, host in enumerate(hosts):
        tasks.append(asyncio.create_task(enter(host, number)))
        await settle()
    return entered, tasks


async def finish(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_host_has_four_slots_and_serves_the_rest_in_order(clock):
    limits = Limits(clock)
    entered, tasks = await start(limits, *("a" * 7))
    assert entered == ["a0", "a1", "a2", "a3"]
    for expected in ("a4", "a5", "a6"):
        limits.leave("a")
        await settle()
        assert entered[-1] == expected
    await finish(tasks)


async def test_all_hosts_together_have_a_limit_and_take_turns(clock):
    limits = Limits(clock, per_host=4, in_all=4)
    entered, tasks = await start(limits, *"aaaabbbc")
    for _ in range(4):
        limits.leave("a")
        await settle()
    assert entered[-2:] == ["b5", "b6"]
    await finish(tasks)


async def test_hosts_that_hang_do_not_keep_others_from_their_first_slot(clock):
    limits = Limits(clock, per_host=4, in_all=4)
    entered, tasks = await start(limits, *"aaaabbbc")
    assert entered == ["a0", "a1", "a2", "a3", "b4", "c7"]
    limits.leave("b")
    await settle()
    assert entered[6:] == ["b5"]
    await finish(tasks)


async def test_who_came_later_does_not_overtake(clock):
    limits = Limits(clock, per_host=1)
    entered, tasks = await start(limits, "a", "a")
    limits.leave("a")
    late = asyncio.create_task(limits.enter("a"))
    await settle()
    assert entered == ["a0", "a1"]
    assert not late.done()
    await finish([*tasks, late])


async def test_a_cancelled_waiter_leaves_no_trace(clock):
    limits = Limits(clock, per_host=1)
    entered, tasks = await start(limits, "a", "a", "a")
    tasks[1].cancel()
    await settle()
    limits.leave("a")
    await settle()
    assert entered == ["a0", "a2"]
    limits.leave("a")
    assert limits.running == 0
    await finish(tasks)


async def test_a_slot_that_comes_together_with_the_cancellation_is_given_back(clock):
    limits = Limits(clock, per_host=1)
    _, tasks = await start(limits, "a", "a", "a")
    limits.leave("a")
    tasks[1].cancel()
    await settle()
    assert limits.running == 1  # the third has it
    assert tasks[2].done()
    await finish(tasks)


async def test_switched_off_there_are_no_slots(clock):
    limits = Limits(clock, off=True)
    entered, tasks = await start(limits, *("a" * 100))
    assert len(entered) == 100
    await finish(tasks)


async def test_a_pause_turns_those_away_who_wait_already(clock):
    limits = Limits(clock, per_host=1)
    _, tasks = await start(limits, "a", "a", "b")
    limits.pause("a", 60)
    with pytest.raises(HostPaused):
        await tasks[1]
    with pytest.raises(HostPaused):
        await limits.enter("a")
    assert tasks[2].done()
    await finish(tasks)


async def test_who_comes_back_a_moment_early_is_let_in(clock):
    limits = Limits(clock)
    limits.pause("a", 60)
    clock.advance(59_900)
    await limits.enter("a")


async def test_a_shorter_pause_does_not_shorten_a_longer_one(clock):
    limits = Limits(clock)
    limits.pause("a", 100)
    limits.pause("a", 1)
    with pytest.raises(HostPaused) as caught:
        await limits.enter("a")
    assert caught.value.retry_after_s == 100


async def test_the_breaker_opens_after_five_failures_and_waits_longer_each_time(clock):
    limits = Limits(clock)
    for _ in range(4):
        limits.failed("a", "refused")
    await limits.enter("a")
    limits.leave("a")
    for pause_s in (5, 10, 20, 40, 60, 60):
        limits.failed("a", "refused")
        with pytest.raises(HostPaused, match=r"did not answer \d+ times in a row: refused") as caught:
            await limits.enter("a")
        assert caught.value.retry_after_s == pytest.approx(pause_s)
        clock.advance(pause_s * 1000 + 1)


async def test_after_the_pause_one_tries_alone_and_its_answer_opens_the_host_again(clock):
    limits = Limits(clock)
    for _ in range(5):
        limits.failed("a", "refused")
    clock.advance(6_000)
    entered, tasks = await start(limits, *"aaa")
    assert entered == ["a0"]
    limits.succeeded("a")
    await settle()
    assert entered == ["a0", "a1", "a2"]
    await finish(tasks)


async def test_if_that_one_fails_those_who_waited_for_it_are_turned_away(clock):
    limits = Limits(clock)
    for _ in range(5):
        limits.failed("a", "refused")
    clock.advance(6_000)
    _, tasks = await start(limits, *"aa")
    limits.failed("a", "refused")
    with pytest.raises(HostPaused):
        await tasks[1]
    await finish(tasks)


async def test_any_answer_closes_the_count(clock):
    limits = Limits(clock)
    for _ in range(20):
        limits.failed("a", "refused")
        limits.succeeded("a")
    await limits.enter("a")


async def test_hosts_are_forgotten_when_there_are_many(clock, monkeypatch):
    monkeypatch.setattr("areabox.services.limits._HOSTS_KEPT", 10)
    limits = Limits(clock)
    for number in range(100):
        await limits.enter(f"h{number}")
        limits.leave(f"h{number}")
    assert len(limits._hosts) <= 11


async def test_a_request_that_gets_no_slot_in_time_was_not_sent(clock):
    async def hangs(connection: Connection) -> None:
        await connection.read()
        await connection.hang()

    async with serving(hangs) as server, opened(clock) as egress:
        busy = [asyncio.create_task(egress.request("GET", server.url())) for _ in range(4)]
        while server.connections < 4:
            await asyncio.sleep(0)
        with pytest.raises(NotSent, match=r"had no free slot within 0\.05 s"):
            await egress.request("GET", server.url(), timeout_s=0.05)
        await finish(busy)  # type: ignore[arg-type]


async def test_a_slow_host_does_not_hold_up_another(clock):
    async def hangs(connection: Connection) -> None:
        await connection.read()
        await connection.hang()

    async def quick(connection: Connection) -> None:
        await connection.read()
        await connection.answer()

    async with serving(hangs) as slow, serving(quick) as fast, opened(clock) as egress:
        busy = [asyncio.create_task(egress.request("GET", slow.url())) for _ in range(20)]
        while slow.connections < 4:
            await asyncio.sleep(0)
        assert (await egress.request("GET", fast.url(), timeout_s=5)).status_code == 200
        assert slow.connections == 4
        await finish(busy)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("-1", 0),
        ("1e3", 1000),
        (None, None),
        ("", None),
        ("x", None),
        ("nan", None),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30),
        ("Thursday, 01-Jan-26 00:00:30 GMT", 30),
        ("99999999999999999999", 86400),
    ],
)
def test_retry_after_is_a_number_or_a_date(clock, text, seconds):
    assert parse_retry_after(text, clock.now_ms()) == seconds
