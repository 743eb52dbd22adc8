"""Random programs by the dozen, a slow and unreliable database, people who cancel: in the end nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from areabox.database import Unit
from areabox.errors import AreaboxError, StorageFullError
from areabox.reactions import worker
from tests.areas.outside import counts, shake
from tests.areas.programs import Steps, lists
from tests.flow.house import House, open_house

MODES = [
    {},
    {"mode": "queued"},
    {"mode": "parallel", "at_most": 2},
    {"mode": "single"},
    {"mode": "restart"},
    {"mode": "queued", "key": "{{ trigger.n }}"},
]
OTHERS: list[dict[str, Any]] = [
    {"wait_for": {"probe.happened": {"topic": "x"}, "if": "event.n == trigger.n"}, "timeout": "2h", "else": []},
    {"call": "child", "with": {"n": "{{ trigger.n }}"}, "on_error": "continue"},
    {"collect": {"window": "20m", "at_most": 3}},
    {"once": {"key": "{{ trigger.n }}", "within": "1h"}},
    {"probe.act": {"value": 1, "fail": "transient", "times": 2}, "on_error": "continue"},
]
areas = st.lists(
    st.tuples(st.sampled_from(MODES), st.lists(st.sampled_from(OTHERS), max_size=2), lists(2)), min_size=1, max_size=3
)


def document(slug: str, mode: dict[str, Any], others: Steps, then: Steps) -> dict[str, Any]:
    return {
        "area": slug,
        "when": [{"probe.happened": {"topic": slug}}],
        **mode,
        "then": [*others[:1], *then, *others[1:]],
    }


def unreliable(house: House, random: Random) -> Any:
    """Let commits fail now and then; return what makes them work again."""
    backend, commit = house.app.backend, house.app.backend.commit

    async def failing(unit: Unit) -> bool:
        chance = random.random()
        if chance < 0.03:
            raise StorageFullError("full")
        if chance < 0.10 and any(statement.expect is not None for statement in unit.statements):
            return False
        return bool(await commit(unit))

    backend.commit = failing  # type: ignore[method-assign]
    return lambda: setattr(backend, "commit", commit)


async def meddle(house: House, random: Random) -> None:
    """Start, cancel, forget, let things happen."""
    app = house.app
    for n in range(25):
        with contextlib.suppress(AreaboxError):
            match random.randrange(6):
                case 0 | 1 | 2:
                    await app.runs.start(
                        house.actor, random.choice(sorted(h.slug for h in app.registry.heads.values())), {"n": n % 3}
                    )
                case 3:
                    rows = await app.backend.read("select id from run where ended is null")
                    if rows:
                        await app.runs.cancel(house.actor, random.choice(rows)[0])
                case 4:
                    await app.events.send(house.actor, "probe.happened", {"n": n % 3, "what": ""})
                case 5:
                    for run_id in list(app.live._resting):
                        app.live.drop(run_id)
        for _ in range(random.randrange(30)):
            await asyncio.sleep(0)
        house.clock.advance(random.choice([0, 1, 60_000]))
        with contextlib.suppress(AreaboxError):
            await app.worker.tick()


async def chaos(house: House, made: list[Any], seed: int) -> None:
    app, random = house.app, Random(seed)
    for head in list(app.registry.heads.values()):
        await app.areas.delete(house.actor, head.slug)
    child = {
        "area": "child",
        "when": [{"webhook.received": {}}],
        "mode": "queued",
        "then": [{"wait": "1m"}, {"return": 1}],
    }
    await app.areas.put(house.actor, "child", child)
    for number, (mode, others, then) in enumerate(made):
        await app.areas.put(house.actor, f"a{number}", document(f"a{number}", mode, others, then))
    heal = unreliable(house, random)
    await meddle(house, random)
    heal()
    await app.worker.resync()
    await house.advance("40d")
    rows = await app.backend.read("select state, count(*) from run where ended is null group by state")
    assert [tuple(row) for row in rows] == []
    assert await counts(house) == {}
    assert dict(app.registry.waits) == {}
    assert (app.live._runs, app.live._resting, app.live._ready) == ({}, {}, {})
    assert (app.worker._tasks, app.worker._cut_off) == ({}, set())
    bugs = await app.backend.read("select reason from run where reason like '%which is a bug%'")
    assert [row[0] for row in bugs if "refused" not in row[0]] == []
    await app.backend.write("delete from run returning id")
    await app.backend.write("delete from step returning run")


def test_whatever_goes_wrong_every_run_ends_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "PAUSE_FULL_S", 0.0)
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        house = runner.run(stack.enter_async_context(open_house(tmp_path)))
        shake(house, 1, turns=4)

        @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
        @given(areas, st.integers(0, 10_000))
        def check(made: list[Any], seed: int) -> None:
            runner.run(chaos(house, made, seed))

        try:
            check()
        finally:
            runner.run(stack.aclose())
