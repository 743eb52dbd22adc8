"""What is forgotten, and what must not be."""

from __future__ import annotations

import pytest

from areabox.actions.inbox import Item
from areabox.actions.retention import prune
from areabox.actions.subscriptions import Wanted
from areabox.database import Unit

DAY = 86_400_000
FEED = Wanted(place="feed", action="feed.entry", params={"feed": "https://example.org/f"})


def items(*keys):
    return [Item.of({"id": key}) for key in keys]


@pytest.fixture(autouse=True)
def _without_runs(world):
    world.runs.reason = "nobody listens"


async def fed(world):
    (sub,) = await world.area("a", FEED)
    world.backend.db.execute("update subscription set baseline = 0")
    return await world.subscriptions.load(sub.id)


async def test_old_events_go_with_their_blobs_and_new_ones_stay(world):
    await world.inbox.send("u1", "feed.entry", {"text": "x" * 50_000})
    world.clock.advance(DAY)
    new = await world.inbox.send("u1", "feed.entry", {"text": "y" * 50_000})
    assert await prune(world.backend, world.clock.now, 100) == 1
    assert await world.rows("select id from event") == [(new,)]
    assert await world.rows("select owner from blob") == [(new,)]


async def test_no_more_go_at_once_than_asked(world):
    for _ in range(5):
        await world.inbox.send("u1", "feed.entry", {})
    assert await prune(world.backend, world.clock.now + 1, 2) == 2
    assert await world.count("event") == 3


async def test_a_key_that_is_no_longer_listed_goes_after_a_month(world):
    sub = await fed(world)
    await world.inbox.put(sub, items("old", "kept"), dedupe="key")
    for _ in range(6):
        world.clock.advance(8 * DAY)
        await world.inbox.put(sub, items("kept"), dedupe="key")
    await prune(world.backend, 0, 100)
    assert await world.rows("select key from seen") == [("kept",)]


async def test_a_feed_that_says_nothing_for_a_year_forgets_nothing(world):
    sub = await fed(world)
    await world.inbox.put(sub, items("1", "2"), dedupe="key")
    world.clock.advance(400 * DAY)
    await prune(world.backend, world.clock.now, 100)
    assert await world.count("event") == 0
    assert await world.inbox.put(sub, items("1", "2", "3"), dedupe="key") != []
    assert [p["id"] for p in await world.payloads()] == ["3"]


async def test_an_item_that_is_forgotten_as_event_only_does_not_fire_again(world):
    sub = await fed(world)
    await world.inbox.put(sub, items("1"), dedupe="key")
    await prune(world.backend, world.clock.now + 1, 100)
    assert await world.count("event") == 0
    assert await world.inbox.put(sub, items("1"), dedupe="key") == []


async def test_deliveries_are_remembered_for_a_week(world):
    (sub,) = await world.area("a", Wanted(place="hook", action="hook.called"))
    for name in ("delivery:1", "delivery:2"):
        await world.inbox.receive(world.inbox.event(sub, {}), name)
        world.clock.advance(8 * DAY)
    await world.inbox.receive(world.inbox.event(sub, {}), "delivery:3")
    await prune(world.backend, 0, 100)
    assert await world.rows("select key from seen") == [("delivery:3",)]


async def test_subscriptions_that_nobody_wants_go_with_their_keys(world):
    sub = await fed(world)
    await world.inbox.put(sub, items("1"), dedupe="key")
    await world.area("b", Wanted(place="hook", action="hook.called"))
    await world.switch("b", False)  # off, but an area has it
    unit = Unit().do("delete from area where id = 'a'")
    await world.subscriptions.release(unit, "a")
    await world.backend.commit(unit)
    await prune(world.backend, world.clock.now, 100)
    assert await world.count("subscription") == 2  # not yet: it is as young as this
    world.clock.advance(1)
    await prune(world.backend, world.clock.now, 100)
    assert await world.rows("select action from subscription") == [("hook.called",)]
    assert await world.count("seen") == 0


async def test_an_event_stays_as_long_as_its_runs(world):
    world.runs.reason = None
    await world.inbox.send("u1", "feed.entry", {})
    assert await prune(world.backend, world.clock.now + 1, 100) == 0
    world.backend.db.execute("delete from run")
    assert await prune(world.backend, world.clock.now + 1, 100) == 1
