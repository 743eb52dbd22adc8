"""One timer for many calls: each is cut off once its time is over, and nobody else's cancellation is taken for that."""

from __future__ import annotations

import asyncio

import pytest

from areabox.services.deadlines import Deadlines


async def late(deadlines: Deadlines, timeout_s: float, work: asyncio.Event) -> str:
    """Wait for something that does not happen, for as long as there is time."""
    limit = deadlines.begin(timeout_s)
    try:
        await work.wait()
    except asyncio.CancelledError:
        if limit.fired():
            return "cut off"
        raise
    finally:
        deadlines.end(limit)
    return "done"


async def test_what_is_not_done_in_time_is_cut_off() -> None:
    assert await late(Deadlines(), 0.01, asyncio.Event()) == "cut off"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_what_is_done_in_time_is_left_alone() -> None:
    deadlines, done = Deadlines(), asyncio.Event()
    done.set()
    assert await late(deadlines, 30, done) == "done"
    assert await late(deadlines, 0.0, done) == "done"
    await asyncio.sleep(0)


async def test_somebody_elses_cancellation_stays_one() -> None:
    waiting = asyncio.create_task(late(Deadlines(), 30, asyncio.Event()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_an_inner_deadline_does_not_use_up_the_outer_one() -> None:
    outer, inner = Deadlines(), Deadlines()
    limit = outer.begin(30)
    assert await late(inner, 0.01, asyncio.Event()) == "cut off"
    assert not limit.fired()
    outer.end(limit)
    assert await late(outer, 0.01, asyncio.Event()) == "cut off"


async def test_many_calls_share_a_timer_and_each_has_its_own_time() -> None:
    deadlines, never = Deadlines(), asyncio.Event()
    calls = [asyncio.create_task(late(deadlines, limit_s, never)) for limit_s in (0.01, 0.02, 30.0)]
    ended, open_ = await asyncio.wait(calls, timeout=1, return_when=asyncio.ALL_COMPLETED)
    assert [task.result() for task in ended] == ["cut off", "cut off"]
    never.set()
    assert [await task for task in open_] == ["done"]
