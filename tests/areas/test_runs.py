"""Runs as people see and steer them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from areabox.areas import store
from areabox.errors import ConflictError, InputError, NotFoundError
from areabox.users.policy import Actor
from tests.areas.outside import Outside, counts, states, until
from tests.flow.house import House, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as made:
        yield made


def area(then: str, slug: str = "one", when: str = "webhook.received: {}", more: str = "") -> str:
    return f"area: {slug}\nwhen: [{{{when}}}]\n{more}\nthen:\n{then}"


async def stranger(house: House) -> Actor:
    account = await house.app.accounts.create("stranger@example.org", None, "editor")
    return account.actor()


# --- looking ------------------------------------------------------------------------------------------------------


async def test_a_run_tells_what_it_was_given_and_what_came_of_it(house: House) -> None:
    await house.apply(
        area('  - probe.do: {value: "{{ trigger.n }}"}\n    id: a\n    name: The step\n  - return: "{{ steps.a }}"')
    )
    run = await house.run(await house.send("one", {"n": 7}))
    assert {key: run[key] for key in ("area", "version", "state", "trigger", "result", "reason", "dry", "vars")} == {
        "area": "one", "version": 1, "state": "done", "trigger": {"n": 7}, "result": {"value": 7}, "reason": None,
        "dry": False, "vars": {},
    }  # fmt: skip
    first, second = run["steps"]
    assert (first["id"], first["path"], first["kind"], first["name"], first["state"]) == (
        "a",
        "a",
        "do",
        "The step",
        "done",
    )
    assert (first["input"], first["output"]) == ({"value": 7}, {"value": 7})
    assert first["attempts"] == [{"started": run["started"], "ended": run["started"]}]
    assert second["kind"] == "return"


async def test_a_run_under_way_shows_its_open_loops_and_what_comes_next(house: House) -> None:
    outside = Outside(house)
    outside.gate = asyncio.Event()
    await house.apply(
        area("""
  - parallel:
      - [{probe.do: {value: 1}, id: a}]
      - [{wait: 1h, id: w}]
      - [{ask: {question: "Well?", choices: [Sure]}, id: q}]
    id: par
