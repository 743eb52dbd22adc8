"""The module as a whole: what an area wants is heard of by itself, and everything ends when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from areabox.actions.inbox import Item
from areabox.actions.service import Actions
from areabox.actions.subscriptions import Wanted
from areabox.errors import NotFoundError


class Everything:
    """A service that can do all."""

    def __init__(self):
        self.polls = []
        self.streams = 0
        self.closed = 0

    async def poll(self, action_id, params, *, owner, connection, cursor):
        self.polls.append(params)
        yield {"id": "1"}

    async def listen(self, action_id, params, *, owner, connection, cursor):
        self.streams += 1
        try:
            yield {"id": "", "payload": "hello"}
            await asyncio.Event().wait()
        finally:
            self.closed += 1

    def delivery(self, action_id, params, delivery, secret):
        return [{"id": "", "json": delivery.json}]

    def handshake(self, action_id, delivery):
        return None


@pytest.fixture
async def running(world):
    services = Everything()
    actions = Actions(
        world.backend, world.clock, subscriptions=world.subscriptions, inbox=world.inbox, services=services,
        connections=world._connections(),
    )  # fmt: skip
    await actions.open()
    task = asyncio.create_task(actions.run())
    await asyncio.sleep(0)
    yield SimpleNamespace(actions=actions, services=services, task=task)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(condition):
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.005)


async def test_a_new_area_is_polled_heard_and_received_without_being_told(world, running):
    wanted = [
        Wanted(place="p", action="feed.entry", params={"feed": "https://example.org"}),
        Wanted(place="s", action="mqtt.message", params={}),
        Wanted(place="h", action="hook.called"),
    ]
    subs = await world.area("a", *wanted)

    async def all_of_it():
        return running.services.polls and await world.count("event") == 1

    await until(all_of_it)
    assert (await running.actions.hooks.receive(subs[2].hook, "POST", "/", "", {}, b"1")).event
    await world.switch("a", False)

    async def over():
        return running.services.closed == 1

    await until(over)
    async with asyncio.timeout(30):
        with pytest.raises(NotFoundError):
            while True:
                await running.actions.hooks.receive(subs[2].hook, "POST", "/", "", {}, b"1")
                await asyncio.sleep(0)


async def test_stopping_closes_what_is_open_and_writes_what_is_left(world, running):
    _, hook = await world.area("a", Wanted(place="s", action="mqtt.message"), Wanted(place="h", action="hook.called"))

    async def open_():
        return running.services.streams == 1

    await until(open_)
    await running.actions.hooks.receive(hook.hook, "POST", "/", "", {}, b"1")
    running.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running.task
    assert running.services.closed == 1
    assert (await world.subscriptions.load(hook.id)).last == world.clock.now


async def test_an_event_of_the_house_reaches_its_subscription(world):
    (sub,) = await world.area("a", Wanted(place="e", action="area.ended", params={"area": "b"}))
    (found,) = await world.subscriptions.internal("area.ended")
    assert found.id == sub.id
    assert not found.baseline
    await world.inbox.put(found, [Item("run1", {"area": "b"})], dedupe="key")
    assert await world.payloads() == [{"area": "b"}]
