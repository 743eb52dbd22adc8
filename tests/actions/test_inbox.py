"""An item becomes an event once, whole, whatever interleaves."""

from __future__ import annotations

import random
from typing import Any

import pytest

from areabox.actions.inbox import Item, Progress, fingerprint, short
from areabox.actions.subscriptions import Wanted
from areabox.errors import InputError

FEED = Wanted(place="feed", action="feed.entry", params={"feed": "https://example.org/f"})


def items(*keys: Any) -> list[Item]:
    return [Item.of({"id": str(key), "title": f"t{key}"}) for key in keys]


async def ready(world: Any) -> Any:
    """A subscription that has its baseline."""
    (sub,) = await world.area("a", FEED)
    await world.inbox.put(sub, items(1, 2), dedupe="key", progress=Progress(cursor={}, baseline_done=True))
    return await world.subscriptions.load(sub.id)


async def test_the_baseline_remembers_and_fires_nothing(world):
    await ready(world)
    assert await world.count("event") == 0
    assert await world.count("seen") == 2


async def test_new_items_become_events_with_runs_in_order(world):
    sub = await ready(world)
    ids = await world.inbox.put(sub, items(1, 2, 3, 4), dedupe="key", progress=Progress(cursor={"at": 4}))
    assert [payload["title"] for payload in await world.payloads()] == ["t3", "t4"]
    assert ids == sorted(ids)
    assert await world.count("run") == 2
    assert (await world.subscriptions.load(sub.id)).cursor == {"at": 4}


async def test_the_same_list_again_writes_nothing(world):
    sub = await ready(world)
    await world.inbox.put(sub, items(1, 2, 3), dedupe="key", progress=Progress(cursor={}))
    sub, before = await world.subscriptions.load(sub.id), world.backend.commits
    assert await world.inbox.put(sub, items(1, 2, 3), dedupe="key", progress=Progress(cursor={})) == []
    assert world.backend.commits == before


async def test_an_emptied_and_refilled_list_fires_nothing(world):
    sub = await ready(world)
    for listed in (items(1, 2, 3), [], items(1, 2, 3), items(3, 2, 1)):
        await world.inbox.put(sub, listed, dedupe="key", progress=Progress(cursor={}))
        sub = await world.subscriptions.load(sub.id)
    assert await world.count("event") == 1


async def test_duplicates_in_any_order_and_batch_fire_once(world):
    sub = await ready(world)
    chance = random.Random(7)
    wanted = list(range(3, 1003))
    listed = wanted + chance.sample(wanted, 300)
    chance.shuffle(listed)
    for start in range(0, len(listed), 170):
        await world.inbox.put(sub, items(*listed[start : start + 170]), dedupe="key")
    assert await world.rows("select count(*), count(distinct dedupe) from event") == [(1000, 1000)]
    assert await world.count("run") == 1000


async def test_two_readers_of_one_source_fire_each_item_once(world):
    sub = await ready(world)

    async def other(unit: Any) -> None:
        await world.inbox.put(sub, items(3, 4), dedupe="key", progress=Progress(cursor={"other": 1}))

    world.backend.before_commit = other
    ids = await world.inbox.put(sub, items(3, 4, 5), dedupe="key", progress=Progress(cursor={"mine": 1}))
    assert len(ids) == 1
    assert [payload["title"] for payload in await world.payloads()] == ["t3", "t4", "t5"]
    assert (await world.subscriptions.load(sub.id)).cursor == {"other": 1}  # the slower one reads again


