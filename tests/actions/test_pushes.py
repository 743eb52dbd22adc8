"""What is polled is delivered as well where that can be: asked for, kept up, made anew, and ended again."""

from __future__ import annotations

import asyncio
import contextlib
import json
from types import SimpleNamespace

import pytest

from areabox.actions.service import Actions
from areabox.actions.subscriptions import Wanted
from areabox.database import Unit
from areabox.errors import (
    AuthExpired,
    ConfigurationError,
    NotAllowedError,
    NotFoundError,
    Permanent,
    Transient,
    Uncertain,
)
from tests.actions.conftest import Seal, operation

ISSUES = Wanted(place="issue", action="hub.issue", params={"repo": "a/b"}, every_ms=600_000)
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


class Hub:
    """A service that lists issues, and delivers them where it was asked to."""

    def __init__(self):
        self.issues, self.polls = ["1", "2"], 0
        self.asked, self.ended = [], []
        self.fail = self.fail_end = None
        self.numbers = iter(range(1, 100))
        self.renewed = None  # what a renewal gives instead of the same again
        self.before = None

    async def poll(self, action_id, params, *, owner, connection, cursor):
        self.polls += 1
        for id in self.issues:
            yield {"id": id, "title": f"t{id}"}

    async def subscribe(self, action_id, params, *, owner, connection, url, secret, state=None):
        self.asked.append((params, url, secret, state))
        if self.before is not None:
            await self.before(url)
        if self.fail is not None:
            raise self.fail
        return (self.renewed or state) if state else {"hook": next(self.numbers)}

    async def unsubscribe(self, action_id, params, *, owner, connection, state, url, secret):
        if self.fail_end is not None:
            raise self.fail_end
        self.ended.append((params, url, state))

    def delivery(self, action_id, params, delivery, secret):
        if delivery.headers.get("x-token") != secret:
            raise NotAllowedError("the signature is wrong")
        return [{"id": id, "title": f"t{id}"} for id in delivery.json]

    def handshake(self, action_id, delivery):
        return delivery.query.get("challenge")


class Place:
    """The actions of one process over that service, a minute at a time."""

    def __init__(self, world, hub, url="https://box.example.org/"):
        self.world, self.hub = world, hub
        self.actions = Actions(
            world.backend, world.clock, subscriptions=world.subscriptions, inbox=world.inbox, services=hub,
            connections=world._connections(), seal=Seal(), public_url=url,
        )  # fmt: skip

    async def open(self):
        await self.actions.open()
        return self

    async def step(self, ms=0):
        """Let time pass in one go, then poll and look after the pushes until both are at rest."""
        self.world.clock.advance(ms)
        for _ in range(3):
            await self.actions.poller.tick()
            await self.actions.poller.settle()
            await self.actions.pushes.tick()

    async def push(self):
        rows = await self.world.backend.read("select * from push")
        return SimpleNamespace(**dict(rows[0])) if rows else None

    async def deliver(self, ids, name="d1", **headers):
        push = await self.push()
        secret = self.hub.asked[-1][2]
        return await self.actions.hooks.receive(
            push.hook, "POST", "", "", {"x-token": secret, "webhook-id": name} | headers, json.dumps(ids).encode()
        )

    async def tell(self, id):
        """What the bus says of a changed subscription."""
        await self.actions._look(id, "poll")


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture
async def place(world, hub):
    world.catalogue.actions["hub.issue"] = operation("poll", id="hub.issue", pushed=True)
    return await Place(world, hub).open()


@pytest.fixture
async def live(world, place):
    """An area whose issues are delivered."""
    (sub,) = await world.area("a", ISSUES)
    await place.step()
    await place.step(1)
    return sub


async def titles(world):
    return [payload["title"] for payload in await world.payloads()]


