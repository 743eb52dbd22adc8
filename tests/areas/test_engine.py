"""What the engine makes of commits that fail, of tasks that overtake each other and of bugs of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from areabox.areas import live, plan, store, waiting
from areabox.database import Unit
from areabox.errors import InputError, StorageFullError
from areabox.reactions import worker
from tests.areas.outside import Outside, counts, states, until
from tests.flow.house import House, open_house


def area(then: str, slug: str = "one", more: str = "") -> str:
    return f"area: {slug}\nwhen: [{{webhook.received: {{}}}}]\n{more}\nthen:\n{then}"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as made:
        yield made


@pytest.fixture
async def idle_house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, work=False) as made:
        yield made


def on_commit(house: House, act: Callable[[Unit, Callable[[Unit], Awaitable[bool]]], Awaitable[bool]]) -> None:
    """Let every commit go through `act(unit, commit)`."""
    commit = house.app.backend.commit
    house.app.backend.commit = lambda unit: act(unit, commit)  # type: ignore[method-assign]


def advances(unit: Unit) -> bool:
    return any(statement.sql.lstrip().startswith("update run set seq") for statement in unit.statements)


async def jobs(house: House) -> dict[str, str]:
    rows = await house.app.backend.read("select id, path from job where state = 'ready' order by id")
    return {row["path"]: row["id"] for row in rows}


RACE = area("""
  - parallel: [[{probe.do: {value: a}, id: a}], [{probe.do: {value: b}, id: b}]]
    join: any
    id: race
  - wait: 1h
  - probe.do: {value: c}
""")


async def test_a_job_that_was_taken_out_while_it_began_does_not_come_back(idle_house: House) -> None:
    house, begun, go = idle_house, asyncio.Event(), asyncio.Event()
    outside = Outside(house)
    await house.apply(RACE)
    run_id = await house.app.runs.start(house.actor, "one", {})
    ready, perform = await jobs(house), house.app.flow.perform

    async def slow(job: Any) -> Any:
        if job.id == ready["race.1.b"]:
            begun.set()
            await go.wait()
        return await perform(job)

    async def act(unit: Unit, commit: Any) -> bool:
        if advances(unit) and not go.is_set():
            go.set()
            for _ in range(50):
                await asyncio.sleep(0)
        return bool(await commit(unit))

    house.app.flow.perform = slow  # type: ignore[method-assign]
    loser = asyncio.create_task(house.app.worker.handle(ready["race.1.b"]))
    await begun.wait()
    on_commit(house, act)
    await house.app.worker.handle(ready["race.0.a"])
    await loser
    assert outside.begun == ["a"]
    assert await states(house, run_id) == ["waiting"]
    run = await house.app.live.look(run_id)
    assert run is not None
    assert [job.path for job in run.jobs.values()] == ["s1"]


@pytest.mark.parametrize("error", [StorageFullError("full"), None])
async def test_an_advance_that_could_not_be_written_is_written_later_as_if_nothing_had_been(
    house: House, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    monkeypatch.setattr(worker, "PAUSE_FULL_S", 0.001)
    outside, failures = Outside(house), 3
    await house.apply(
        area("""
  - probe.do: {value: 1}
    id: a
  - parallel: [[{wait: 1h}], [{wait: 2h}]]
  - return: "{{ steps.a.value }}"
