"""What every backend must do. It runs over each engine that conftest lists."""

from __future__ import annotations

import asyncio

import pytest

from areabox.database import Backend, Lane, Pointer, Unit, one
from areabox.errors import AreaboxError, ConflictError

PUT = "insert into meta (key, value) values (?, ?)"


def put(key: str, value: str = "") -> Unit:
    return Unit().do(PUT, key, value)


async def keys(backend: Backend) -> list[str]:
    return [row["key"] for row in await backend.read("select key from meta order by key")]


# --- reading and writing ----------------------------------------------------------------------------------------------


async def test_what_was_committed_can_be_read_at_once_by_name_and_by_place(backend: Backend):
    assert await backend.commit(put("a", "1").do(PUT, "b", "2")) is True
    rows = await backend.read("select key, value from meta order by key")
    assert [(row["key"], row[1]) for row in rows] == [("a", "1"), ("b", "2")]
    assert (await one(backend, "select value from meta where key = ?", "b"))["value"] == "2"
    assert await one(backend, "select value from meta where key = ?", "c") is None


async def test_an_empty_unit_is_written(backend: Backend):
    assert await backend.commit(Unit()) is True


async def test_a_reader_cannot_write(backend: Backend):
    with pytest.raises(AreaboxError):
        await backend.read("delete from meta")


async def test_a_query_that_is_wrong_is_an_error_in_our_words(backend: Backend):
    with pytest.raises(AreaboxError, match="nothing_here"):
        await backend.read("select * from nothing_here")


async def test_a_guard_that_fails_leaves_nothing_of_its_unit(backend: Backend):
    await backend.commit(put("a", "1"))
    unit = put("b").do("update meta set value = '2' where key = 'a' and value = 'other'", expect=1).do(PUT, "c", "")
    assert await backend.commit(unit) is False
    assert await keys(backend) == ["a"]
    assert await backend.commit(put("b").do("update meta set value = '2' where key = 'a'", expect=1)) is True


async def test_a_guard_on_no_rows_and_on_ignored_inserts(backend: Backend):
    await backend.commit(put("a"))
    again = f"{PUT} on conflict (key) do nothing"
    assert await backend.commit(Unit().do(again, "a", "", expect=1)) is False
    assert await backend.commit(Unit().do(again, "b", "", expect=1)) is True
    assert await backend.commit(Unit().do("delete from meta where key = 'z'", expect=0)) is True


async def test_a_constraint_is_a_conflict_and_nothing_of_the_unit_is_written(backend: Backend):
    await backend.commit(put("a"))
    for unit in (put("b").do(PUT, "a", ""), put("b").do("insert into account (id, email, role, created) values ('1', 'x@example.org', 'king', 0)")):  # fmt: skip
        with pytest.raises(ConflictError):
            await backend.commit(unit)
    assert await keys(backend) == ["a"]


async def test_failures_in_one_group_stay_with_their_units(backend: Backend):
    """All are submitted in the same turn of the loop, so they share a commit."""
    await backend.commit(put("taken"))
    units = [
        put("1"),
        put("2").do("delete from meta where key = 'none'", expect=1),  # a guard
        put("3"),
        put("4").do(PUT, "taken", ""),  # a constraint
        put("5"),
        put("6").do("insert into nothing_here values (1)"),  # wrong SQL
        put("7"),
        put("8").do(PUT, "too few"),  # wrong arguments
        put("9").do(PUT, "a", 2**70),  # a value that no column takes
        put("10").do(PUT, "b", "\ud800"),  # a text that no encoding takes
        put("11"),
    ]
    calls = [backend.commit(unit) for unit in units]
    rows = backend.write(f"{PUT} returning value", "row", "its value")
    *results, row = await asyncio.gather(*calls, rows, return_exceptions=True)
    kinds = [type(result) if isinstance(result, Exception) else result for result in results]
    assert kinds == [
        True, False, True, ConflictError, True, AreaboxError, True, AreaboxError, AreaboxError, AreaboxError, True,
    ]  # fmt: skip
    assert [tuple(found) for found in row] == [("its value",)]
    assert await keys(backend) == ["1", "11", "3", "5", "7", "row", "taken"]


