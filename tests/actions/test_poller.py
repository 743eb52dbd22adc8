"""Polls: a baseline first, then what is new, later and later where it fails, never more than the source bears."""

from __future__ import annotations

import asyncio
import itertools

import msgspec
import pytest

from areabox.actions.poller import backoff_ms
from areabox.actions.subscriptions import Wanted
from areabox.errors import AuthExpired, Permanent, RateLimited, StorageFullError, Transient

FEED = Wanted(place="feed", action="feed.entry", params={"feed": "https://example.org/f"}, every_ms=600_000)


class Source:
    """A service whose list, failures and delays are in the test's hand."""

    def __init__(self, *keys):
        self.keys = list(keys)
        self.calls = []
        self.cursors = []
        self.fail = None
        self.fail_after = None
        self.gate = None
        self.now = self.most = 0

    async def poll(self, action_id, params, *, owner, connection, cursor):
        self.calls.append(params.get("feed"))
        self.cursors.append(dict(cursor))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.fail is not None and self.fail_after is None:
                raise self.fail
            cursor["calls"] = len(self.keys)
            for number, key in enumerate(self.keys):
                if self.fail is not None and number == self.fail_after:
                    raise self.fail
                yield {"id": str(key), "title": f"t{key}"}
        finally:
            self.now -= 1


async def step(world, poller, ms=0):
    """Let time pass, start what is due and wait for it."""
    world.clock.advance(ms)
    pause = await poller.tick()
    await poller.settle()
    return pause


async def titles(world):
    return [payload["title"] for payload in await world.payloads()]


async def test_the_first_poll_is_a_baseline_and_the_next_ones_fire_what_is_new(world):
    (sub,) = await world.area("a", FEED)
    source = Source(1, 2)
    poller = world.poller(source)
    await step(world, poller)
    assert await titles(world) == []
    source.keys += [3, 4]
    await step(world, poller, 700_000)
    assert await titles(world) == ["t3", "t4"]
    sub = await world.subscriptions.load(sub.id)
    assert sub.last == world.clock.now
    assert sub.next == world.clock.now + 600_000
    assert not sub.baseline


async def test_it_is_asked_as_often_as_wished(world):
    await world.area("a", FEED)
    source = Source(1)
    poller = world.poller(source)
    assert await step(world, poller) == 60.0  # a tick sleeps for a minute at most
    for _ in range(60):
        await step(world, poller, 60_000)
    assert len(source.calls) == 7


async def test_an_answer_without_news_writes_nothing(world):
    await world.area("a", FEED)
    poller = world.poller(Source(1, 2))
    await step(world, poller)
    before = world.backend.commits
    for _ in range(5):
        await step(world, poller, 600_000)
    assert world.backend.commits == before


async def test_the_cursor_is_given_back(world):
    await world.area("a", FEED)
    source = Source(1, 2)
    poller = world.poller(source)
    await step(world, poller)
    await step(world, poller, 600_000)
    assert source.cursors == [{}, {"calls": 2}]


async def test_a_failure_midway_keeps_what_came_and_not_the_cursor(world):
    (sub,) = await world.area("a", FEED)
    source = Source(1)
    poller = world.poller(source)
    await step(world, poller)
    source.keys, source.fail, source.fail_after = [1, 2, 3], Transient("reset"), 2
    await step(world, poller, 600_000)
    assert await titles(world) == ["t2"]
    failed = await world.subscriptions.load(sub.id)
    assert (failed.fails, failed.error, failed.cursor) == (1, "reset", {"calls": 1})
    source.fail = None
    await step(world, poller, 600_000)
    assert await titles(world) == ["t2", "t3"]
    healed = await world.subscriptions.load(sub.id)
    assert (healed.fails, healed.error, healed.cursor) == (0, None, {"calls": 3})


async def test_a_baseline_that_fails_midway_is_taken_again(world):
    (sub,) = await world.area("a", FEED)
    source = Source(1, 2)
    source.fail, source.fail_after = Transient("reset"), 1
    poller = world.poller(source)
    await step(world, poller)
    assert (await world.subscriptions.load(sub.id)).baseline
    assert await world.count("seen") == 0
    source.fail = None
    await step(world, poller, 600_000)
    assert await world.count("event") == 0
    assert await world.count("seen") == 2