""")
    )
    run_id = await house.app.runs.start(house.actor, "one", {})
    await until(lambda: outside.live == 1)
    await until(lambda: waits(house, run_id, 2))
    run = await house.run(run_id)
    assert run["state"] == "running"
    found = {step["path"]: (step["kind"], step["state"]) for step in run["steps"]}
    assert found == {
        "par": ("parallel", "running"), "par.0.a": ("do", "running"), "par.1.w": ("wait", "waiting"),
        "par.2.q": ("ask", "waiting"),
    }  # fmt: skip
    outside.gate.set()
    await house.idle()
    assert (await house.run(run_id))["state"] == "waiting"


async def waits(house: House, run_id: str, count: int) -> bool:
    rows = await house.app.backend.read("select count(*) from job where run = ? and state = 'waiting'", run_id)
    return bool(rows[0][0] == count)


async def test_lists_are_paged_newest_first_and_filtered(house: House) -> None:
    await house.apply(area("  - return: 1"), area("  - stop: failed", "two"))
    ids = [await house.send("one") for _ in range(5)]
    failed = await house.send("two")
    runs = house.app.runs
    first = await runs.list(house.actor, limit=2)
    assert [line["id"] for line in first] == [failed, ids[4]]
    second = await runs.list(house.actor, limit=2, after=first[-1]["id"])
    assert [line["id"] for line in second] == [ids[3], ids[2]]
    assert [line["id"] for line in await runs.list(house.actor, area="two")] == [failed]
    assert [line["id"] for line in await runs.list(house.actor, state="failed")] == [failed]
    assert len(await runs.list(house.actor, limit=0)) == 1
    with pytest.raises(NotFoundError):
        await runs.list(house.actor, area="nowhere")


async def test_nobody_sees_or_steers_the_runs_of_others(house: House) -> None:
    other = await stranger(house)
    await house.apply(area('  - ask: {question: "Well?", choices: [Sure]}\n    id: q'))
    run_id = await house.send("one")
    runs = house.app.runs
    assert await runs.list(other) == []
    for attempt in (
        runs.get(other, run_id), runs.cancel(other, run_id), runs.retry(other, run_id), runs.start(other, "one", {}),
        runs.answer(other, run_id, "q", "Sure"), runs.resolve(other, run_id, "q", "done"), runs.list(other, area="one"),
    ):  # fmt: skip
        with pytest.raises(NotFoundError):
            await attempt
    assert await states(house, run_id) == ["waiting"]


async def test_two_owners_may_call_their_areas_the_same(house: House) -> None:
    other = await stranger(house)
    await house.apply(area("  - return: mine"))
    await house.app.areas.apply(other, [("x", area("  - return: theirs"))])
    mine, theirs = await house.send("one"), await house.app.runs.start(other, "one", {})
    await house.idle()
    assert (await house.run(mine))["result"] == "mine"
    assert (await house.app.runs.get(other, theirs))["result"] == "theirs"
    assert len(await house.app.runs.list(house.actor)) == 1


# --- waiting for an end -------------------------------------------------------------------------------------------


async def test_waiting_ends_with_the_run_or_with_the_time(house: House) -> None:
    outside = Outside(house)
    outside.gate = asyncio.Event()
    await house.apply(area("  - probe.do: {value: 1}"))
    run_id = await house.app.runs.start(house.actor, "one", {})
    await house.app.runs.wait(run_id, 0.05)
    assert await states(house, run_id) == ["running"]
    waiting = asyncio.create_task(house.app.runs.wait(run_id, 30))
    await until(lambda: outside.live == 1)
    outside.gate.set()
    async with asyncio.timeout(30):
        await waiting
    assert await states(house, run_id) == ["done"]
    async with asyncio.timeout(30):
        await house.app.runs.wait(run_id, 30)


async def test_many_can_wait_for_many_runs(house: House) -> None:
    await house.apply(area("  - probe.do: {value: 1}\n  - probe.do: {value: 2}"))

    async def one() -> str:
        run_id = await house.app.runs.start(house.actor, "one", {})
        await house.app.runs.wait(run_id, 30)
        return run_id

    async with asyncio.timeout(30):
        ids = await asyncio.gather(*(one() for _ in range(100)))
    assert await states(house, *ids) == ["done"] * 100


# --- cancelling ---------------------------------------------------------------------------------------------------


async def test_cancelling_ends_everything_the_run_was_about_to_do_and_what_it_called(house: House) -> None:
    outside = Outside(house)
    outside.gate = asyncio.Event()
    await house.apply(
        area("  - probe.do: {value: child}", "grandchild"),
        area("  - call: grandchild", "child"),
        area("""
  - parallel:
      - [{call: child}]
      - [{probe.do: {value: own}}]
      - [{wait: 1h}]
      - [{wait_for: {probe.happened: {topic: x}}}]
      - [{collect: {window: 1h}}]
"""),
    )
    run_id = await house.app.runs.start(house.actor, "one", {})
    await until(lambda: outside.live == 2)
    await house.app.runs.cancel(house.actor, run_id)
    await house.idle()
    assert await states(house) == ["cancelled"] * 3
    assert outside.live == 0
    assert outside.ended == []
    assert await counts(house) == {}
    run = await house.run(run_id)
    assert run["reason"] == "cancelled by owner@example.org"
    assert {step["state"] for step in run["steps"]} == {"cancelled"}
    with pytest.raises(ConflictError):
        await house.app.runs.cancel(house.actor, run_id)


async def test_a_cancelled_child_fails_the_step_that_called_it(house: House) -> None:
    await house.apply(
        area("  - wait: 1h", "child"), area('  - call: child\n    on_error: [{return: "{{ error.kind }}"}]')
    )
    run_id = await house.send("one")
    child = (await house.app.runs.list(house.actor, area="child"))[0]["id"]
    await house.app.runs.cancel(house.actor, child)
    await house.idle()
    run = await house.run(run_id)
    assert (run["state"], run["result"]) == ("done", "child")


async def test_cancelling_wins_or_loses_against_the_end_but_never_both(house: House) -> None:
    outside = Outside(house)
    await house.apply(area("  - probe.do: {value: 1}\n  - probe.do: {value: 2}"))
    ids = [await house.app.runs.start(house.actor, "one", {}) for _ in range(40)]
    cancelled = await asyncio.gather(*(house.app.runs.cancel(house.actor, id) for id in ids), return_exceptions=True)
    await house.idle()
    for run_id, outcome in zip(ids, cancelled, strict=True):
        [state] = await states(house, run_id)
        assert state == ("done" if isinstance(outcome, ConflictError) else "cancelled")
    assert await counts(house) == {}
    assert outside.live == 0


# --- again --------------------------------------------------------------------------------------------------------

LOOP = area("""
  - probe.do: {value: first}
    id: first
  - each: "[1, 2, 3]"
    id: loop
    then:
      - probe.do: {value: "{{ item }}"}
        id: a
      - probe.do: {value: "{{ item * 10 }}", fail: "{{ 'permanent' if item == trigger.bad else '' }}"}
        id: b
  - return: "{{ [steps.first.value, steps.loop | map(attribute='value') | list] }}"
