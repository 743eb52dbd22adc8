"""How many runs of an area go on at once: the modes, with many events at the same moment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.areas.outside import Outside, counts, shake, states, until
from tests.flow.house import House, open_house

DOCUMENT = """
area: one
mode: {mode}
{more}
when: [{{webhook.received: {{}}}}]
then:
  - probe.do: {{value: "{{{{ trigger.n }}}}"}}
  - probe.do: {{value: "{{{{ trigger.n }}}}"}}
  - return: "{{{{ trigger.n }}}}"
"""


def document(mode: str, **more: Any) -> str:
    return DOCUMENT.format(mode=mode, more="\n".join(f"{key}: {value!r}" for key, value in more.items()))


async def burst(house: House, count: int, **trigger: Any) -> list[str]:
    """Start many runs at once, and return their ids in the order of their start."""
    made = [house.app.runs.start(house.actor, "one", {"n": n, **trigger}) for n in range(count)]
    ids = list(await asyncio.gather(*made))
    await house.idle()
    return ids


async def test_queued_runs_go_one_after_the_other_in_the_order_of_their_events(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        outside = Outside(house)
        await house.apply(document("queued"))
        ids = await burst(house, 100)
        assert await states(house, *ids) == ["done"] * 100
        assert outside.most == 1
        assert outside.begun == [n for n in range(100) for _ in (1, 2)]
        assert await counts(house) == {}


async def test_queued_runs_of_each_key_have_a_queue_of_their_own(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        outside = Outside(house)
        await house.apply(document("queued", key="{{ trigger.n % 4 }}"))
        ids = await burst(house, 60)
        assert await states(house, *ids) == ["done"] * 60
        assert 1 < outside.most <= 4
        for key in range(4):
            mine = [n for n in outside.begun if n % 4 == key]
            assert mine == sorted(mine)
        assert await counts(house) == {}


@pytest.mark.parametrize("again", range(8))  # one that was given its place meanwhile was once counted twice
async def test_a_queue_has_a_bound_and_the_rest_is_skipped(tmp_path: Path, again: int) -> None:
    async with open_house(tmp_path) as house:
        outside = Outside(house)
        outside.gate = asyncio.Event()
        await house.apply(document("queued", at_most=3))
        ids = [await house.app.runs.start(house.actor, "one", {"n": n}) for n in range(6)]
        await until(lambda: states_are(house, ["running", "queued", "queued", "skipped", "skipped", "skipped"]))
        outside.gate.set()
        await house.idle()
        assert await states(house, *ids) == ["done"] * 3 + ["skipped"] * 3


async def states_are(house: House, expected: list[str]) -> bool:
    return await states(house) == expected


@pytest.mark.parametrize("at_most", [1, 2, 5, 30])
async def test_parallel_runs_are_never_more_than_at_most_and_none_is_forgotten(tmp_path: Path, at_most: int) -> None:
    async with open_house(tmp_path) as house:
        outside = Outside(house)
        await house.apply(document("parallel", at_most=at_most))
        ids = await burst(house, 100)
        assert await states(house, *ids) == ["done"] * 100
        assert outside.most <= at_most
        assert outside.most >= min(at_most, 2)  # how many more depends on the machine
        assert await counts(house) == {}


async def test_places_that_became_free_are_all_taken_again(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        outside = Outside(house)
        outside.gate = asyncio.Event()
        await house.apply(document("parallel", at_most=3))
        ids = [await house.app.runs.start(house.actor, "one", {"n": n}) for n in range(8)]
        await until(lambda: outside.live == 3)
        for run_id in ids[:3]:
            await house.app.runs.cancel(house.actor, run_id)
        await until(lambda: outside.live == 3)
        assert await states(house, *ids) == ["cancelled"] * 3 + ["running"] * 3 + ["queued"] * 2
        await house.app.runs.cancel(house.actor, ids[6])  # one that waits in the line
        outside.gate.set()
        await house.idle()
        assert await states(house, *ids) == ["cancelled"] * 3 + ["done"] * 3 + ["cancelled", "done"]
        assert await counts(house) == {}


async def test_a_line_moves_on_when_its_bound_was_raised(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        outside = Outside(house)
        outside.gate = asyncio.Event()
        await house.apply(document("parallel", at_most=1))
        first = [await house.app.runs.start(house.actor, "one", {"n": n}) for n in range(3)]
        await until(lambda: outside.live == 1)
        await house.apply(document("parallel", at_most=4))
        later = [await house.app.runs.start(house.actor, "one", {"n": n}) for n in range(3, 6)]
        outside.gate.set()
        await house.idle()
        assert await states(house, *first, *later) == ["done"] * 6
        assert await counts(house) == {}


async def test_of_single_runs_one_goes_on_and_the_others_are_skipped(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        outside = Outside(house, turns=200)
        await house.apply(document("single"))
        ids = await burst(house, 50)
        found = await states(house, *ids)
        assert outside.most == 1
        assert set(found) == {"done", "skipped"}
        assert found.count("done") >= 1
        assert await counts(house) == {}


async def test_of_restarted_runs_the_newest_is_left(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        outside = Outside(house)
        outside.gate = asyncio.Event()
        await house.apply(document("restart"))
        ids = await asyncio.gather(*(house.app.runs.start(house.actor, "one", {"n": n}) for n in range(50)))
        await until(lambda: states_are(house, ["cancelled"] * 49 + ["running"]))
        outside.gate.set()
        await house.idle()
        assert await states(house, *ids) == ["cancelled"] * 49 + ["done"]
        assert await counts(house) == {}


async def test_a_run_that_waits_in_line_says_so_and_keeps_its_timeout(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.apply("""
area: one
mode: queued
timeout: 2h
when: [{webhook.received: {}}]
then:
  - wait: 5h
  - probe.do: {value: 1}