async def test_a_source_that_fails_is_asked_later_and_later(world):
    await world.area("a", FEED)
    source = Source()
    source.fail = Permanent("404: not found")
    poller = world.poller(source)
    times = []
    for _ in range(24 * 60):
        before = len(source.calls)
        await step(world, poller, 60_000)
        if len(source.calls) > before:
            times.append((world.clock.now - world.clock.start) // 60_000)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps[:4] == [10, 20, 40, 60]
    assert set(gaps[4:]) == {60}


async def test_retry_after_is_obeyed(world):
    await world.area("a", FEED)
    source = Source()
    source.fail = RateLimited("slow down", retry_after_s=7_200)
    poller = world.poller(source)
    await step(world, poller)
    source.fail = None
    await step(world, poller, 7_199_000)
    assert len(source.calls) == 1
    await step(world, poller, 2_000)
    assert len(source.calls) == 2


@pytest.mark.parametrize(
    ("fails", "error", "minutes"),
    [
        (1, Transient(), 15),
        (2, Transient(), 30),
        (9, Transient(), 60),
        (99, Permanent(), 60),
        (1, RateLimited("", 60.0), 15),
        (1, RateLimited("", 1e9), 1440),
        (1, RateLimited("", -5.0), 15),
        (1, RateLimited("", None), 15),
    ],
)
def test_the_pause_grows_to_an_hour_and_follows_the_service_up_to_a_day(fails, error, minutes):
    assert backoff_ms(900_000, fails, error) == minutes * 60_000


def test_a_source_that_is_asked_rarely_is_not_asked_more_often_when_it_fails():
    assert backoff_ms(86_400_000, 5, Transient()) == 86_400_000


async def test_a_dead_connection_is_told_once_and_left_alone_until_it_is_renewed(world):
    (sub,) = await world.area("a", msgspec.structs.replace(FEED, connection="c1"))
    source = Source(1)
    poller = world.poller(source)
    await step(world, poller)
    source.fail = AuthExpired("the token was revoked")
    for _ in range(5):
        await step(world, poller, 86_400_000)
    assert world.dead == [("c1", "the token was revoked")]
    assert len(source.calls) == 2
    assert (await world.subscriptions.load(sub.id)).error == "the token was revoked"
    source.fail, source.keys = None, [1, 2]
    await poller.reconnected("c1")
    await step(world, poller)
    assert await titles(world) == ["t2"]  # what happened meanwhile is caught up


async def test_one_source_is_never_asked_twice_at_once(world):
    (sub,) = await world.area("a", FEED)
    source = Source(1)
    source.gate = asyncio.Event()
    poller = world.poller(source)
    await poller.tick()
    await asyncio.sleep(0)
    poller.changed(sub.id)
    world.clock.advance(3_600_000)
    await poller.tick()
    await asyncio.sleep(0)
    assert len(source.calls) == 1
    source.gate.set()
    await poller.settle()
    await step(world, poller)
    assert len(source.calls) == 2


async def test_a_slow_host_holds_four_slots_and_others_go_on(world):
    slow = [
        Wanted(place=f"s{n}", action="feed.entry", params={"feed": f"https://slow.example.org/{n}"}) for n in range(50)
    ]
    fast = [
        Wanted(place=f"f{n}", action="feed.entry", params={"feed": f"https://f{n}.example.org/"}) for n in range(40)
    ]
    await world.area("a", *slow, *fast)
    source = Source(1)
    source.gate = asyncio.Event()
    poller = world.poller(source)
    await poller.tick()
    world.clock.advance(10_000)
    await poller.tick()
    await asyncio.sleep(0)
    assert source.most == 32
    assert sum("slow" in feed for feed in source.calls) == 4
    source.gate.set()
    for _ in range(60):
        await step(world, poller)
    assert len(source.calls) == 90
    assert source.most == 32


async def test_overdue_polls_start_one_after_the_other_after_a_restart(world):
    wanted = [
        Wanted(place=f"p{n}", action="feed.entry", params={"feed": f"https://{n}.example.org"}) for n in range(100)
    ]
    await world.area("a", *wanted)
    world.backend.db.execute("update subscription set baseline = 0, next = 0")
    source = Source(1)
    poller = world.poller(source)
    await step(world, poller)
    assert len(source.calls) == 1
    await step(world, poller, 1_000)
    assert len(source.calls) == 21
    for _ in range(10):
        await step(world, poller, 1_000)
    assert len(source.calls) == 100


async def test_a_poll_that_is_switched_off_is_not_asked(world):
    (sub,) = await world.area("a", FEED)
    source = Source(1)
    poller = world.poller(source)
    await step(world, poller)
    await world.switch("a", False)
    poller.changed(sub.id)
    await step(world, poller, 3_600_000)
    assert len(source.calls) == 1
    await world.switch("a", True)
    source.keys = [1, 2]
    poller.changed(sub.id)
    await step(world, poller)
    assert len(source.calls) == 2
    assert await titles(world) == []


async def test_a_change_elsewhere_asks_nobody_sooner(world):
    await world.area("a", FEED)
    source = Source(1)
    poller = world.poller(source)
    for _ in range(3):
        await step(world, poller, 600_000)
    for n in range(5):
        await world.area(f"b{n}", msgspec.structs.replace(FEED, params={"feed": f"https://{n}.example.org"}))
        poller.changed()
        await step(world, poller, 1_000)
    assert source.calls.count("https://example.org/f") == 3
    assert len(source.calls) == 8
    await world.area("c", msgspec.structs.replace(FEED, every_ms=60_000))
    poller.changed()
    await step(world, poller)
    await step(world, poller, 61_000)
    assert source.calls.count("https://example.org/f") == 4  # a shorter interval begins at once


async def test_a_dead_connection_is_not_asked_because_of_a_change_elsewhere(world):
    await world.area("a", msgspec.structs.replace(FEED, connection="c1"))
    source = Source(1)
    source.fail = AuthExpired("gone")
    poller = world.poller(source)
    await step(world, poller)
    poller.changed()
    await step(world, poller)
    assert len(source.calls) == 1


async def test_a_wall_clock_that_jumps_neither_bursts_nor_starves(world):
    await world.area("a", FEED)
    source = Source(1)
    poller = world.poller(source)
    await step(world, poller)
    for jump in (365 * 86_400_000, -700 * 86_400_000):
        world.clock.now += jump
        world.clock.start += jump  # the monotonic clock stays
        calls = len(source.calls)
        await step(world, poller)
        assert len(source.calls) == calls
        await step(world, poller, 600_000)
        assert len(source.calls) == calls + 1


async def test_an_endless_list_is_cut_off_with_an_error(world):
    (sub,) = await world.area("a", FEED)
    poller = world.poller(Source(*range(10_001)))
    await step(world, poller)
    assert "more than 10000 items" in (await world.subscriptions.load(sub.id)).error


async def test_an_item_without_an_id_is_an_error_that_shows(world):
    (sub,) = await world.area("a", FEED)
    poller = world.poller(Source(""))
    await step(world, poller)
    assert "without an id" in (await world.subscriptions.load(sub.id)).error


async def test_an_action_that_is_gone_is_an_error_that_shows(world):
    (sub,) = await world.area("a", FEED)
    del world.catalogue.actions["feed.entry"]
    await step(world, world.poller(Source(1)))
    assert (await world.subscriptions.load(sub.id)).error == "there is no action feed.entry"


async def test_a_full_disk_loses_nothing(world, caplog):
    await world.area("a", FEED)
    source = Source(1)
    poller = world.poller(source)
    await step(world, poller)
    source.keys = [1, 2]

    async def full(unit):
        raise StorageFullError("the disk is full")

    world.backend.before_commit = full
    await step(world, poller, 600_000)
    assert await titles(world) == []
    assert "the disk is full" in caplog.text
    await step(world, poller, 60_000)
    assert await titles(world) == ["t2"]


async def test_closing_ends_what_runs(world):
    await world.area("a", FEED)
    source = Source(1)
    source.gate = asyncio.Event()
    poller = world.poller(source)
    await poller.tick()
    await asyncio.sleep(0)
    await poller.close()
    assert source.now == 0
    assert await world.count("seen") == 0


async def test_people_see_when_it_is_asked_next(world):
    (sub,) = await world.area("a", FEED)
    poller = world.poller(Source(1))
    assert poller.next_ms(sub.id) is None
    await step(world, poller)
    assert poller.next_ms(sub.id) == world.clock.now + 600_000