async def test_after_the_baseline_the_service_is_asked_to_deliver(world, hub, place, live):
    push = await place.push()
    ((params, url, secret, state),) = hub.asked
    assert (params, url, state) == ({"repo": "a/b"}, f"https://box.example.org/hooks/{push.hook}", None)
    assert (len(push.hook), len(secret)) == (26, 26)
    assert push.made
    assert secret.encode() not in push.sealed
    assert await world.count("event") == 0


async def test_what_is_delivered_fires_once_and_the_poll_knows_it(world, hub, place, live):
    receipt = await place.deliver(["3"])
    assert (receipt.status, bool(receipt.event)) == (202, True)
    assert not (await place.deliver(["3"])).event  # the same delivery
    assert not (await place.deliver(["3"], "d2")).event  # the same thing
    hub.issues.append("3")
    await place.step(DAY)
    assert await titles(world) == ["t3"]


async def test_what_a_poll_found_first_is_not_delivered_again(world, hub, place, live):
    hub.issues.append("3")
    await place.step(2 * HOUR)
    assert (await place.deliver(["3", "4"])).event
    assert await titles(world) == ["t3", "t4"]


async def test_a_forged_delivery_is_refused(world, place, live):
    with pytest.raises(NotAllowedError):
        await place.deliver(["3"], **{"x-token": "guess"})
    assert await world.count("event") == 0


async def test_the_first_question_of_a_service_is_answered_while_it_is_asked(world, hub, place):
    answers = []

    async def challenge(url):
        receipt = await place.actions.hooks.receive(url[-26:], "GET", "", b"challenge=abc", {}, b"")
        answers.append(receipt.body)

    hub.before = challenge
    await world.area("a", ISSUES)
    await place.step()
    assert answers == [b"abc"]


async def test_it_is_polled_less_often_while_deliveries_come(world, hub, place, live):
    polls = hub.polls
    for _ in range(12):
        await place.step(10 * MINUTE)
    assert 2 <= hub.polls - polls <= 3


async def test_without_a_public_address_it_is_polled_as_ever(world, hub):
    world.catalogue.actions["hub.issue"] = operation("poll", id="hub.issue", pushed=True)
    place = await Place(world, hub, url=None).open()
    await world.area("a", ISSUES)
    for _ in range(7):
        await place.step(10 * MINUTE)
    assert (hub.asked, await place.push()) == ([], None)
    assert hub.polls == 7


async def test_what_is_polled_only_is_not_asked_for(world, hub, place):
    await world.area("a", Wanted(place="f", action="feed.entry", params={"feed": "https://example.org"}))
    await place.step()
    assert hub.asked == []


async def test_areas_that_ask_for_the_same_share_it_and_the_last_one_ends_it(world, hub, place, live):
    await world.area("b", ISSUES)
    await place.tell(live.id)
    await place.step()
    await world.switch("a", on=False)
    await place.tell(live.id)
    await place.step()
    assert (len(hub.asked), hub.ended) == (1, [])
    push = await place.push()
    unit = Unit()
    await world.subscriptions.release(unit, "b")
    assert await world.backend.commit(unit)
    await place.tell(live.id)
    await place.step()
    assert hub.ended == [({"repo": "a/b"}, push.url, {"hook": 1})]
    assert await place.push() is None
    with pytest.raises(NotFoundError):
        await place.actions.hooks.receive(push.hook, "POST", "", "", {}, b"[]")


async def test_nobody_is_answered_once_nobody_listens(world, hub, place, live):
    hub.fail_end = Transient("down")
    await world.switch("a", on=False)
    await place.tell(live.id)
    await place.step()
    with pytest.raises(NotFoundError):
        await place.deliver(["3"])
    assert await world.count("event") == 0


async def test_an_end_that_fails_is_tried_again_even_by_the_next_process(world, hub, place, live):
    hub.fail_end = Uncertain("no answer")
    await world.switch("a", on=False)
    await place.tell(live.id)
    await place.step()
    assert (await place.push()).fails == 1
    hub.fail_end = None
    place = await Place(world, hub).open()
    await place.step(2 * MINUTE)
    assert len(hub.ended) == 1
    assert await place.push() is None