""")
    )

    async def act(unit: Unit, commit: Any) -> bool:
        nonlocal failures
        if advances(unit) and failures:
            failures -= 1
            if error is None:
                return False
            raise error
        return bool(await commit(unit))

    on_commit(house, act)
    run_id = await house.send("one")
    assert failures == 0
    assert outside.begun == [1]
    assert await states(house, run_id) == ["waiting"]
    await house.advance("3h")
    assert (await house.run(run_id))["result"] == 1
    assert await counts(house) == {}


async def test_a_full_disk_at_the_end_of_a_run_loses_nobody_in_line(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PAUSE_FULL_S", 0.001)
    Outside(house)
    await house.apply(area("  - probe.do: {value: 1}", more="mode: queued"))
    failures = 0

    async def act(unit: Unit, commit: Any) -> bool:
        nonlocal failures
        failures += 1
        if failures % 2:
            raise StorageFullError("full")
        return bool(await commit(unit))

    ids = [await house.app.runs.start(house.actor, "one", {}) for _ in range(10)]
    on_commit(house, act)
    await until(lambda: all_are(house, ids, "done"))
    assert await counts(house) == {}


async def all_are(house: House, ids: list[str], state: str) -> bool:
    return await states(house, *ids) == [state] * len(ids)


async def test_a_run_that_is_cancelled_on_a_full_disk_can_be_cancelled_later(house: House) -> None:
    await house.apply(area("  - wait: 1h"))
    run_id = await house.send("one")

    async def full(unit: Unit, commit: Any) -> bool:
        raise StorageFullError("full")

    commit = house.app.backend.commit
    on_commit(house, full)
    with pytest.raises(StorageFullError):
        await house.app.runs.cancel(house.actor, run_id)
    house.app.backend.commit = commit  # type: ignore[method-assign]
    await house.advance("1h")
    assert await states(house, run_id) == ["done"]


async def test_a_wait_that_events_keep_from_lying_down_lies_down_in_the_end(house: House) -> None:
    await house.apply(
        area("""
  - wait_for: {probe.happened: {topic: x}, if: "event.what == 'yes'"}
    id: w
    timeout: 1d
  - return: "{{ steps.w.what }}"
""")
    )
    refused = 0

    async def act(unit: Unit, commit: Any) -> bool:
        nonlocal refused
        if any(statement.sql == waiting._NOTHING_CAME for statement in unit.statements) and refused < 20:
            refused += 1
            return False
        return bool(await commit(unit))

    on_commit(house, act)
    run_id = await house.send("one")
    await house.advance("1m")
    assert await states(house, run_id) == ["waiting"]
    await house.happen("probe.happened", {"what": "no"})
    await house.happen("probe.happened", {"what": "yes"})
    assert (await house.run(run_id))["result"] == "yes"


# --- what cannot go on --------------------------------------------------------------------------------------------


async def test_a_run_whose_program_is_gone_ends_and_all_who_wait_for_it_go_on(house: House) -> None:
    await house.apply(
        area("  - wait: 1h\n  - probe.do: {value: 1}", "child", "mode: queued"),
        area('  - call: child\n    id: c\n    on_error: [{return: "{{ error.message }}"}]', "caller"),
    )
    callers = [await house.send("caller") for _ in range(2)]
    registry, child = house.app.registry, house.app.registry.find(house.actor.owner, "child")
    assert child is not None
    outline_at = registry.outline_at

    async def gone(area: str, version: int) -> Any:
        if area == child.id:
            raise InputError("there is no reaction probe.do")
        return await outline_at(area, version)

    registry.outline_at = gone  # type: ignore[method-assign]
    house.app.live._runs.clear()
    house.app.live._resting.clear()
    await house.advance("1h")
    runs = [await house.run(run_id) for run_id in callers]
    assert [run["state"] for run in runs] == ["done", "done"]
    assert all("there is no reaction probe.do" in run["result"] for run in runs)
    assert await counts(house) == {}


async def test_a_run_whose_program_is_gone_can_be_cancelled(house: House) -> None:
    await house.apply(area("  - parallel: [[{wait: 1h}], [{set: {x: 1}}, {wait: 1h}]]", more="mode: queued"))
    first, second = [await house.send("one") for _ in range(2)]

    async def gone(area: str, version: int) -> Any:
        raise InputError("there is no such thing")

    outline_at = house.app.registry.outline_at
    house.app.registry.outline_at = gone  # type: ignore[method-assign]
    house.app.live._runs.clear()
    house.app.live._resting.clear()
    await house.app.runs.cancel(house.actor, first)
    house.app.registry.outline_at = outline_at  # type: ignore[method-assign]
    await house.advance("1h")
    assert await states(house, first, second) == ["cancelled", "done"]
    assert await counts(house) == {}


async def test_a_bug_in_performing_fails_the_step(house: House, caplog: pytest.LogCaptureFixture) -> None:
    await house.apply(area('  - probe.do: {value: 1}\n    id: a\n    on_error: [{return: "{{ error.message }}"}]'))

    async def broken(*_: Any) -> Any:
        raise ZeroDivisionError("oh")

    house.app.flow._reacting.react = broken  # type: ignore[method-assign]
    run = await house.run(await house.send("one"))
    assert (run["state"], run["steps"][0]["state"]) == ("done", "failed")
    assert "which is a bug: ZeroDivisionError: oh" in run["result"]


async def test_a_bug_in_advancing_fails_the_step(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    advance, times = plan.advance, 0

    def broken(*args: Any, **more: Any) -> Any:
        nonlocal times
        times += 1
        if times == 1:
            raise ZeroDivisionError("oh")
        return advance(*args, **more)

    await house.apply(area("  - probe.do: {value: 1}\n    id: a"))
    monkeypatch.setattr(plan, "advance", broken)
    run = await house.run(await house.send("one"))
    assert (run["state"], run["steps"][0]["state"]) == ("failed", "failed")
    assert "which is a bug" in run["reason"]
    assert await counts(house) == {}


async def test_a_bug_in_every_advance_ends_the_run_and_frees_its_place(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("oh")

    await house.apply(area("  - probe.do: {value: 1}\n    id: a", more="mode: queued"))
    monkeypatch.setattr(plan, "advance", broken)
    ids = [await house.send("one") for _ in range(2)]
    assert await states(house, *ids) == ["failed", "failed"]
    assert await counts(house) == {}


async def test_a_result_too_large_for_an_event_is_left_out_of_it(house: House) -> None:
    await house.apply(
        area('  - return: "{{ trigger.big }}"'),
        'area: ear\nwhen: [{area.ended: {area: one}}]\nthen: [{return: "{{ [trigger.state, trigger.result is none] }}"}]',
    )
    run_id = await house.send("one", {"big": "x" * 5_000_000})
    assert await states(house, run_id) == ["done"]
    runs = await house.app.runs.list(house.actor, area="ear")
    assert (await house.run(runs[0]["id"]))["result"] == ["done", True]


# --- states and memory --------------------------------------------------------------------------------------------


async def test_a_called_run_that_is_cancelled_with_its_branch_does_not_make_its_caller_look_busy(house: House) -> None:
    await house.apply(
        area("  - wait: 1d", "child"),
        area("""
  - parallel: [[{call: child}], [{wait: 1m}]]
    join: any
  - wait: 1h
