"""Runs that come at the same moment, and runs that are cancelled in line: the order stays, and nobody is forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.flow.house import House, open_house


def area(mode: str, step: str = "wait: 1h") -> str:
    return f"area: line\nname: Line\nmode: {mode}\nwhen: [{{webhook.received: {{}}}}]\nthen:\n  - {step}\n"


async def burst(house: House, count: int) -> list[str]:
    """Start runs without letting the workers see to one before the next is there."""
    ids = [await house.app.runs.start(house.actor, "line", {"n": number}) for number in range(count)]
    await house.idle()
    return ids


async def states(house: House, ids: list[str]) -> list[str]:
    return [(await house.run(id))["state"] for id in ids]


async def test_queued_runs_that_come_at_once_keep_their_order(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.apply(area("queued"))
        ids = await burst(house, 12)
        assert await states(house, ids) == ["waiting", *["queued"] * 11]
        await house.advance("13h")
        ended = [(await house.run(id))["ended"] for id in ids]
        assert await states(house, ids) == ["done"] * 12
    assert ended == sorted(ended)


async def test_the_newest_of_runs_that_come_at_once_takes_the_place(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.apply(area("restart"))
        ids = await burst(house, 12)
        assert await states(house, ids) == [*["cancelled"] * 11, "waiting"]


async def test_a_run_cancelled_in_line_gives_its_turn_to_nobody(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.apply(area("queued"))
        first, second, third, fourth = await burst(house, 4)
        await house.app.runs.cancel(house.actor, third)
        await house.idle()
        waiting = await house.app.backend.read("select run from job where state = 'waiting' and wait_key like 'slot:%'")
        assert sorted(row[0] for row in waiting) == sorted([second, fourth])
        await house.advance("90m")
        assert await states(house, [first, second, third, fourth]) == ["done", "waiting", "cancelled", "queued"]


async def test_a_digest_that_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.apply(area("parallel", "collect: {window: 1h}"))
        ids = await burst(house, 2)
        state_of = dict(zip(await states(house, ids), ids, strict=True))
        assert set(state_of) == {"waiting", "collected"}
        await house.app.runs.cancel(house.actor, state_of["waiting"])
        assert not await house.app.backend.read("select * from collected")


async def test_a_state_is_read_whole_while_others_write(tmp_path: Path) -> None:
    """Whoever looks at a run that is not in memory waits for the advance that is under way."""
    async with open_house(tmp_path) as house:
        await house.apply(area("parallel"))
        (run_id,) = await burst(house, 1)
        live = house.app.live
        live.drop(run_id)
        async with live.lock(run_id):
            looking = asyncio.create_task(live.look(run_id))
            await asyncio.sleep(0.01)
            assert not looking.done()
        state = await looking
        assert state is not None
        assert state is live.peek(run_id)
