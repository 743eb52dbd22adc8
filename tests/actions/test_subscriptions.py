"""One source for all areas that ask for the same; what is wanted again goes on, or begins with a baseline."""

from __future__ import annotations

import msgspec
import pytest

from areabox.actions.subscriptions import Wanted
from areabox.database import Unit
from areabox.errors import InputError

FEED = Wanted(place="feed", action="feed.entry", params={"feed": "https://example.org/f"})
HOOK = Wanted(place="hook", action="hook.called")
CRON = Wanted(place="cron", action="schedule.cron", params={"cron": "0 7 * * *"})


def but(want: Wanted, **changes):
    return msgspec.structs.replace(want, **changes)


async def test_areas_that_ask_for_the_same_share_one_subscription(world):
    (one,) = await world.area("a", FEED)
    (two,) = await world.area("b", but(FEED, place="other"))
    assert one.id == two.id
    assert two.place == "other"
    assert await world.count("subscription") == 1


async def test_owners_do_not_share(world):
    (one,) = await world.area("a", FEED)
    (two,) = await world.area("b", FEED, owner="u2")
    assert one.id != two.id


async def test_the_order_of_parameters_makes_no_difference(world):
    (one,) = await world.area("a", but(FEED, params={"a": 1, "b": 2}))
    (two,) = await world.area("b", but(FEED, params={"b": 2, "a": 1}))
    assert one.id == two.id


async def test_two_triggers_of_one_area_may_want_the_same(world):
    one, two = await world.area("a", FEED, but(FEED, place="again"))
    assert one.id == two.id
    assert (one.place, two.place) == ("feed", "again")
    again = await world.area("a", FEED, but(FEED, place="again"))
    assert [sub.id for sub in again] == [one.id, one.id]


async def test_schedules_and_webhooks_are_one_for_each_trigger(world):
    (one,) = await world.area("a", HOOK)
    two, three = await world.area("b", HOOK, but(HOOK, place="second"))
    assert len({one.hook, two.hook, three.hook}) == 3
    assert all(len(sub.hook) == 26 for sub in (one, two, three))


async def test_an_area_that_is_stored_again_keeps_cursor_and_address(world):
    feed, hook = await world.area("a", FEED, HOOK)
    world.backend.db.execute("update subscription set cursor = '{\"at\":1}', baseline = 0 where id = ?", (feed.id,))
    feed2, hook2 = await world.area("a", FEED, HOOK)
    assert (feed2.id, feed2.cursor, feed2.baseline) == (feed.id, {"at": 1}, False)
    assert (hook2.id, hook2.hook) == (hook.id, hook.hook)


async def test_a_webhook_keeps_its_address_when_its_parameters_or_its_name_change(world):
    (hook,) = await world.area("a", HOOK)
    (other,) = await world.area("a", but(HOOK, params={"answer": "ok"}))
    assert (other.hook, other.params) == (hook.hook, {"answer": "ok"})
    (renamed,) = await world.area("a", but(HOOK, place="door"))
    assert renamed.hook == hook.hook
    (still,) = await world.area("a", but(HOOK, place="door"))
    assert still.hook == hook.hook


async def test_swapped_names_keep_their_own_addresses(world):
    one, two = await world.area("a", but(HOOK, place="one"), but(HOOK, place="two"))
    two2, one2 = await world.area("a", but(HOOK, place="two"), but(HOOK, place="one"))
    assert (one2.hook, two2.hook) == (one.hook, two.hook)


async def test_a_schedule_with_new_parameters_starts_from_now(world):
    (sub,) = await world.area("a", CRON)
    assert sub.next == world.clock.now + 7 * 3_600_000
    world.clock.advance(60_000)
    (sub,) = await world.area("a", but(CRON, params={"cron": "5 * * * *"}))
    assert sub.next == world.clock.start + 5 * 60_000
    (every,) = await world.area("b", Wanted(place="e", action="schedule.every", params={"every": "10m"}))
    assert 600_000 <= every.next - world.clock.now < 605_000


async def test_the_shortest_interval_wins_while_several_areas_listen(world):
    await world.area("a", but(FEED, every_ms=600_000))
    (sub,) = await world.area("b", but(FEED, every_ms=60_000))
    assert sub.every_ms == 60_000
    (sub,) = await world.area("a", but(FEED, every_ms=300_000))
    assert sub.every_ms == 60_000
    await world.switch("b", False)
    (sub,) = await world.area("a", but(FEED, every_ms=300_000))
    assert sub.every_ms == 300_000


async def test_a_field_named_every_says_how_often_to_ask(world):
    world.catalogue.actions["feed.entry"].fields = {"every": None}
    (sub,) = await world.area("a", but(FEED, params={"every": "2m"}))
    assert sub.every_ms == 120_000
    (sub,) = await world.area("a", but(FEED, params={"every": "2m"}, every_ms=60_000))
    assert sub.every_ms == 60_000


async def test_a_subscription_is_on_while_any_enabled_area_listens(world):
    (sub,) = await world.area("a", FEED)
    await world.area("b", FEED)
    await world.switch("a", False)
    assert (await world.subscriptions.load(sub.id)).active
    await world.switch("b", False)
    assert not (await world.subscriptions.load(sub.id)).active


async def test_a_poll_that_is_switched_on_again_takes_a_baseline_first(world):
    (sub,) = await world.area("a", FEED)
    world.backend.db.execute("update subscription set baseline = 0, cursor = '{\"e\":1}'")
    await world.switch("a", False)
    world.clock.advance(1000)
    await world.switch("a", True)
    sub = await world.subscriptions.load(sub.id)
    assert (sub.baseline, sub.cursor, sub.next) == (True, {"e": 1}, world.clock.now)