@pytest.mark.parametrize("error", [Permanent("gone"), AuthExpired("gone")])
async def test_an_end_that_is_refused_is_let_be(world, hub, place, live, error):
    hub.fail_end = error
    await world.switch("a", on=False)
    await place.tell(live.id)
    await place.step()
    assert await place.push() is None


async def test_a_service_that_is_never_reached_again_is_given_up(world, hub, place, live):
    hub.fail_end = Transient("down")
    await world.switch("a", on=False)
    await place.tell(live.id)
    for _ in range(20):
        await place.step(HOUR)
    assert await place.push() is None


async def test_whoever_was_refused_is_polled_and_asks_again_later(world, hub, place):
    hub.fail = Transient("503")
    (sub,) = await world.area("a", ISSUES)
    await place.step()
    hub.issues.append("3")
    await place.step(10 * MINUTE)
    assert await titles(world) == ["t3"]
    hub.fail = None
    await place.step(2 * HOUR)
    push = await place.push()
    assert push.made
    assert (push.fails, push.error) == (0, None)
    assert len({asked[1:3] for asked in hub.asked}) == 1  # always the same address and secret
    assert sub


async def test_a_lasting_refusal_is_asked_about_once_a_day_and_after_reconnecting(world, hub, place):
    hub.fail = Permanent("no hooks here")
    await world.area("a", Wanted(place="i", action="hub.issue", params={}, connection="c1", every_ms=600_000))
    await place.step()
    for _ in range(20):
        await place.step(HOUR)
    assert len(hub.asked) == 1
    await place.actions.reconnected("c1")
    await place.step()
    assert len(hub.asked) == 2


async def test_a_restart_asks_for_nothing_and_goes_on_receiving(world, hub, place, live):
    place = await Place(world, hub).open()
    await place.step()
    assert len(hub.asked) == 1
    assert (await place.deliver(["3"])).event


async def test_a_process_that_ended_while_it_asked_asks_again_for_the_same(world, hub, place):
    hub.fail = asyncio.CancelledError()
    await world.area("a", ISSUES)
    with contextlib.suppress(asyncio.CancelledError):
        await place.step()
    hub.fail = None
    place = await Place(world, hub).open()
    await place.step(1)
    assert (await place.push()).made
    assert len({asked[1:3] for asked in hub.asked}) == 1


async def test_another_public_address_is_told_to_the_service(world, hub, place, live):
    old = await place.push()
    place = await Place(world, hub, "https://new.example.org").open()
    await place.step()
    assert [url for _, url, _ in hub.ended] == [old.url]
    assert hub.asked[-1][1].startswith("https://new.example.org/hooks/")


async def test_without_the_public_address_it_is_ended(world, hub, place, live):
    place = await Place(world, hub, url=None).open()
    await place.step()
    assert len(hub.ended) == 1
    assert await place.push() is None


async def test_other_parameters_are_asked_for_and_the_old_ones_ended(world, hub, place):
    alone = Wanted(place="i", action="hub.issue", params={"repo": "a/b"}, every_ms=600_000, shared=False)
    (sub,) = await world.area("a", alone)
    await place.step()
    await world.area("a", Wanted(place="i", action="hub.issue", params={"repo": "x"}, every_ms=600_000, shared=False))
    await place.tell(sub.id)
    await place.step()
    assert [params for params, _, _ in hub.ended] == [{"repo": "a/b"}]
    assert [params for params, *_ in hub.asked] == [{"repo": "a/b"}, {"repo": "x"}]


async def test_a_subscription_that_expires_is_renewed_before(world, hub, place):
    world.catalogue.actions["hub.issue"].renew_ms = 2 * DAY
    await world.area("a", ISSUES)
    await place.step()
    await place.step(1)
    await place.step(int(1.7 * DAY))
    assert [state for *_, state in hub.asked] == [None, {"hook": 1}]
    assert hub.ended == []
    hub.renewed = {"hook": 77}
    await place.step(int(1.7 * DAY))
    assert hub.asked[-1][3] == {"hook": 1}
    assert [state for *_, state in hub.ended] == [{"hook": 1}]  # the one that was replaced


