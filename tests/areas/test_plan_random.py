"""Whatever a program does, its run comes to an end, leaves nothing open, and does not depend on what is in memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from areabox.areas.state import NewJob
from areabox.reactions.outcome import Done, Failed, Outcome, Skipped, TimedOut
from tests.areas.play import Play
from tests.areas.programs import Steps, programs
from tests.flow.house import House, open_house

TURNS_MAX = 5_000
TRIGGER = {"n": 2}
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


def answer(seed: int, job: NewJob) -> Outcome:
    """End a job in a way that only its place decides."""
    chance = crc32(f"{seed} {job.path}".encode()) % 10
    if job.kind == "ask":
        return TimedOut() if chance < 5 else Done({"choice": "Sure"})
    if job.kind == "do" and chance < 3:
        return Failed("it broke") if chance < 2 else Skipped("nothing to do")
    return Done(job.path)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs, st.integers(0, 1_000))
def test_a_run_comes_to_an_end_in_any_order_of_its_jobs_and_leaves_nothing_open(steps: Steps, seed: int) -> None:
    random = Random(seed)
    play = Play(steps, TRIGGER).drive(lambda job: answer(seed, job), pick=random.choice)
    assert play.state in ("done", "skipped", "failed")
    natural = play.state == "done" and not any(row.kind in ("return", "stop") for row in play.journal)
    if natural:
        play.clean()
    twice = [
        path for path in {row.path for row in play.journal} if len([r for r in play.journal if r.path == path]) > 1
    ]
    assert not twice, "a step was journaled twice"


async def drive(house: House, run_id: str, *, forget: bool) -> dict[str, Any]:
    """Do one job after the other, oldest first, with the state in memory or read again for each; return the run."""
    app, clock, start = house.app, house.clock, house.clock.now
    for _ in range(TURNS_MAX):
        if forget:
            app.live.drop(run_id)
        rows = await app.backend.read(
            "select id from job where run = ? and state = 'ready' order by id limit 1", run_id
        )
        if rows:
            await asyncio.create_task(app.worker.handle(rows[0][0]))
            continue
        rows = await app.backend.read("select min(due) from job where run = ? and state = 'waiting'", run_id)
        if rows[0][0] is None:
            break
        clock.now = max(clock.now, rows[0][0])
        await app.worker.tick()
    run = await house.run(run_id)
    run["times"] = clock.now - start
    return run


async def leavings(house: House) -> list[str]:
    """Return the tables in which an ended run left something."""
    tables = ("job", "scope", "layer", "slot", "collected")
    counts = {table: await house.app.backend.read(f"select count(*) from {table}") for table in tables}
    return [table for table, rows in counts.items() if rows[0][0]]


def story(run: dict[str, Any]) -> dict[str, Any]:
    """Return what a run did, without ids, and with times counted from its start."""
    start = datetime.fromisoformat(run["started"])
    fields = ("path", "kind", "state", "input", "output", "error", "note")
    steps = [{**{key: step[key] for key in fields}, "tries": len(step["attempts"])} for step in run["steps"]]
    whole = {key: run[key] for key in ("state", "reason", "result", "vars", "times")} | {"steps": steps}
    text = TIME.sub(lambda found: str(datetime.fromisoformat(found[0]) - start), json.dumps(whole))
    told: dict[str, Any] = json.loads(text)
    return told


async def same(house: House, steps: Steps) -> None:
    document = {"area": "random", "when": [{"webhook.received": {}}], "then": steps}
    await house.app.areas.put(house.actor, "random", document)
    stories = []
    for forget in (False, True):
        run_id = await house.app.runs.start(house.actor, "random", TRIGGER)
        run = await drive(house, run_id, forget=forget)
        stories.append(story(run))
        assert run["state"] in ("done", "skipped", "failed")
        assert await leavings(house) == []
        assert house.app.live.peek(run_id) is None
    assert stories[0] == stories[1]


def test_a_run_gives_the_same_whether_its_state_is_kept_or_read_again_for_each_job(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        house = runner.run(stack.enter_async_context(open_house(tmp_path, work=False)))

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(programs)
        def check(steps: Steps) -> None:
            runner.run(same(house, steps))

        try:
            check()
        finally:
            runner.run(stack.aclose())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs, st.integers(0, 1_000), st.data())
def test_again_from_any_step_comes_to_the_same_end_and_does_nothing_before_it(
    steps: Steps, seed: int, data: Any
) -> None:
    earlier = Play(steps, TRIGGER).drive(lambda job: answer(seed, job))
    if not earlier.journal:
        return
    from_ = data.draw(st.sampled_from(sorted({row.path for row in earlier.journal})))
    order = earlier.run.outline.order
    memo = {row.path: row for row in earlier.journal if order(row.path) < order(from_)}
    performed: list[str] = []

    def again(job: NewJob) -> Outcome:
        performed.append(job.path)
        return answer(seed, job)

    later = Play(steps, TRIGGER, memo=memo).drive(again)
    assert (later.state, later.result, later.reason) == (earlier.state, earlier.result, earlier.reason)
    assert later.states() == earlier.states()
    assert not [path for path in performed if path in memo]
