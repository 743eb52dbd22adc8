"""Attempts from their begin to their end: held, uncertain, cut off by a stop, and those that the process did not survive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from areabox.errors import AuthExpired, ConflictError, InputError, NotFoundError, StorageFullError, Transient, Uncertain
from areabox.reactions import worker
from areabox.reactions.outcome import Done, Held
from tests.areas.outside import Outside, counts, states, until
from tests.flow.house import House, open_house

ONE = """
area: one
when: [{webhook.received: {}}]
then:
  - probe.do: {value: 1}
    id: a
  - return: "{{ steps.a.value }}"
"""
ACT = ONE.replace("probe.do", "probe.act")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as made:
        yield made


async def kill(house: House) -> None:
    """Forget everything in memory, as if the process had died: what is under way stays so in its row."""
    for task in list(house.app.worker._tasks.values()):
        task.cancel()
    await asyncio.sleep(0.01)


# --- retries ------------------------------------------------------------------------------------------------------


async def test_an_attempt_that_may_be_repeated_is_repeated_with_the_same_key(house: House) -> None:
    outside = Outside(house)
    outside.failing[1] = [Transient("down"), Transient("down")]
    await house.apply(ONE)
    run_id = await house.send("one")
    run = await house.run(run_id)
    assert (run["state"], run["steps"][0]["state"]) == ("running", "waiting")
    assert run["steps"][0]["error"] == {"message": "down", "kind": "transient", "step": "a"}
    await house.advance("1h")
    run = await house.run(run_id)
    assert (run["state"], run["result"]) == ("done", 1)
    assert len(set(outside.keys)) == 1
    assert [attempt.get("error") for attempt in run["steps"][0]["attempts"]] == ["down", "down", None]


async def test_a_retry_that_does_not_fit_into_the_timeout_is_not_waited_for(house: House) -> None:
    outside = Outside(house)
    outside.failing[1] = [Transient("down")] * 50
    await house.apply(
        ONE.replace("when:", "timeout: 1m\nwhen:").replace("id: a", "id: a\n    retry: {attempts: 50, first: 30s}")
    )
    run_id = await house.send("one")
    await house.advance("1h")
    run = await house.run(run_id)
    assert run["state"] == "failed"
    assert "timeout" in run["reason"]
    assert house.clock.now - house.clock.start >= 3_600_000
    assert await counts(house) == {}


async def test_waits_do_not_count_for_the_timeout_and_retries_do(house: House) -> None:
    outside = Outside(house)
    await house.apply("""
area: one
timeout: 10m
when: [{webhook.received: {}}]
then:
  - wait: 5h
  - ask: {question: "Well?", choices: [Sure]}
    id: q
  - probe.do: {value: 1}
    retry: {attempts: 9, first: 4m}