async def test_a_death_before_the_last_batch_keeps_the_cursor_and_loses_nothing(world):
    sub = await ready(world)

    class DeadError(Exception):
        pass

    async def die(unit: Any) -> None:
        raise DeadError

    commit, count = world.backend.commit, 0

    async def dies_at_third(unit: Any) -> bool:
        nonlocal count
        count += 1
        if count == 3:
            raise DeadError
        return await commit(unit)

    world.backend.commit = dies_at_third
    listed = items(*range(3, 303))
    with pytest.raises(DeadError):
        await world.inbox.put(sub, listed, dedupe="key", progress=Progress(cursor={"at": 303}))
    assert await world.count("event") == 200
    assert (await world.subscriptions.load(sub.id)).cursor == {}
    world.backend.commit = commit
    await world.inbox.put(sub, listed, dedupe="key", progress=Progress(cursor={"at": 303}))
    assert await world.rows("select count(*), count(distinct dedupe) from event") == [(300, 300)]
    assert (await world.subscriptions.load(sub.id)).cursor == {"at": 303}


async def test_what_was_switched_off_and_on_while_it_was_read_is_not_fired(world):
    sub = await ready(world)

    async def toggle(unit: Any) -> None:
        await world.switch("a", False)
        await world.switch("a", True)

    world.backend.before_commit = toggle
    assert await world.inbox.put(sub, items(3), dedupe="key", progress=Progress(cursor={"x": 1})) == []
    assert await world.count("event") == 0


async def test_a_key_whose_note_was_lost_does_not_fire_while_its_event_is_there(world):
    sub = await ready(world)
    await world.inbox.put(sub, items(3), dedupe="key")
    world.backend.db.execute("delete from seen where key = '3'")
    assert await world.inbox.put(sub, items(3), dedupe="key") == []
    before = world.backend.commits
    assert await world.inbox.put(sub, items(3), dedupe="key") == []
    assert world.backend.commits == before  # and it is remembered again


async def test_a_known_item_fires_when_it_changes_also_back(world):
    (sub,) = await world.area("a", Wanted(place="page", action="page.changed", params={"url": "https://example.org"}))
    price = [Item.of({"id": "p", "price": n}) for n in (1, 1, 2, 2, 1)]
    fired = []
    for number, item in enumerate(price):
        progress = Progress(cursor={}, baseline_done=number == 0)
        fired.append(len(await world.inbox.put(sub, [item], dedupe="change", progress=progress)))
        sub = await world.subscriptions.load(sub.id)
    assert fired == [0, 0, 1, 0, 1]
    assert await world.inbox.put(sub, [Item.of({"id": "new", "price": 9})], dedupe="change") == []


async def test_the_note_that_a_key_is_listed_is_renewed_after_a_week(world):
    sub = await ready(world)
    world.clock.advance(8 * 86_400_000)
    await world.inbox.put(sub, items(1), dedupe="key")
    assert await world.rows("select key from seen where at = ?", world.clock.now) == [("1",)]


async def test_an_event_that_no_area_took_says_why(world):
    sub = await ready(world)
    world.runs.reason = "no enabled area listens"
    await world.inbox.put(sub, items(3), dedupe="key")
    assert await world.rows("select reason from event") == [("no enabled area listens",)]


async def test_an_event_sent_by_hand_has_no_subscription(world):
    id = await world.inbox.send("u1", "feed.entry", {"title": "by hand"})
    assert await world.rows("select id, subscription, owner from event") == [(id, None, "u1")]


async def test_a_delivery_that_comes_again_has_the_first_ones_event(world):
    (sub,) = await world.area("a", Wanted(place="hook", action="hook.called"))
    first = await world.inbox.receive(world.inbox.event(sub, {"n": 1}), "delivery:1")
    again = await world.inbox.receive(world.inbox.event(sub, {"n": 1}), "delivery:1")
    assert first == again
    assert await world.count("event") == 1


async def test_a_large_payload_lies_in_a_blob(world):
    id = await world.inbox.send("u1", "feed.entry", {"text": "x" * 100_000})
    assert await world.rows("select owner from blob") == [(id,)]


def test_a_long_key_is_shortened_and_stays_unlike_others():
    assert short("a" * 300) != short("a" * 299)
    assert len(short("a" * 300)) <= 200
    with pytest.raises(InputError):
        short("")


def test_a_fingerprint_ignores_the_id_and_the_order_of_fields():
    assert fingerprint({"id": 1, "a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1, "id": 2}) != fingerprint({"a": 1})