async def test_switching_on_what_is_on_changes_nothing_but_the_version(world):
    (sub,) = await world.area("a", FEED)
    world.backend.db.execute("update subscription set baseline = 0")
    await world.area("b", FEED, enabled=False)
    await world.switch("b", True)
    after = await world.subscriptions.load(sub.id)
    assert not after.baseline
    assert after.active


async def test_an_area_that_is_switched_on_while_another_is_switched_off_is_heard(world):
    (sub,) = await world.area("a", FEED)
    await world.area("b", FEED, enabled=False)

    async def on(unit):
        await world.switch("b", True)

    world.backend.before_commit = on
    unit = Unit().do("update area set enabled = 0 where id = 'a'")
    await world.subscriptions.disable(unit, "a")
    assert not await world.backend.commit(unit)  # refused: read again
    await world.switch("a", False)
    assert (await world.subscriptions.load(sub.id)).active


async def test_an_area_that_wants_something_else_lets_go_of_the_first(world):
    (old,) = await world.area("a", FEED)
    (new,) = await world.area("a", but(FEED, params={"feed": "https://example.org/g"}))
    assert old.id != new.id
    assert not (await world.subscriptions.load(old.id)).active
    (back,) = await world.area("a", FEED)
    assert back.id == old.id
    assert back.active
    assert back.baseline


async def test_a_released_area_leaves_nothing_on(world):
    feed, hook = await world.area("a", FEED, HOOK)
    unit = Unit().do("delete from area where id = 'a'")
    await world.subscriptions.release(unit, "a")
    assert await world.backend.commit(unit)
    assert await world.count("area_subscription") == 0
    assert not (await world.subscriptions.load(feed.id)).active
    assert not (await world.subscriptions.load(hook.id)).active


async def test_a_source_is_on_while_a_run_waits_for_it_and_swept_after(world):
    unit = Unit()
    sub = await world.subscriptions.ensure(unit, "u1", but(FEED, role="wait"))
    assert await world.backend.commit(unit)
    assert sub.active
    assert sub.baseline
    world.backend.db.execute(
        "insert into job (id, run, owner, area, node, path, kind, state, wait_key, since) "
        "values ('j', 'r', 'u1', 'a', 'n', 'n', 'wait_for', 'waiting', ?, 0)", (f"sub:{sub.id}",),
    )  # fmt: skip
    assert await world.subscriptions.sweep() == 0
    again = await world.subscriptions.ensure(Unit(), "u1", but(FEED, role="wait"))
    assert again.id == sub.id
    world.backend.db.execute("delete from job")
    assert await world.subscriptions.sweep() == 1
    assert not (await world.subscriptions.load(sub.id)).active


async def test_a_secret_parameter_does_not_lie_open(world):
    (sub,) = await world.area("a", but(HOOK, params={"secret": "s3cret", "answer": "ok"}))
    assert sub.params == {"answer": "ok"}
    assert world.subscriptions.secrets(sub) == {"secret": "s3cret"}
    dump = "\n".join(world.backend.db.iterdump())
    assert "s3cret" not in dump
    (same,) = await world.area("a", but(HOOK, params={"secret": "s3cret", "answer": "ok"}))
    assert (same.secret, same.hook) == (sub.secret, sub.hook)
    (other,) = await world.area("a", but(HOOK, params={"secret": "other"}))
    assert world.subscriptions.secrets(other) == {"secret": "other"}
    assert other.hook == sub.hook


async def test_an_unknown_action_is_an_error(world):
    with pytest.raises(InputError, match=r"no action nope\.gone"):
        await world.subscriptions.reconcile(Unit(), "a", "u1", [but(FEED, action="nope.gone")])


async def test_loops_hear_of_what_changed(world):
    (sub,) = await world.area("a", FEED)
    assert [(m.topic, m.body["id"]) for m in world.backend.published] == [("subscription", sub.id)]
    world.backend.published.clear()
    await world.area("b", FEED)
    assert world.backend.published == []
    await world.switch("a", False)
    await world.switch("b", False)
    assert [m.body["id"] for m in world.backend.published] == [sub.id]


async def apply(world, *areas):
    """Store several areas in one Unit, as applying a folder does."""
    unit = Unit()
    for id, wanted in areas:
        if wanted is None:
            unit.do("delete from area where id = ?", id)
            await world.subscriptions.release(unit, id)
            continue
        unit.do("insert into area values (?, 'u1', ?, '', 1, 1, 0, 0) on conflict (id) do nothing", id, id)
        await world.subscriptions.reconcile(unit, id, "u1", wanted)
    assert await world.backend.commit(unit)


async def test_areas_that_are_new_together_share(world):
    await apply(world, ("a", [FEED, HOOK]), ("b", [FEED]), ("c", [FEED, CRON]))
    assert await world.rows("select count(*), sum(active) from subscription where action = 'feed.entry'") == [(1, 1)]
    await apply(world, ("a", [FEED]), ("b", [but(FEED, every_ms=60_000)]), ("c", [FEED]))
    assert await world.rows("select every_ms from subscription where action = 'feed.entry'") == [(60_000,)]


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
async def test_one_area_lets_go_of_what_another_takes_up_in_the_same_breath(world, order):
    (sub,) = await world.area("a", FEED)
    world.backend.db.execute("update subscription set baseline = 0")
    wanted = {"a": [HOOK], "b": [FEED]}
    await apply(world, *((id, wanted[id]) for id in order))
    assert (await world.subscriptions.load(sub.id)).active


async def test_areas_that_go_together_leave_nothing_on(world):
    await apply(world, ("a", [FEED]), ("b", [FEED]))
    await apply(world, ("a", None), ("b", None))
    assert await world.rows("select active from subscription") == [(0,)]