async def test_units_of_one_group_see_those_before_them(backend: Backend):
    claims = [
        backend.commit(Unit().do(PUT + " on conflict (key) do nothing", "slot", str(n), expect=1)) for n in range(20)
    ]
    assert sorted(await asyncio.gather(*claims)) == [False] * 19 + [True]
    assert (await one(backend, "select value from meta"))["value"] == "0", "the first that asked"


async def test_each_waiter_gets_an_error_of_its_own(backend: Backend):
    await backend.commit(put("taken"))
    first, second = await asyncio.gather(
        backend.commit(put("taken")), backend.commit(put("taken")), return_exceptions=True
    )
    assert type(first) is type(second) is ConflictError
    assert first is not second


async def test_a_statement_gives_the_rows_that_it_returns(backend: Backend):
    rows = await backend.write(f"{PUT} returning key, value", "a", "1")
    assert (rows[0]["key"], rows[0][1]) == ("a", "1")
    assert await backend.write("update meta set value = '2' where key = 'z' returning key") == []
    with pytest.raises(ConflictError):
        await backend.write(f"{PUT} returning key", "a", "1")


async def test_many_writers_lose_nothing(backend: Backend):
    async def writer(n: int) -> None:
        for i in range(50):
            assert await backend.commit(put(f"{n}-{i}", "x" * 100))

    await asyncio.gather(*(writer(n) for n in range(40)))
    assert (await one(backend, "select count(*) from meta"))[0] == 2000


async def test_a_huge_unit_does_not_hold_up_the_loop(backend: Backend):
    unit = Unit()
    for n in range(20_000):
        unit.do(PUT, str(n), "x" * 200)
    task = asyncio.create_task(backend.commit(unit))
    loop, longest = asyncio.get_running_loop(), 0.0
    while not task.done():
        before = loop.time()
        await asyncio.sleep(0)
        longest = max(longest, loop.time() - before)
    assert task.result() is True
    assert longest < 0.1


async def test_what_was_accepted_is_written_though_its_waiter_was_cancelled(backend: Backend):
    done: list[str] = []

    async def commit(unit: Unit) -> None:
        await backend.commit(unit)
        done.append("told")

    task = asyncio.create_task(commit(put("a").push(Pointer("j", "o"))))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await backend.commit(put("b"))
    assert await keys(backend) == ["a", "b"]
    assert backend.stats().ready == 1, "its job is ready all the same"
    assert not done


# --- what follows from a commit ---------------------------------------------------------------------------------------


async def test_jobs_and_messages_follow_a_commit_and_never_a_failure(backend: Backend):
    watch = backend.subscribe("run")
    failing = Unit().do("delete from meta where key = 'none'", expect=1)
    assert await backend.commit(failing.push(Pointer("lost", "o")).publish("run", id="lost")) is False
    with pytest.raises(ConflictError):
        await backend.commit(put("a").do(PUT, "a", "").push(Pointer("lost", "o")).publish("run", id="lost"))
    assert backend.stats().ready == 0

    waiting = asyncio.ensure_future(anext(watch))
    commit = asyncio.ensure_future(backend.commit(put("b").push(Pointer("j", "o")).publish("run", id="r")))
    await asyncio.sleep(0)
    assert backend.stats().ready == 0, "not on disk yet"
    assert await commit
    assert backend.stats().ready == 1
    message = await waiting
    assert (message.topic, message.body) == ("run", {"id": "r"})


async def test_a_watcher_hears_of_its_topics_only(backend: Backend):
    runs, all_of_it = backend.subscribe("run"), backend.subscribe()
    await backend.publish("area", id=1)
    await backend.publish("run", id=2)
    assert (await anext(runs)).body == {"id": 2}
    assert [(await anext(all_of_it)).topic for _ in range(2)] == ["area", "run"]