async def test_a_renewal_that_fails_means_polling_and_then_asking_anew(world, hub, place):
    world.catalogue.actions["hub.issue"].renew_ms = 2 * DAY
    await world.area("a", ISSUES)
    await place.step()
    await place.step(1)
    hub.fail = Permanent("there is no such hook")
    await place.step(int(1.7 * DAY))
    polls = hub.polls
    for _ in range(4):
        await place.step(11 * MINUTE)
    assert hub.polls >= polls + 3
    hub.fail = None
    await place.step(DAY)
    assert hub.asked[-1][3] is None
    assert (await place.push()).made


async def test_a_lost_subscription_is_noticed_by_the_poll_and_made_anew(world, hub, place, live):
    await place.step(1)
    hub.issues.append("3")
    await place.step(2 * HOUR)
    assert (await place.push()).suspect
    assert len(hub.asked) == 1  # a delivery may be slower than a poll
    await place.step(6 * MINUTE)
    assert [state for *_, state in hub.ended] == [{"hook": 1}]
    assert len(hub.asked) == 2
    push = await place.push()
    assert (push.suspect, push.remade) == (None, 1)
    await place.deliver(["4"])
    await place.step(MINUTE)
    assert (await place.push()).remade == 0
    assert await titles(world) == ["t3", "t4"]


async def test_a_delivery_that_was_only_slower_is_forgiven(world, hub, place, live):
    await place.step(1)
    hub.issues.append("3")
    await place.step(2 * HOUR)
    world.clock.advance(MINUTE)
    await place.deliver(["3"])
    await place.step(6 * MINUTE)
    assert (len(hub.asked), (await place.push()).suspect) == (1, None)


async def test_what_never_delivers_is_made_anew_less_and_less_often(world, hub, place, live):
    for number in range(100):
        hub.issues.append(f"n{number}")
        await place.step(2 * HOUR)
    assert 4 <= len(hub.asked) <= 20
    assert len(await titles(world)) == 100


async def test_an_action_that_is_gone_for_a_moment_keeps_its_subscription(world, hub, place, live):
    gone = world.catalogue.actions.pop("hub.issue")
    await place.tell(live.id)
    await place.step()
    world.catalogue.actions["hub.issue"] = gone
    await place.step()
    assert (hub.ended, bool(await place.push())) == ([], True)


async def test_off_and_on_again_takes_a_baseline_but_fires_what_is_delivered(world, hub, place, live):
    await world.switch("a", on=False)
    await world.switch("a", on=True)
    assert (await place.deliver(["9"])).event
    hub.issues += ["8", "9"]
    await place.step(1)
    assert await titles(world) == ["t9"]


async def test_while_it_runs_everything_is_heard_of_by_itself(world, hub, place):
    task = asyncio.create_task(place.actions.run())
    try:
        await world.area("a", ISSUES)

        async def made():
            return bool((push := await place.push()) and push.made)

        await until(made)
        assert (await place.deliver(["3"])).event
        await world.switch("a", on=False)

        async def ended():
            return await place.push() is None

        await until(ended)
        assert len(hub.ended) == 1
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_what_cannot_be_decrypted_any_more_is_left_alone(world, hub, place, live):
    class Lost(Seal):
        def open(self, purpose, data):
            raise ConfigurationError("another key")

    place.actions.pushes._seal = Lost()
    await place.tell(live.id)
    await place.step()
    assert (await place.push()).error == "another key"


async def until(condition):
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.005)


async def test_what_a_service_repeats_of_the_secret_is_not_kept(world, hub, place):
    async def refuse(url):
        raise Permanent(f"invalid: {url} {hub.asked[-1][2]}")

    hub.before = refuse
    await world.area("a", ISSUES)
    await place.step()
    push = await place.push()
    assert push.error == "invalid: https://box.example.org/hooks/*** ***"