""")


async def test_again_takes_the_same_trigger_and_version_or_the_latest(house: House) -> None:
    await house.apply(area('  - return: "one {{ trigger.n }}"'))
    run_id = await house.send("one", {"n": 5})
    await house.apply(area('  - return: "two {{ trigger.n }}"'))
    same = await house.app.runs.retry(house.actor, run_id)
    latest = await house.app.runs.retry(house.actor, run_id, version="latest")
    await house.idle()
    assert [(await house.run(id))["result"] for id in (same, latest)] == ["one 5", "two 5"]
    assert [(await house.run(id))["version"] for id in (same, latest)] == [1, 2]
    assert (await house.run(same))["retry_of"] == run_id


async def test_again_from_inside_a_loop_does_only_what_was_not_done(house: House) -> None:
    await house.apply(LOOP)
    run_id = await house.send("one", {"bad": 2})
    assert await states(house, run_id) == ["failed"]
    outside = Outside(house)
    again = await house.app.runs.retry(house.actor, run_id, from_="loop.1.b")
    await house.idle()
    run = await house.run(again)
    assert (run["state"], run["result"]) == ("done", ["first", [10, 20, 30]])
    assert outside.begun == [20, 3, 30]
    assert [step["note"] for step in run["steps"] if step["path"] == "loop.0.a"] == ["taken from the earlier run"]


async def test_again_from_a_step_goes_on_in_line_and_over_a_restart(tmp_path: Path) -> None:
    document = LOOP.replace("when:", "mode: queued\nwhen:", 1).replace("  - return:", "  - wait: 1h\n  - return:")
    async with open_house(tmp_path) as house:
        await house.apply(document)
        run_id = await house.send("one", {"bad": 2})
        busy = await house.send("one", {"bad": 0})
        again = await house.app.runs.retry(house.actor, run_id, from_="loop.1.b")
        await house.idle()
        assert await states(house, busy, again) == ["waiting", "queued"]
        assert await store.prune(house.app.backend, house.clock.now + 1) == 0  # what is remembered is still needed
        clock = house.clock
    async with open_house(tmp_path, clock) as house:
        outside = Outside(house)
        await house.advance("1h")
        assert outside.begun == [20, 3, 30]
        await house.advance("1h")
        assert await states(house, busy, again) == ["done", "done"]
        assert await store.prune(house.app.backend, house.clock.now + 1) == 3


async def test_again_is_refused_while_the_run_goes_on_and_from_steps_it_never_had(house: House) -> None:
    await house.apply(area("  - wait: 1h\n    id: w"))
    run_id = await house.send("one")
    with pytest.raises(ConflictError):
        await house.app.runs.retry(house.actor, run_id)
    await house.advance("1h")
    for path in ("nothing", "w.0.x", "", "."):
        with pytest.raises(InputError):
            await house.app.runs.retry(house.actor, run_id, from_=path)
    with pytest.raises(NotFoundError):
        await house.app.runs.retry(house.actor, "nobody")


# --- answers ------------------------------------------------------------------------------------------------------


async def test_a_question_is_answered_once_and_by_one_of_its_choices(house: House) -> None:
    await house.apply(
        area("""
  - ask: {question: "Delete {{ trigger.x }}?", choices: [Delete, Keep]}
    id: q
  - return: "{{ steps.q.choice }} by {{ steps.q.by }}"