"""),
    )
    run_id = await house.send("one")
    await house.advance("2m")
    assert await states(house) == ["waiting", "cancelled"]
    await house.advance("1h")
    assert await states(house, run_id) == ["done"]


async def test_nothing_is_remembered_of_waits_that_are_over(house: House) -> None:
    await house.apply(
        area("  - wait: 1m\n  - return: 1", "child", "mode: queued"),
        area("""
  - call: child
  - ask: {question: "Well?", choices: [Sure]}
    timeout: 1m
    else: []
  - wait_for: {probe.happened: {topic: "{{ trigger.n }}"}}
    timeout: 1m
    else: []
  - collect: {window: 1m, at_most: 3, key: "{{ trigger.n }}"}
"""),
    )
    for n in range(20):
        await house.app.runs.start(house.actor, "one", {"n": n})
    await house.idle()
    await house.advance("1h")
    assert set(await states(house)) == {"done"}
    assert dict(house.app.registry.waits) == {}
    assert len(house.app.live._runs) == 0
    assert house.app.worker._cut_off == set()
    assert house.app.worker._tasks == {}
    assert await counts(house) == {}


async def test_a_wait_that_begins_wakes_the_clock_that_sleeps_for_longer(idle_house: House) -> None:
    house = idle_house
    workers = asyncio.create_task(house.app.worker.run(slots=8))
    await house.apply(area("  - probe.do: {value: 1}\n  - wait: 5s"), area("  - wait: 5s", "at-once"))
    for slug in ("one", "at-once"):
        assert await house.app.worker.tick() > 5
        house.app.worker.bell._event.clear()
        await house.app.runs.start(house.actor, slug, {})
        await until(house.app.worker.bell._event.is_set)
        await until(lambda: is_waiting(house))
        assert await house.app.worker.tick() == 5.0
        await house.advance("5s")
    workers.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await workers


async def is_waiting(house: House) -> bool:
    return (await states(house))[-1] == "waiting"


@pytest.mark.parametrize(
    "step",
    ["wait: 1s", "call: child", 'collect: {window: 1s, key: "{{ index }}"}', "probe.do: {value: 1}"],
)
async def test_a_loop_that_waits_again_and_again_does_not_read_all_that_it_did_each_time(
    house: House, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    restore, restored = store.restore, 0

    async def counted(*args: Any) -> Any:
        nonlocal restored
        restored += 1
        return await restore(*args)

    monkeypatch.setattr(store, "restore", counted)
    await house.apply(
        area("  - wait: 1s\n  - return: 1", "child"),
        area(
            f'  - each: "range(50)"\n    id: loop\n    then: [{{{step}, id: s}}]\n  - return: "{{{{ steps.loop | length }}}}"'
        ),
    )
    run_id = await house.send("one")
    await house.advance("2m")
    assert (await house.run(run_id))["result"] == 50
    assert restored <= 5


async def test_runs_that_wait_cost_no_memory_beyond_a_bound(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "RESTING_MAX", 10)
    await house.apply(area('  - wait: 1h\n  - wait: 1h\n  - return: "{{ trigger.n }}"'))
    ids = [await house.app.runs.start(house.actor, "one", {"n": n}) for n in range(50)]
    await house.idle()
    await house.advance("1h")
    assert len(house.app.live._resting) <= 10
    assert len(house.app.live._runs) == 0
    await house.advance("1h")
    assert await states(house, *ids) == ["done"] * 50
    assert len(house.app.live._resting) == 0


async def test_a_loop_that_does_nothing_outside_ends_with_the_timeout_of_its_run(house: House) -> None:
    await house.apply(
        area('  - each: "range(5000)"\n    then: [{each: "range(5000)", then: [{set: {x: 1}}]}]', more="timeout: 1s")
    )
    run_id = await house.app.runs.start(house.actor, "one", {})
    await until(lambda: is_long(house))
    house.clock.advance(2_000)
    await house.idle()
    run_row = await house.app.backend.read("select state, reason from run where id = ?", run_id)
    assert run_row[0]["state"] == "failed"
    assert "timeout" in run_row[0]["reason"]


async def is_long(house: House) -> bool:
    return (await house.app.backend.read("select count(*) from step"))[0][0] > 1_000


async def test_a_wait_that_could_not_be_cancelled_still_hears(house: House) -> None:
    await house.apply(area("  - wait_for: {probe.happened: {topic: x}}\n  - return: 1"))
    run_id = await house.send("one")

    async def full(unit: Unit, commit: Any) -> bool:
        raise StorageFullError("full")

    commit = house.app.backend.commit
    on_commit(house, full)
    with pytest.raises(StorageFullError):
        await house.app.runs.cancel(house.actor, run_id)
    house.app.backend.commit = commit  # type: ignore[method-assign]
    await house.happen("probe.happened", {"what": ""})
    assert await states(house, run_id) == ["done"]


async def test_a_reaction_that_writes_here_is_tried_again_when_the_disk_has_room(house: House) -> None:
    await house.apply(area('  - store.increment: {key: n}\n    id: a\n  - return: "{{ steps.a.value }}"'))
    backend, times = house.app.backend, 0
    commit = backend.commit

    async def full(unit: Unit) -> bool:
        nonlocal times
        if any("stored" in statement.sql for statement in unit.statements) and times < 2:
            times += 1
            raise StorageFullError("full")
        return await commit(unit)

    backend.commit = full  # type: ignore[method-assign]
    run_id = await house.send("one")
    assert times
    await house.advance("1h")
    run = await house.run(run_id)
    assert (run["state"], run["result"], times) == ("done", 1, 2)


async def test_a_walk_that_was_cut_shows_the_step_where_it_stands(idle_house: House) -> None:
    house = idle_house
    await house.apply(area('  - each: "range(500)"\n    id: loop\n    then: [{set: {x: 1}, id: s}]'))
    run_id = await house.app.runs.start(house.actor, "one", {})
    run = await house.run(run_id)
    last = [step for step in run["steps"] if step["id"] == "s"][-1]
    assert (last["kind"], last["state"]) == ("set", "pending")
    await house.app.runs.cancel(house.actor, run_id)
    last = [step for step in (await house.run(run_id))["steps"] if step["id"] == "s"][-1]
    assert (last["kind"], last["state"]) == ("set", "cancelled")
