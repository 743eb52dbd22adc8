"""Whoever watches is told; whoever is slow loses the oldest; whoever is gone costs nothing."""

from __future__ import annotations

import asyncio

import pytest

from areabox.database import Message
from areabox.database.bus import Bus


async def test_a_watcher_is_told_of_its_topics_in_order():
    bus = Bus()
    runs, everything = bus.watch("run", "step"), bus.watch()
    bus.tell([Message("run", {"n": 1}), Message("area", {"n": 2}), Message("step", {"n": 3})])
    assert [(await anext(runs)).body["n"] for _ in range(2)] == [1, 3]
    assert [(await anext(everything)).body["n"] for _ in range(3)] == [1, 2, 3]


async def test_a_watcher_hears_nothing_of_what_was_before_it():
    bus = Bus()
    bus.tell([Message("run", {"n": 1})])
    watch = bus.watch("run")
    bus.tell([Message("run", {"n": 2})])
    assert (await anext(watch)).body == {"n": 2}


async def test_a_watcher_waits_for_the_next_message():
    bus = Bus()
    watch = bus.watch("run")
    waiting = asyncio.create_task(anext(watch))
    await asyncio.sleep(0)
    bus.tell([Message("other", {})])
    bus.tell([Message("run", {"n": 1})])
    assert (await waiting).body == {"n": 1}


async def test_a_slow_watcher_loses_the_oldest():
    bus = Bus(backlog=3)
    watch = bus.watch("run")
    bus.tell(Message("run", {"n": n}) for n in range(10))
    assert [(await anext(watch)).body["n"] for _ in range(3)] == [7, 8, 9]


async def test_a_closed_watcher_ends_after_what_it_has():
    bus = Bus()
    watch = bus.watch("run")
    bus.tell([Message("run", {"n": 1})])
    await watch.aclose()
    bus.tell([Message("run", {"n": 2})])
    assert [message.body["n"] async for message in watch] == [1]


async def test_closing_wakes_whoever_waits():
    watch = Bus().watch("run")
    waiting = asyncio.create_task(anext(watch))
    await asyncio.sleep(0)
    await watch.aclose()
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_a_forgotten_watcher_is_no_longer_told():
    bus = Bus()
    watch = bus.watch("run")
    bus.tell([Message("run", {})])
    del watch
    assert not bus.watched
