"""A delivery is on disk before its sender hears, once, verified on its raw bytes."""

from __future__ import annotations

import json

import pytest

from areabox.actions.hooks import parse
from areabox.actions.subscriptions import Wanted
from areabox.errors import InputError, NotAllowedError, NotFoundError

HOOK = Wanted(place="hook", action="hook.called")


class Plain:
    """A connector whose event is the delivery."""

    def __init__(self):
        self.calls = []

    def delivery(self, action_id, params, delivery, secret):
        self.calls.append((action_id, params, secret))
        if secret and delivery.headers.get("x-token") != secret:
            raise NotAllowedError("the signature is wrong")
        if action_id == "hook.items":
            return delivery.json
        return [{"id": "", "method": delivery.method, "path": delivery.path, "query": delivery.query,
                 "headers": delivery.headers, "body": delivery.body.decode(), "json": delivery.json}]  # fmt: skip

    def handshake(self, action_id, delivery):
        return delivery.query.get("challenge")


@pytest.fixture
async def hooks(world):
    hooks = world.hooks(Plain())
    await hooks.open()
    return hooks


async def test_a_delivery_becomes_an_event_with_all_that_came(world, hooks):
    (sub,) = await world.area("a", HOOK)
    receipt = await hooks.receive(
        sub.hook, "POST", "x", b"a=1&b=2&b=3&c=%C3%A9", [(b"Content-Type", b"application/json")], b'{"n": 1}'
    )
    assert (receipt.status, receipt.event) == (202, (await world.rows("select id from event"))[0][0])
    assert await world.payloads() == [
        {
            "method": "POST",
            "path": "/x",
            "query": {"a": "1", "b": ["2", "3"], "c": "é"},
            "headers": {"content-type": "application/json"},
            "body": '{"n": 1}',
            "json": {"n": 1},
        }
    ]
    assert await world.count("run") == 1


async def test_a_handshake_is_answered_and_is_no_event(world, hooks):
    (sub,) = await world.area("a", HOOK)
    receipt = await hooks.receive(sub.hook, "GET", "", b"challenge=abc", {}, b"")
    assert (receipt.status, receipt.body, receipt.event) == (200, b"abc", None)
    assert await world.count("event") == 0


async def test_two_equal_deliveries_without_a_name_are_two_events(world, hooks):
    (sub,) = await world.area("a", HOOK)
    for _ in range(2):
        await hooks.receive(sub.hook, "POST", "/", "", {}, b"{}")
    assert await world.count("event") == 2


@pytest.mark.parametrize("header", ["X-GitHub-Delivery", "webhook-id", "Idempotency-Key"])
async def test_a_delivery_that_comes_again_is_answered_alike_and_fires_once(world, hooks, header):
    (sub,) = await world.area("a", HOOK)
    one = await hooks.receive(sub.hook, "POST", "/", "", {header: "d1"}, b"{}")
    two = await hooks.receive(sub.hook, "POST", "/", "", {header: "d1"}, b"{}")
    other = await hooks.receive(sub.hook, "POST", "/", "", {header: "d2"}, b"{}")
    assert one == two != other
    assert await world.count("event") == 2


async def test_the_same_name_at_another_address_is_another_delivery(world, hooks):
    one, two = await world.area("a", HOOK, Wanted(place="two", action="hook.called"))
    await hooks.changed()
    for sub in (one, two):
        await hooks.receive(sub.hook, "POST", "/", "", {"webhook-id": "d1"}, b"{}")
    assert await world.count("event") == 2


async def test_a_known_address_is_served_without_reading(world, hooks):
    (sub,) = await world.area("a", HOOK)
    await hooks.open()
    before = world.backend.reads
    await hooks.receive(sub.hook, "POST", "/", "", {}, b"{}")
    assert world.backend.reads == before


async def test_an_address_made_a_moment_ago_works_at_once(world, hooks):
    (sub,) = await world.area("a", HOOK)
    assert (await hooks.receive(sub.hook, "POST", "/", "", {}, b"")).event


@pytest.mark.parametrize("key", ["", "short", "0" * 26, "../../etc/passwd", "x" * 5000])
async def test_nobody_listens_at_a_wrong_address(world, hooks, key):
    with pytest.raises(NotFoundError):
        await hooks.receive(key, "POST", "/", "", {}, b"{}")
    assert await world.count("event") == 0


async def test_an_address_is_gone_when_its_area_is_switched_off_and_back_when_on(world, hooks):
    (sub,) = await world.area("a", HOOK)
    await hooks.receive(sub.hook, "POST", "/", "", {}, b"{}")
    await world.switch("a", False)
    await hooks.changed(sub.id)
    with pytest.raises(NotFoundError):
        await hooks.receive(sub.hook, "POST", "/", "", {}, b"{}")
    await world.switch("a", True)
    await hooks.changed(sub.id)
    assert (await hooks.receive(sub.hook, "POST", "/", "", {}, b"{}")).event


async def test_a_wrong_signature_stores_nothing(world, hooks):
    (sub,) = await world.area("a", Wanted(place="hook", action="hook.called", params={"secret": "s3cret"}))
    with pytest.raises(NotAllowedError):
        await hooks.receive(sub.hook, "POST", "/", "", {"X-Token": "guess"}, b"{}")
    assert await world.count("event") == 0
    assert (await hooks.receive(sub.hook, "POST", "/", "", {"X-Token": "s3cret"}, b"{}")).event


async def test_events_with_ids_of_their_own_fire_once_however_they_are_delivered(world, hooks):
    (sub,) = await world.area("a", Wanted(place="hook", action="hook.items"))
    body = json.dumps([{"id": "1"}, {"id": "2"}]).encode()
    assert (await hooks.receive(sub.hook, "POST", "/", "", {"webhook-id": "d1"}, body)).event
    assert (await hooks.receive(sub.hook, "POST", "/", "", {"webhook-id": "d1"}, body)).event is None
    assert (await hooks.receive(sub.hook, "POST", "/", "", {"webhook-id": "d2"}, body)).event is None
    assert (await hooks.receive(sub.hook, "POST", "/", "", {}, b'[{"id": "2"}, {"id": "3"}]')).event
    assert [payload["id"] for payload in await world.payloads()] == ["1", "2", "3"]


async def test_when_it_was_last_called_is_written_down_later(world, hooks):
    (sub,) = await world.area("a", HOOK)
    await hooks.receive(sub.hook, "POST", "/", "", {}, b"{}")
    assert (await world.subscriptions.load(sub.id)).last is None
    await hooks.tick()
    assert (await world.subscriptions.load(sub.id)).last == world.clock.now


@pytest.mark.parametrize("body", [b"", b"hello", b'{"a":', b"\xff\xfe", b'"\\ud800"', b"NaN", b"[1,]"])
def test_what_is_not_json_is_null(body):
    assert parse(body) is None


@pytest.mark.parametrize(("body", "value"), [(b"1", 1), (b"null", None), (b'{"a":[1]}', {"a": [1]})])
def test_json_is_parsed(body, value):
    assert parse(body) == value


def test_json_that_is_nested_too_deep_is_refused():
    assert parse(b"[" * 32 + b"]" * 32) is not None
    for levels in (33, 900, 100_000):
        with pytest.raises(InputError):
            parse(b"[" * levels + b"]" * levels)
    assert parse(b"[" + b"[]," * 5000 + b"[]]")
