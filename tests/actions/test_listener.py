"""Streams: open while wanted, a message on disk before the next, opened again after a growing pause."""

from __future__ import annotations

import asyncio

import msgspec

from areabox.actions.subscriptions import Wanted
from areabox.errors import AuthExpired, Transient

TOPIC = Wanted(place="m", action="mqtt.message", params={"topic": "home/door"})


class Broker:
    """A stream whose messages and failures are in the test's hand."""

    def __init__(self):
        self.opened = []
        self.open = 0
        self.messages = asyncio.Queue()
        self.taken = 0

    async def listen(self, action_id, params, *, owner, connection, cursor):
        self.opened.append(params)
        self.open += 1
        try:
            while True:
                message = await self.messages.get()
                if isinstance(message, Exception):
                    raise message
                if message is None:
                    return
                self.taken += 1
                yield {"id": message.get("id", ""), **message}
        finally:
            self.open -= 1


async def settle():
    for _ in range(200):
        await asyncio.sleep(0)


async def until(condition):
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.001)


async def test_messages_become_events_in_order(world):
    await world.area("a", TOPIC)
    broker = Broker()
    listener = world.listener(broker)
    await listener.tick()
    for n in range(20):
        broker.messages.put_nowait({"payload": str(n)})

    async def all_there():
        return await world.count("event") == 20

    await until(all_there)
    assert [payload["payload"] for payload in await world.payloads()] == [str(n) for n in range(20)]
    assert "id" not in (await world.payloads())[0]
    await listener.close()
    assert broker.open == 0


async def test_a_message_is_on_disk_before_the_next_is_taken(world):
    await world.area("a", TOPIC)
    broker = Broker()
    listener = world.listener(broker)
    gate = asyncio.Event()

    async def slow(unit):
        await gate.wait()

    await listener.tick()
    world.backend.before_commit = slow
    for n in range(3):
        broker.messages.put_nowait({"payload": str(n)})
    await settle()
    assert broker.taken == 1
    gate.set()

    async def all_there():
        return await world.count("event") == 3

    await until(all_there)
    await listener.close()


async def test_areas_that_want_the_same_share_one_stream(world):
    await world.area("a", TOPIC)
    await world.area("b", TOPIC)
    broker = Broker()
    listener = world.listener(broker)
    await listener.tick()
    await listener.tick()
    await settle()
    assert broker.open == 1
    await listener.close()


async def test_ids_that_come_again_fire_once(world):
    await world.area("a", Wanted(place="f", action="box.file", params={}))
    broker = Broker()
    listener = world.listener(broker)
    await listener.tick()
    for id in ("1", "2", "1", "3"):
        broker.messages.put_nowait({"id": id})

    async def all_there():
        return await world.count("event") == 3

    await until(all_there)
    await listener.close()


async def test_a_stream_that_breaks_is_opened_again_after_growing_pauses(world):
    (sub,) = await world.area("a", TOPIC)
    broker = Broker()
    listener = world.listener(broker)
    pauses = []
    for attempt in range(1, 12):
        await listener.tick()
        broker.messages.put_nowait(Transient("connection lost"))

        async def closed(attempt=attempt):
            return broker.open == 0 and len(broker.opened) == attempt and listener._streams[sub.id].task is None

        await until(closed)
        pause = await listener.tick()
        pauses.append(pause)
        world.clock.advance(int(pause * 1000) + 1)
    assert [round(pause, 3) for pause in pauses[:4]] == [1.5, 3.0, 6.0, 12.0]
    assert max(pauses) <= 300.0
    assert (await world.subscriptions.load(sub.id)).error == "connection lost"
    await listener.tick()
    await settle()
    broker.messages.put_nowait({"payload": "back"})

    async def there():
        return await world.count("event") == 1

    await until(there)
    assert (await world.subscriptions.load(sub.id)).error is None
    await listener.close()


async def test_a_stream_that_ends_by_itself_is_opened_again(world):
    (sub,) = await world.area("a", TOPIC)
    broker = Broker()
    listener = world.listener(broker)
    await listener.tick()
    broker.messages.put_nowait(None)

    async def told():
        return (await world.subscriptions.load(sub.id)).error == "the stream ended"

    await until(told)
    await listener.close()


async def test_a_dead_connection_is_left_alone_until_it_is_renewed(world):
    await world.area("a", msgspec.structs.replace(TOPIC, connection="c1"))
    broker = Broker()
    listener = world.listener(broker)
    await listener.tick()
    broker.messages.put_nowait(AuthExpired("wrong password"))

    async def dead():
        return bool(world.dead)

    await until(dead)
    await settle()
    for _ in range(5):
        world.clock.advance(3_600_000)
        await listener.tick()
        await settle()
    assert world.dead == [("c1", "wrong password")]
    assert len(broker.opened) == 1
    await listener.reconnected("c1")
    await listener.tick()

    async def open_again():
        return len(broker.opened) == 2

    await until(open_again)
    await listener.close()


async def test_a_stream_is_closed_when_nobody_wants_it(world):
    await world.area("a", TOPIC)
    broker = Broker()
    listener = world.listener(broker)
    await listener.tick()
    await settle()
    await world.switch("a", False)
    await listener.tick()
    assert broker.open == 0
    await listener.close()


async def test_a_new_area_does_not_disturb_an_open_stream(world):
    await world.area("a", TOPIC)
    broker = Broker()
    listener = world.listener(broker)
    await listener.tick()
    await settle()
    await world.area("b", TOPIC)
    await listener.tick()
    await settle()
    assert len(broker.opened) == 1
    await listener.close()


class Counted(Broker):
    """A source that remembers in its cursor how far it got, as one that can be asked for what came meanwhile."""

    async def listen(self, action_id, params, *, owner, connection, cursor):
        self.opened.append(dict(cursor))
        while True:
            message = await self.messages.get()
            if message is None:
                cursor["until"] = "the end"
                return
            cursor["last"] = message["payload"]
            yield {"id": "", **message}


async def test_how_far_a_source_got_is_kept_with_its_messages(world):
    (sub,) = await world.area("a", TOPIC)
    source = Counted()
    listener = world.listener(source)
    await listener.tick()
    source.messages.put_nowait({"payload": "1"})
    source.messages.put_nowait({"payload": "2"})

    async def kept():
        return (await world.subscriptions.load(sub.id)).cursor == {"last": "2"}

    await until(kept)
    assert await world.count("event") == 2
    source.messages.put_nowait(None)

    async def ended():
        return (await world.subscriptions.load(sub.id)).cursor == {"last": "2", "until": "the end"}

    await until(ended)
    await settle()
    world.clock.advance(3_600_000)
    await listener.tick()
    await settle()
    assert source.opened == [{}, {"last": "2", "until": "the end"}]
    await listener.close()
    await world.switch("a", False)
    await world.switch("a", True)
    assert (await world.subscriptions.load(sub.id)).cursor == {}


async def test_a_source_can_say_how_far_it_got_without_an_event(world):
    (sub,) = await world.area("a", Wanted(place="f", action="box.file", params={}))

    class Source:
        async def listen(self, action_id, params, *, owner, connection, cursor):
            cursor["at"] = 7
            yield {}
            await asyncio.Event().wait()

    listener = world.listener(Source())
    await listener.tick()

    async def kept():
        return (await world.subscriptions.load(sub.id)).cursor == {"at": 7}

    await until(kept)
    assert await world.count("event") == 0
    await listener.close()
