"""Every construct of the area language, run for real: one document each, with the exact run that must come of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flow.house import House, open_house

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.yaml"))
PATHS = [(path, way) for path in FILES for way in ("good", "bad")]


def texts(case: dict[str, Any]) -> list[str]:
    documents = case["documents"]
    return [text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False) for text in documents]


async def play(house: House, case: dict[str, Any]) -> list[dict[str, Any]]:
    """Send what the case sends, do what it does meanwhile, and return the runs as they are then."""
    sends = case["send"] if isinstance(case["send"], list) else [case["send"]]
    ids = []
    for send in sends:
        if "event" in send:
            await house.happen(send["event"], send.get("payload", {}))
        elif "advance" in send:
            await house.advance(send["advance"])
        else:
            ids.append(await house.send(send["area"], send.get("trigger"), dry=send.get("dry", False)))
    for move in moves(case):
        await make(house, move, ids)
    return [await house.run(id) for id in ids]


def moves(case: dict[str, Any]) -> list[dict[str, Any]]:
    found = case.get("advance", [])
    return found if isinstance(found, list) else [{"advance": found}]


async def make(house: House, move: dict[str, Any], ids: list[str]) -> None:
    run_id = ids[move.get("run", 0)]
    if "advance" in move:
        await house.advance(move["advance"])
    elif "answer" in move:
        await house.app.runs.answer(house.actor, run_id, move["answer"]["path"], move["answer"]["choice"])
    elif "resolve" in move:
        await house.app.runs.resolve(house.actor, run_id, move["resolve"]["path"], move["resolve"]["as"])
    elif "event" in move:
        event = move["event"]
        await house.happen(event["action"], event.get("payload", {}))
    elif "cancel" in move:
        await house.app.runs.cancel(house.actor, run_id)
    elif "retry" in move:
        retry = move["retry"] or {}
        ids.append(
            await house.app.runs.retry(
                house.actor, run_id, from_=retry.get("from"), version=retry.get("version", "same")
            )
        )
    else:
        raise AssertionError(f"unknown move {move}")
    await house.idle()


def matches(expected: Any, found: Any, where: str) -> None:
    """Compare what is expected, and only that; `steps` must be all steps, in order."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key, value in expected.items():
            assert key in found, f"{where}: no {key} in {found}"
            matches(value, found[key], f"{where}.{key}")
    elif isinstance(expected, list) and isinstance(found, list):
        assert len(expected) == len(found), f"{where}: expected {expected}, found {found}"
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            matches(one, other, f"{where}[{index}]")
    else:
        assert expected == found, f"{where}: expected {expected!r}, found {found!r}"


def check(expected: Any, runs: list[dict[str, Any]]) -> None:
    wanted = expected if isinstance(expected, list) else [expected]
    assert len(runs) >= len(wanted), "there are fewer runs than expected"
    for number, (want, run) in enumerate(zip(wanted, runs, strict=False)):
        steps = [{"path": step["path"], "state": step["state"]} for step in run["steps"]]
        if "steps" in want:
            listed = [{"path": step["path"], "state": step["state"]} for step in want["steps"]]
            assert steps == listed, f"run {number}: {run['state']} {run['reason']}"
        matches(want, run, f"run {number}")


@pytest.mark.parametrize(("path", "way"), PATHS, ids=lambda value: value.stem if isinstance(value, Path) else value)
async def test_a_document_runs_as_its_file_says(path: Path, way: str, tmp_path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    part = case if way == "good" else {**case, "advance": [], **case.get("bad", {})}
    if way == "bad" and "bad" not in case:
        pytest.fail("a construct shows its bad path, too")
    async with open_house(tmp_path) as house:
        await house.apply(*texts(part))
        runs = await play(house, part)
        check(part["expect"], runs)


async def test_a_run_goes_on_where_it_was_after_a_restart(tmp_path: Path) -> None:
    document = """
area: waits
name: Waits
when: [{webhook.received: {}}]
then:
  - set: {x: "{{ trigger.n }}"}
  - each: "[1, 2]"
    id: loop
    then:
      - wait: 1h
      - probe.do: {value: "{{ item + vars.x }}"}
        id: do
  - return: "{{ steps.loop }}"
"""
    async with open_house(tmp_path) as house:
        await house.apply(document)
        run_id = await house.send("waits", {"n": 10})
        clock = house.clock
    clock.advance(3_600_000)
    async with open_house(tmp_path, clock) as house:
        await house.advance("2h")
        run = await house.run(run_id)
    assert run["state"] == "done"
    assert run["result"] == [{"value": 11}, {"value": 12}]