""")
        first, second = [await house.send("one") for _ in range(2)]
        assert await states(house, first, second) == ["waiting", "queued"]
        await house.advance("5h")
        assert await states(house, first, second) == ["done", "waiting"]
        await house.advance("5h")
        assert await states(house, first, second) == ["done", "done"]
        assert await counts(house) == {}


async def test_a_line_survives_a_restart(tmp_path: Path) -> None:
    async with open_house(tmp_path, work=False) as house:
        await house.apply(document("queued"))
        ids = [await house.app.runs.start(house.actor, "one", {"n": n}) for n in range(5)]
        clock = house.clock
    async with open_house(tmp_path, clock) as house:
        outside = Outside(house)
        await house.app.worker.resync()
        await house.idle()
        assert await states(house, *ids) == ["done"] * 5
        assert outside.begun == [n for n in range(5) for _ in (1, 2)]


@pytest.mark.parametrize("mode", ["queued", "single", "restart", "parallel"])
async def test_an_area_that_calls_itself_does_not_wait_for_itself_forever(tmp_path: Path, mode: str) -> None:
    bound = "at_most: 1" if mode == "parallel" else ""
    async with open_house(tmp_path) as house:
        await house.apply(f"""
area: one
mode: {mode}
{bound}
when: [{{webhook.received: {{}}}}]
then:
  - call: one
    with: {{n: 1}}
    if: "trigger.n is not defined"
""")
        run_id = await house.send("one")
        await house.advance("2h")
        rows = await house.app.backend.read("select state from run where ended is null")
        assert [row["state"] for row in rows] == []
        assert await states(house, run_id) == [{"single": "done", "restart": "cancelled"}.get(mode, "failed")]
        assert await counts(house) == {}


async def test_called_areas_wait_for_their_turn_like_any_other(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        outside = Outside(house)
        await house.apply(
            document("queued"),
            """
area: caller
when: [{webhook.received: {}}]
then:
  - each: "range(10)"
    id: loop
    at_once: 10
    then: [{call: one, with: {n: "{{ item }}"}, id: child}]
  - return: "{{ steps.loop }}"
""",
        )
        run_id = await house.send("caller")
        run = await house.run(run_id)
        assert (run["state"], run["result"]) == ("done", list(range(10)))
        assert outside.most == 1
        assert await counts(house) == {}


async def test_a_called_area_of_single_mode_that_is_busy_gives_nothing(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        outside = Outside(house)
        outside.gate = asyncio.Event()
        await house.apply(
            document("single"),
            """
area: caller
when: [{webhook.received: {}}]
then:
  - call: one
    with: {n: 7}
    id: child
  - return: "{{ steps.child is none }}"
""",
        )
        busy = await house.app.runs.start(house.actor, "one", {"n": 1})
        await until(lambda: outside.live == 1)
        run_id = await house.app.runs.start(house.actor, "caller", {})
        await until(lambda: is_done(house, run_id))
        run = await house.run(run_id)
        assert (run["state"], run["result"]) == ("done", True)
        assert "single" in run["steps"][0]["note"]
        outside.gate.set()
        await house.idle()
        assert await states(house, busy) == ["done"]


async def is_done(house: House, run_id: str) -> bool:
    return await states(house, run_id) == ["done"]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("mode", "at_most"), [("queued", None), ("parallel", 1), ("parallel", 3), ("restart", None), ("single", None)]
)
async def test_no_mode_depends_on_who_is_faster(tmp_path: Path, mode: str, at_most: int | None, seed: int) -> None:
    async with open_house(tmp_path) as house:
        outside = Outside(house)
        await house.apply(document(mode, **({"at_most": at_most} if at_most else {})))
        shake(house, seed)
        ids = await burst(house, 40)
        found = await states(house, *ids)
        assert outside.most <= (at_most or 1)
        assert await counts(house) == {}
        if mode in ("queued", "parallel"):
            assert found == ["done"] * 40
        if mode == "queued":
            assert outside.begun == [n for n in range(40) for _ in (1, 2)]
        if mode == "restart":
            assert found[-1] == "done"
        if mode == "single":
            assert set(found) <= {"done", "skipped"}
            assert "done" in found
