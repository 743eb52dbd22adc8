"""`redis`, against a Redis server: streams lose nothing and double nothing, channels and keys are as they are."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from types import SimpleNamespace

import pytest

from areabox.actions.subscriptions import Wanted
from areabox.connectors import _entries, _redis
from areabox.errors import AuthExpired, InputError, Permanent, Transient
from tests.connectors.brokers import until
from tests.connectors.calls import label
from tests.connectors.databases import redis_server

client = pytest.importorskip("redis.asyncio")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    made = redis_server(tmp_path_factory.mktemp("redis"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
async def home(house, shared, monkeypatch):
    async with at(house, shared, monkeypatch) as made:
        await made.other.flushall()
        yield made


@contextlib.asynccontextmanager
async def at(house, server, monkeypatch, **auth):
    """A house with a connection to a server, and a client that is not ours."""
    monkeypatch.setattr(_entries, "BLOCK_MS", 50)
    connection = await house.connections.create("u1", "redis", {"host": "127.0.0.1", "port": server.port, **auth})
    other = client.Redis(port=server.port, decode_responses=True)

    async def area(id, action="redis.stream_entry", **params):
        params = params or {"stream": "orders"}
        return (await house.world.area(id, Wanted(place="m", action=action, params=params, connection=connection.id)))[0]

    async def events(count):
        async def there():
            return len(await house.world.payloads()) >= count

        with contextlib.suppress(TimeoutError):
            await until(there, 30)
        return await house.world.payloads()

    async def grouped(stream="orders"):
        async def there():
            return await other.exists(stream) and await other.xinfo_groups(stream)

        return await until(there)

    async def react(name, /, step="k", **params):
        return await done(house, connection, name, params, step)

    async def value_of(cursor, key):
        found = house.services.poll("redis.key_changed", {"key": key}, owner="u1", connection=connection.id, cursor=cursor)
        return [(event["value"], event["old"]) async for event in found]

    async with other:
        yield SimpleNamespace(
            house=house, world=house.world, connection=connection, server=server, other=other, area=area, events=events,
            grouped=grouped, react=react, value_of=value_of,
        )  # fmt: skip


# -- streams -----------------------------------------------------------------------------------------------------------


async def done(house, connection, name, params, step="k"):
    return await house.services.react(
        name, params, owner="u1", connection=connection.id, key=step, attempt=1, timeout_s=30
    )


async def test_an_entry_is_an_event_and_what_was_there_before_is_none(home):
    await home.other.xadd("orders", {"item": "old"})
    await home.area("a")
    await home.house.awake()
    await home.grouped()
    id = await home.other.xadd("orders", {"item": "lamp", "count": 2})
    odd = await home.other.xadd("orders", {b"\xff": b"\xff"})
    await home.other.xadd("other", {"item": "none of ours"})
    assert await home.events(2) == [
        {"id": id, "stream": "orders", "fields": {"item": "lamp", "count": "2"}},
        {"id": odd, "stream": "orders", "fields": {"\ufffd": "\ufffd"}},
    ]


async def test_an_entry_is_acknowledged_only_when_it_is_on_disk(home):
    await home.area("a")
    await home.house.awake()
    await home.grouped()
    reached = asyncio.Event()

    async def never(unit):
        reached.set()
        await asyncio.Event().wait()

    home.world.backend.before_commit = never
    await home.other.xadd("orders", {"item": "lamp"})
    await asyncio.wait_for(reached.wait(), 30)
    (group,) = await home.other.xinfo_groups("orders")
    assert group["pending"] == 1
    await home.house.asleep()
    assert await home.world.payloads() == []
    await home.house.awake()
    assert [event["fields"] for event in await home.events(1)] == [{"item": "lamp"}]

    async def acknowledged():
        return (await home.other.xinfo_groups("orders"))[0]["pending"] == 0

    await until(acknowledged)


async def test_what_is_added_while_areabox_is_away_fires_when_it_is_back(home):
    await home.area("a")
    await home.house.awake()
    await home.grouped()
    await home.house.asleep()
    for n in range(250):
        await home.other.xadd("orders", {"n": n})
    await home.house.awake()
    assert [event["fields"]["n"] for event in await home.events(250)] == [str(n) for n in range(250)]


async def test_what_was_stored_and_not_acknowledged_does_not_fire_twice(home):
    await home.area("a")
    await home.house.awake()
    (group,) = await home.grouped()
    await home.house.asleep()
    id = await home.other.xadd("orders", {"item": "lamp"})
    await home.house.awake()
    await home.events(1)
    await home.house.asleep()
    name, reader = group["name"], f"areabox-{home.connection.id}"
    await home.other.xgroup_setid("orders", name, "0")  # it is handed out again
    await home.other.xreadgroup(name, reader, {"orders": ">"})
    await home.house.awake()

    async def acknowledged():
        return (await home.other.xinfo_groups("orders"))[0]["pending"] == 0

    await until(acknowledged)
    assert [event["id"] for event in await home.world.payloads()] == [id]


async def test_a_group_is_shared_and_what_a_reader_left_behind_is_taken_over(home, monkeypatch):
    monkeypatch.setattr(_entries, "ABANDONED_MS", 1)
    await home.other.xgroup_create("orders", "ours", mkstream=True)
    await home.other.xadd("orders", {"item": "lamp"})
    assert await home.other.xreadgroup("ours", "gone", {"orders": ">"})
    await home.area("a", stream="orders", group="ours")
    await home.house.awake()
    assert [event["fields"] for event in await home.events(1)] == [{"item": "lamp"}]


async def test_a_server_that_was_emptied_is_read_from_its_beginning(home):
    await home.area("a")
    await home.house.awake()
    await home.grouped()
    await home.other.xadd("orders", {"n": 1})
    await home.events(1)
    await home.other.flushall()
    await home.other.xadd("orders", {"n": 2})
    assert [event["fields"]["n"] for event in await home.events(2)] == ["1", "2"]


async def test_a_key_that_is_no_stream_is_an_error_that_is_told(home):
    await home.other.set("orders", "text")
    await home.area("a")
    await home.house.awake()
    await until(home.house.errors)
    assert "WRONGTYPE" in (await home.house.errors())[0] or "wrong kind" in (await home.house.errors())[0]


# -- channels and keys -------------------------------------------------------------------------------------------------


async def test_a_message_of_a_channel_or_of_a_pattern_is_an_event(home):
    await home.area("a", "redis.message", channel="home:door")
    await home.area("b", "redis.message", channel="garden:*")
    await home.house.awake()

    async def subscribed():
        return await home.other.pubsub_channels() and await home.other.pubsub_numpat()

    await until(subscribed)
    assert await home.react("redis.publish", channel="home:door", message={"open": True}) == {"receivers": 1}
    await home.other.publish("garden:gate", b"\xff")
    await home.other.publish("attic", "nobody hears it")
    found = sorted(await home.events(2), key=lambda event: event["channel"])
    assert found == [
        {"channel": "garden:gate", "payload": "\ufffd", "json": None, "base64": "/w=="},
        {"channel": "home:door", "payload": '{"open":true}', "json": {"open": True}, "base64": ""},
    ]


async def test_a_key_fires_when_it_holds_something_else(home):
    await home.house.awake()
    cursor = {}
    assert await home.value_of(cursor, "door") == []
    await home.other.set("door", "open")
    assert await home.value_of(cursor, "door") == [("open", None)]
    assert await home.value_of(cursor, "door") == []
    await home.other.delete("door")
    await home.other.hset("door", mapping={"is": "open"})
    assert await home.value_of(cursor, "door") == [({"is": "open"}, "open")]


async def test_values_of_every_kind_are_read(home):
    await home.house.awake()
    await home.other.set("text", '{"a": 1}')
    await home.other.rpush("list", "b", "a")
    await home.other.sadd("set", "b", "a")
    await home.other.hset("hash", mapping={"a": "1"})
    await home.other.zadd("zset", {"b": 2, "a": 1})
    await home.other.xadd("stream", {"a": 1})
    found = {key: await home.react("redis.get", key=key) for key in ("text", "list", "set", "hash", "zset", "none")}
    assert found == {
        "text": {"value": '{"a": 1}', "json": {"a": 1}}, "list": {"value": ["b", "a"], "json": None},
        "set": {"value": ["a", "b"], "json": None}, "hash": {"value": {"a": "1"}, "json": None},
        "zset": {"value": {"a": 1.0, "b": 2.0}, "json": None}, "none": {"value": None, "json": None},
    }  # fmt: skip
    with pytest.raises(Permanent, match="stream is a stream, which cannot be read"):
        await home.react("redis.get", key="stream")


async def test_what_is_too_large_is_not_read(home, monkeypatch):
    monkeypatch.setattr(_redis, "MEMBERS_MAX", 2)
    await home.house.awake()
    await home.other.rpush("list", "a", "b", "c")
    with pytest.raises(Permanent, match="too large"):
        await home.react("redis.get", key="list")


async def test_keys_are_set_for_a_time_and_under_a_condition(home):
    await home.house.awake()
    assert await home.react("redis.set", key="a", value="x", ttl="1h") == {"stored": True}
    assert 3_500 < await home.other.ttl("a") <= 3_600
    assert await home.react("redis.set", step="k1", key="a", value="y", only="new") == {"stored": False}
    assert await home.react("redis.set", step="k2", key="a", value="z", only="existing") == {"stored": True}
    assert await home.react("redis.set", step="k2", key="b", value="z", only="new") == {"stored": True}, "another key, done before"
    assert await home.other.get("a") == "z"
    assert await home.react("redis.delete", key="a") == {"deleted": True}
    assert await home.react("redis.delete", key="a") == {"deleted": False}


async def test_a_step_that_is_tried_again_counts_adds_and_publishes_once(home):
    await home.house.awake()
    for _ in range(2):
        assert await home.react("redis.increment", step="s1", key="n", by=5, ttl="1h") == {"value": 5}
    assert await home.react("redis.increment", step="s2", key="n", by=-1) == {"value": 4}
    added = [await home.react("redis.add", step="s3", stream="log", fields={"a": 1, "b": [1]}) for _ in range(2)]
    assert added[0] == added[1]
    assert await home.other.xrange("log") == [(added[0]["id"], {"a": "1", "b": "[1]"})]
    assert 0 < await home.other.ttl("n") <= 3_600


# -- the connection ----------------------------------------------------------------------------------------------------


async def test_the_account_is_named(home):
    await home.house.awake()
    assert await label(home.house.services, home.connection.id) == f"127.0.0.1:{home.server.port}/0"


async def test_a_password_that_is_wrong_waits_for_a_person(house, tmp_path, monkeypatch):
    server = redis_server(tmp_path, "--requirepass", "right")
    server.start()
    try:
        await house.awake()
        async with at(house, server, monkeypatch, password="wrong") as home:
            with pytest.raises(AuthExpired, match="refused the user name or password"):
                await home.react("redis.get", key="a")
        for auth in ({"password": "right"}, {"password": "right", "username": "default", "database": 3}):
            connection = await house.connections.create("u1", "redis", {"host": "127.0.0.1", "port": server.port, **auth})
            assert await done(house, connection, "redis.get", {"key": "a"}) == {"value": None, "json": None}
        nobody = await house.connections.create("u1", "redis", {"host": "127.0.0.1", "port": server.port})
        with pytest.raises(AuthExpired):
            await done(house, nobody, "redis.get", {"key": "a"})
    finally:
        server.stop()


async def test_a_server_that_is_down_is_tried_again_and_serves_when_it_is_back(house, tmp_path, monkeypatch):
    server = redis_server(tmp_path)
    server.start()
    try:
        await house.awake()
        async with at(house, server, monkeypatch) as home:
            await home.react("redis.set", key="a", value="x")
            server.stop(signal.SIGKILL)
            with pytest.raises(Transient):
                await home.react("redis.get", key="a")
            server.start()
            assert (await home.react("redis.get", key="a"))["value"] == "x"
    finally:
        server.stop()


async def test_what_cannot_be_is_refused_before_it_is_sent(home):
    await home.house.awake()
    with pytest.raises(InputError):
        await home.react("redis.set", key="a", value="x", ttl="0s")
    with pytest.raises(InputError):
        await home.react("redis.add", stream="log", fields={})
    with pytest.raises(Permanent, match="not an integer"):
        await home.react("redis.set", key="a", value="x")
        await home.react("redis.increment", key="a")