# --- the workers ------------------------------------------------------------------------------------------------------


async def test_no_more_jobs_are_handled_at_once_than_there_are_slots(backend: Backend):
    running, most, left = 0, 0, 100
    finished = asyncio.Event()

    async def handler(job: str) -> None:
        nonlocal running, most, left
        running += 1
        most = max(most, running)
        assert backend.stats().executing <= 5
        await asyncio.sleep(0)
        running -= 1
        left -= 1
        if not left:
            finished.set()

    backend.offer(Pointer(f"j{n}", "o") for n in range(100))
    consumer = asyncio.create_task(backend.consume(handler, slots=5))
    await finished.wait()
    consumer.cancel()
    assert most == 5


async def test_a_flood_of_one_owner_does_not_hold_up_another(backend: Backend):
    order: list[str] = []
    finished = asyncio.Event()

    async def handler(job: str) -> None:
        order.append(job)
        if len(order) == 1001:
            finished.set()

    backend.offer(Pointer(f"flood{n}", "loud") for n in range(1000))
    backend.offer([Pointer("mine", "quiet")])
    consumer = asyncio.create_task(backend.consume(handler, slots=1))
    await finished.wait()
    consumer.cancel()
    assert order.index("mine") <= 2


async def test_lower_lanes_wait_and_do_not_starve(backend: Backend):
    order: list[str] = []
    finished = asyncio.Event()

    async def handler(job: str) -> None:
        order.append(job.partition("-")[0])
        if len(order) == 300:
            finished.set()

    for lane, name in ((Lane.BULK, "bulk"), (Lane.RUN, "run"), (Lane.NOW, "now")):
        backend.offer(Pointer(f"{name}-{n}", "o", lane) for n in range(1000))
    consumer = asyncio.create_task(backend.consume(handler, slots=1))
    await finished.wait()
    consumer.cancel()
    assert order[:5] == ["now"] * 5
    assert order.count("now") > 200
    assert order.count("run") > 20
    assert order.count("bulk") > 5


async def test_a_handler_that_fails_costs_nothing_but_its_job(backend: Backend, caplog: pytest.LogCaptureFixture):
    handled: list[str] = []
    finished = asyncio.Event()

    async def handler(job: str) -> None:
        if job == "bad":
            raise RuntimeError("a bug")
        handled.append(job)
        finished.set()

    backend.offer([Pointer("bad", "o"), Pointer("good", "o")])
    consumer = asyncio.create_task(backend.consume(handler, slots=1))
    await finished.wait()
    consumer.cancel()
    assert handled == ["good"]
    assert "a job's handler failed" in caplog.text
    caplog.clear()


async def test_what_is_executing_goes_on_when_consuming_ends(backend: Backend):
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(job: str) -> None:
        begun.set()
        await go_on.wait()
        ended.set()

    backend.offer([Pointer("a", "o"), Pointer("b", "o")])
    consumer = asyncio.create_task(backend.consume(handler, slots=1))
    await begun.wait()
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    go_on.set()
    await ended.wait()
    assert backend.stats().ready == 1


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_closing_writes_what_was_accepted_and_refuses_the_rest(backend: Backend):
    commits = [asyncio.ensure_future(backend.commit(put(str(n)))) for n in range(2000)]
    await asyncio.sleep(0)
    await backend.close()
    assert all(await asyncio.gather(*commits))
    for late in (
        backend.commit(put("late")),
        backend.write("delete from meta returning key"),
        backend.read("select 1"),
    ):
        with pytest.raises(AreaboxError, match="closed"):
            await late
    await backend.open()
    assert len(await keys(backend)) == 2000


async def test_reads_under_way_are_answered_when_it_closes(backend: Backend):
    await backend.commit(put("a"))
    reads = [asyncio.ensure_future(backend.read("select key from meta")) for _ in range(20)]
    await asyncio.sleep(0)
    await backend.close()
    assert [rows[0][0] for rows in await asyncio.gather(*reads)] == ["a"] * 20
    await backend.close()
    await backend.open()