""")
    run_id = await house.send("one")
    await house.advance("7h")
    await house.app.runs.answer(house.actor, run_id, "q", "Sure")
    outside.failing[1] = [Transient("down")] * 3
    await house.idle()
    assert await states(house, run_id) == ["running"]
    await house.advance("1h")
    assert await states(house, run_id) == ["failed"]
    assert len(outside.begun) in (2, 3)


async def test_time_that_was_held_or_uncertain_does_not_count_either(house: House) -> None:
    outside = Outside(house)
    outside.failing[1] = [Uncertain("no answer")]
    await house.apply(ACT.replace("when:", "timeout: 1m\nwhen:"))
    run_id = await house.send("one")
    await house.advance("5h")
    await house.app.runs.resolve(house.actor, run_id, "a", "retry")
    await house.idle()
    assert await states(house, run_id) == ["done"]


# --- uncertain ----------------------------------------------------------------------------------------------------


async def uncertain(house: House) -> str:
    outside = Outside(house)
    outside.failing[1] = [Uncertain("no answer")]
    await house.apply(ACT)
    run_id = await house.send("one")
    run = await house.run(run_id)
    assert (run["state"], run["steps"][0]["state"]) == ("uncertain", "uncertain")
    return run_id


@pytest.mark.parametrize(
    ("as_", "state", "result"), [("done", "failed", None), ("failed", "failed", None), ("retry", "done", 1)]
)
async def test_a_person_says_what_became_of_an_uncertain_step(house: House, as_: str, state: str, result: Any) -> None:
    run_id = await uncertain(house)
    await house.app.runs.resolve(house.actor, run_id, "a", as_)
    await house.idle()
    run = await house.run(run_id)
    assert (run["state"], run["result"]) == (state, result)
    step = run["steps"][0]
    assert step["state"] == {"done": "done", "failed": "failed", "retry": "done"}[as_]
    assert next(attempt.get("error") for attempt in step["attempts"]) == "no answer"
    if as_ != "retry":
        assert "owner@example.org" in (step["note"] or step["error"]["message"])


async def test_an_uncertain_step_is_never_repeated_by_itself_and_resolved_once(house: House) -> None:
    run_id = await uncertain(house)
    await house.advance("30d")
    assert await states(house, run_id) == ["uncertain"]
    with pytest.raises(InputError):
        await house.app.runs.resolve(house.actor, run_id, "a", "maybe")
    with pytest.raises(NotFoundError):
        await house.app.runs.resolve(house.actor, run_id, "nobody", "done")
    resolved = await asyncio.gather(
        *(house.app.runs.resolve(house.actor, run_id, "a", "failed") for _ in range(5)), return_exceptions=True
    )
    assert resolved.count(None) == 1
    assert all(isinstance(error, ConflictError | NotFoundError) for error in resolved if error is not None)


async def test_the_owner_is_asked_about_an_uncertain_step(house: House) -> None:
    await uncertain(house)
    notices = await house.app.outbox.list(house.actor.owner)
    assert [notice["kind"] for notice in notices] == ["uncertain"]


# --- held ---------------------------------------------------------------------------------------------------------


async def test_what_is_held_goes_on_by_itself_after_reconnecting(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = Outside(house)

    async def resolve(*_: Any) -> str:
        return "connection1"

    monkeypatch.setattr(house.app.flow._reacting, "_connections", type("C", (), {"resolve": staticmethod(resolve)}))
    operation = house.app.catalogue.reaction("probe.do")
    needing = type("Needing", (), {"needs_connection": True, "__getattr__": lambda _, name: getattr(operation, name)})()
    monkeypatch.setattr(
        house.app.flow._reacting, "_catalogue", type("Cat", (), {"reaction": staticmethod(lambda _: needing)})
    )
    outside.failing[1] = [AuthExpired("old token")] * 3
    await connect(house, "dead")
    await house.apply(ONE)
    ids = [await house.send("one") for _ in range(3)]
    assert await states(house, *ids) == ["held"] * 3
    assert (await house.run(ids[0]))["steps"][0]["state"] == "held"
    await house.advance("9d")
    assert await states(house, *ids) == ["held"] * 3
    assert await house.app.runs.reconnect("another") == 0
    assert await house.app.runs.reconnect("connection1") == 3
    await house.idle()
    assert await states(house, *ids) == ["done"] * 3
    assert await counts(house) == {}


async def connect(house: House, state: str) -> None:
    await house.app.backend.write(
        """
        insert into connection (id, owner, name, service, auth, config, state, created)
        values ('connection1', 'owner', 'c', 'probe', 'key', '{}', ?, 0) returning id
        """,
        state,
    )


async def test_what_was_refused_while_it_was_reconnected_is_not_held_forever(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = Outside(house)

    async def judged(*_: Any) -> Held:
        outside.begun.append(1)
        return Held("old token", "connection1") if len(outside.begun) == 1 else Done(1)

    monkeypatch.setattr(house.app.flow._reacting, "react", judged)
    await connect(house, "ok")  # it was reconnected while the attempt was under way
    await house.apply(ONE.replace("steps.a.value", "steps.a"))
    run_id = await house.send("one")
    assert await states(house, run_id) == ["held"]
    await house.advance("5s")
    assert await states(house, run_id) == ["done"]
    assert len(outside.begun) == 2


async def test_what_is_held_though_its_connection_is_said_to_work_is_looked_at_ever_more_rarely(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = Outside(house)

    async def judged(*_: Any) -> Held:
        outside.begun.append(1)
        return Held("its service asks for more now", "connection1")

    monkeypatch.setattr(house.app.flow._reacting, "react", judged)
    await connect(house, "ok")
    await house.apply(ONE)
    run_id = await house.send("one")
    await house.advance("2d")
    assert await states(house, run_id) == ["held"]
    assert 48 <= len(outside.begun) <= 70
    await house.app.runs.cancel(house.actor, run_id)
    assert await counts(house) == {}


# --- stops and crashes --------------------------------------------------------------------------------------------


async def begin(house: House, document: str) -> tuple[Outside, str]:
    """Start a run whose reaction is under way."""
    outside = Outside(house)
    outside.gate = asyncio.Event()
    await house.apply(document)
    run_id = await house.app.runs.start(house.actor, "one", {})
    await until(lambda: outside.live == 1)
    return outside, run_id


async def test_a_stop_waits_for_what_is_under_way(house: House) -> None:
    outside, run_id = await begin(house, ONE)
    stop = asyncio.create_task(house.app.worker.stop(10.0))
    await asyncio.sleep(0.01)
    assert outside.gate is not None
    outside.gate.set()
    await stop
    assert outside.ended == [1]
    assert await states(house, run_id) == ["done"]


async def test_what_a_stop_cuts_off_is_repeated_if_that_is_safe(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        _, run_id = await begin(house, ONE)
        await house.app.worker.stop(0.01)
        rows = await house.app.backend.read("select attempt, begun, state, crashes from job")
        assert [tuple(row) for row in rows] == [(0, None, "ready", 0)]
    async with open_house(tmp_path, house.clock) as house:
        Outside(house)
        await house.idle()
        run = await house.run(run_id)
        assert run["state"] == "done"
        assert len(run["steps"][0]["attempts"]) == 1


async def test_what_a_stop_cuts_off_is_uncertain_if_repeating_is_not_safe(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        _, run_id = await begin(house, ACT)
        await house.app.worker.stop(0.01)
        assert await states(house, run_id) == ["uncertain"]
    async with open_house(tmp_path, house.clock) as house:
        outside = Outside(house)
        await house.idle()
        assert await states(house, run_id) == ["uncertain"]
        assert outside.begun == []


async def test_nothing_new_is_begun_while_it_stops(house: House) -> None:
    outside, _ = await begin(house, ONE)
    stop = asyncio.create_task(house.app.worker.stop(10.0))
    await asyncio.sleep(0.01)
    second = await house.app.runs.start(house.actor, "one", {})
    assert outside.gate is not None
    outside.gate.set()
    await stop
    await asyncio.sleep(0.01)
    assert outside.begun == [1]
    assert await states(house, second) == ["running"]


async def crash(tmp_path: Path, house: House | None, document: str | None = None) -> tuple[House, str]:
    """Let the process die while the reaction is under way."""
    async with open_house(tmp_path, house.clock if house else None) as made:
        outside = Outside(made)
        outside.gate = asyncio.Event()
        if document is not None:
            await made.apply(document)
            await made.app.runs.start(made.actor, "one", {})
        await until(lambda: outside.live == 1)
        rows = await made.app.backend.read("select id from run")
        await kill(made)
        return made, rows[0][0]


async def test_a_crash_counts_as_an_attempt_and_the_third_sets_the_job_aside(tmp_path: Path) -> None:
    house, run_id = await crash(tmp_path, None, ONE)
    for crashes in (1, 2):
        async with open_house(tmp_path, house.clock, work=False) as peek:  # nothing is begun here, so this end is none
            rows = await peek.app.backend.read("select crashes from job")
            assert [row[0] for row in rows] == [crashes]
        house, _ = await crash(tmp_path, house)
    async with open_house(tmp_path, house.clock, work=False) as peek:
        run = await peek.run(run_id)
        assert run["state"] == "failed"
        assert "quarantined" in run["reason"]
        assert await counts(peek) == {}


async def test_a_crash_during_what_is_not_safe_to_repeat_makes_it_uncertain_at_once(tmp_path: Path) -> None:
    house, run_id = await crash(tmp_path, None, ACT)
    async with open_house(tmp_path, house.clock) as house:
        outside = Outside(house)
        await house.idle()
        assert await states(house, run_id) == ["uncertain"]
        assert outside.begun == []
        await house.app.runs.resolve(house.actor, run_id, "a", "retry")
        await house.idle()
        assert await states(house, run_id) == ["done"]


async def test_a_full_disk_does_not_keep_the_process_from_starting(tmp_path: Path) -> None:
    house, _run_id = await crash(tmp_path, None, ONE)
    async with open_house(tmp_path, house.clock, work=False) as first:
        rows = await first.app.backend.read("select begun from job")
        assert rows[0][0] is None  # the start has seen to it
        await first.app.backend.write("update job set begun = 1 returning id")
        commit = first.app.backend.commit

        async def full(_: Any) -> bool:
            raise StorageFullError("full")

        first.app.backend.commit = full  # type: ignore[method-assign]
        assert await first.app.worker.rescue() == 1
        first.app.backend.commit = commit  # type: ignore[method-assign]
        await first.app.worker.resync()
        rows = await first.app.backend.read("select begun, crashes from job")
        assert [tuple(row) for row in rows] == [(None, 2)]


async def test_a_bug_in_dealing_with_a_crash_fails_the_run_and_not_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house, run_id = await crash(tmp_path, None, ONE)
    async with open_house(tmp_path, house.clock, work=False) as first:
        await first.app.backend.write("update job set begun = 1 returning id")

        async def broken(_: Any) -> None:
            raise KeyError("oh")

        monkeypatch.setattr(first.app.flow, "recover", broken)
        await first.app.worker.rescue()
        run = await first.run(run_id)
        assert run["state"] == "failed"
        assert "which is a bug: KeyError" in run["reason"]


async def test_an_outcome_is_kept_while_the_disk_is_full_and_written_when_it_is_not(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PAUSE_FULL_S", 0.001)
    outside, run_id = await begin(house, ACT)
    commit, refused = house.app.backend.commit, 0

    async def full(unit: Any) -> bool:
        nonlocal refused
        refused += 1
        if refused < 5:
            raise StorageFullError("full")
        return await commit(unit)

    house.app.backend.commit = full  # type: ignore[method-assign]
    assert outside.gate is not None
    outside.gate.set()
    await house.idle()
    assert refused >= 5
    assert outside.begun == [1]
    assert await states(house, run_id) == ["done"]