""")
    )
    run_id = await house.send("one", {"x": "all"})
    run = await house.run(run_id)
    assert run["steps"][0]["input"] == {"question": "Delete all?", "choices": ["Delete", "Keep"]}
    with pytest.raises(InputError):
        await house.app.runs.answer(house.actor, run_id, "q", "Perhaps")
    with pytest.raises(ConflictError):
        await house.app.runs.resolve(house.actor, run_id, "q", "done")
    answers = await asyncio.gather(
        *(house.app.runs.answer(house.actor, run_id, "q", choice) for choice in ["Keep", "Delete"] * 5),
        return_exceptions=True,
    )
    await house.idle()
    assert answers.count(None) == 1
    assert (await house.run(run_id))["result"] in {f"{choice} by owner@example.org" for choice in ("Keep", "Delete")}


async def test_an_answer_and_its_timeout_at_the_same_moment_end_in_one_of_them(house: House) -> None:
    await house.apply(
        area("""
  - ask: {question: "Well?", choices: [Sure]}
    id: q
    timeout: 1h
    else: [{return: late}]
  - return: "{{ steps.q.choice }}"
""")
    )
    ids = [await house.send("one") for _ in range(20)]
    house.clock.advance(3_600_000)
    answers = [house.app.runs.answer(house.actor, id, "q", "Sure") for id in ids]
    told: list[Any] = list(await asyncio.gather(house.app.worker.tick(), *answers, return_exceptions=True))[1:]
    await house.idle()
    for run_id, outcome in zip(ids, told, strict=True):
        result = (await house.run(run_id))["result"]
        assert result == ("Sure" if outcome is None else "late")


# --- dry runs -----------------------------------------------------------------------------------------------------


async def test_a_dry_run_touches_nothing_and_says_what_it_would_do(house: House) -> None:
    outside = Outside(house)
    await house.apply(
        area("  - return: 1", "child"),
        area("""
  - probe.do: {value: 1}
    id: do
  - probe.look: {value: 2}
    id: look
  - wait: 1h
    id: w
  - wait_for: {probe.happened: {topic: x}}
    id: wf
  - ask: {question: "Well?", choices: [Sure, No]}
    id: q
  - call: child
    id: c
  - collect: {window: 1h}
    id: col
  - once: {key: a}
    id: o
  - return: "{{ steps.q.choice }}"
""", more="mode: single"),
    )  # fmt: skip
    run_id = await house.send("one", {"n": 1}, dry=True)
    run = await house.run(run_id)
    assert (run["state"], run["result"], run["dry"]) == ("done", "Sure", True)
    assert outside.begun == [2]
    assert [line["dry"] for line in await house.app.runs.list(house.actor)] == [True, True]
    assert await counts(house, "once", "slot", "job", "notice", "collected") == {}
    notes = {step["id"]: step["note"] for step in run["steps"]}
    assert all(notes[id] for id in ("do", "w", "wf", "q", "col", "o"))


# --- forgetting ---------------------------------------------------------------------------------------------------


async def test_pruning_takes_ended_runs_with_all_that_hangs_on_them_and_no_others(house: House) -> None:
    await house.apply(
        area('  - set: {x: "{{ trigger.big }}"}\n  - wait: "{{ trigger.wait }}"\n  - return: "{{ trigger.big }}"')
    )
    big = "x" * 100_000
    ended = await house.send("one", {"big": big, "wait": "0s"})
    alive = await house.send("one", {"big": big, "wait": "30d"})
    await house.advance("1d")
    assert await store.prune(house.app.backend, house.clock.now) == 1
    with pytest.raises(NotFoundError):
        await house.run(ended)
    await house.advance("30d")
    assert (await house.run(alive))["result"] == big
    assert await store.prune(house.app.backend, house.clock.now + 1) == 1
    assert await counts(house, "run", "step", "scope", "layer", "blob", "job") == {}
