"""A source that fails for a while is told of once, and once more when it works again; a source may ask for time."""

from __future__ import annotations

import asyncio

import pytest

from areabox.actions.listener import Listener
from areabox.actions.poller import Poller, hinted_ms
from areabox.actions.subscriptions import Wanted
from areabox.actions.trouble import TELL_AFTER, TELL_STREAM_AFTER
from areabox.database import Unit
from areabox.errors import AuthExpired, Transient
from areabox.notifications.outbox import Outbox
from areabox.notifications.sources import SourceNotices

FEED = Wanted(place="feed", action="feed.entry", params={"feed": "https://example.org/f"}, every_ms=600_000)
TOPIC = Wanted(place="topic", action="mqtt.message", params={"topic": "t"})


class Source:
    def __init__(self):
        self.fail = None
        self.hint = None
        self.polls = 0
        self.messages = asyncio.Queue()

    async def poll(self, action_id, params, *, owner, connection, cursor):
        self.polls += 1
        if self.fail is not None:
            raise self.fail
        if self.hint is not None:
            cursor["_wait_s"] = self.hint
        yield {"id": "1"}

    async def listen(self, action_id, params, *, owner, connection, cursor):
        if self.fail is not None:
            raise self.fail
        while True:
            yield await self.messages.get()


class Told(list):
    """Whom was told what, once it is on disk."""

    def __call__(self, unit, sub, error, /):
        unit.publish("told")
        self.append((sub.action, error))


@pytest.fixture
def told():
    return Told()


def poller(world, source, told):
    return Poller(
        world.backend, world.clock, world.subscriptions, world.inbox, source, world._connections(), tell=told
    )  # fmt: skip


async def step(world, poller, ms=0):
    world.clock.advance(ms)
    await poller.tick()
    await poller.settle()


async def test_a_poll_that_fails_for_a_while_is_told_of_once_and_its_end_too(world, told):
    await world.area("a", FEED)
    source = Source()
    polls = poller(world, source, told)
    source.fail = Transient("503")
    for _ in range(TELL_AFTER - 1):
        await step(world, polls, 3_700_000)
    assert told == []
    for _ in range(TELL_AFTER):
        await step(world, polls, 3_700_000)
    assert told == [("feed.entry", "503")]
    polls, source.fail = poller(world, source, told), None  # over a restart, too
    for _ in range(3):
        await step(world, polls, 3_700_000)
    assert told == [("feed.entry", "503"), ("feed.entry", None)]


async def test_a_short_failure_is_not_worth_a_word(world, told):
    await world.area("a", FEED)
    source = Source()
    polls = poller(world, source, told)
    for fail in (Transient("503"), Transient("503"), None, Transient("503"), None):
        source.fail = fail
        await step(world, polls, 3_700_000)
    assert told == []


async def test_a_dead_connection_is_told_of_elsewhere(world, told):
    await world.area("a", Wanted(place="f", action="feed.entry", params={}, connection="c1", every_ms=600_000))
    source = Source()
    polls = poller(world, source, told)
    source.fail = AuthExpired("401")
    for _ in range(TELL_AFTER + 2):
        await step(world, polls, 3_700_000)
        await polls.reconnected("c1")
    assert told == []
    assert len(world.dead) > TELL_AFTER


async def rest():
    for _ in range(50):
        await asyncio.sleep(0.002)


async def test_a_stream_that_cannot_be_opened_is_told_of_once_and_its_end_too(world, told):
    (sub,) = await world.area("a", TOPIC)
    source = Source()
    listener = Listener(
        world.backend, world.clock, world.subscriptions, world.inbox, source, world._connections(), tell=told
    )  # fmt: skip
    source.fail = Transient("refused")
    for _ in range(TELL_STREAM_AFTER + 3):
        await listener.tick()
        await rest()
        world.clock.advance(301_000)
    assert told == [("mqtt.message", "refused")]
    commits = world.backend.commits
    await listener.tick()
    await rest()
    assert world.backend.commits == commits  # what is known already is not written again
    world.clock.advance(301_000)
    source.fail = None
    await listener.tick()
    await rest()
    assert len(told) == 1  # open, but for how long?
    world.clock.advance(61_000)
    assert await listener.tick() <= 300
    assert told == [("mqtt.message", "refused"), ("mqtt.message", None)]
    after = await world.subscriptions.load(sub.id)
    assert (after.fails, after.error) == (0, None)
    source.messages.put_nowait({"id": "", "payload": "x"})
    await rest()
    assert await world.count("event") == 1
    await listener.close()


async def test_the_first_message_shows_that_a_stream_is_well(world, told):
    (sub,) = await world.area("a", TOPIC)
    source = Source()
    listener = Listener(
        world.backend, world.clock, world.subscriptions, world.inbox, source, world._connections(), tell=told
    )  # fmt: skip
    source.fail = Transient("refused")
    await listener.tick()
    await rest()
    assert (await world.subscriptions.load(sub.id)).error == "refused"
    source.fail = None
    source.messages.put_nowait({"id": "", "payload": "x"})
    world.clock.advance(10_000)
    await listener.tick()
    await rest()
    assert (await world.subscriptions.load(sub.id)).error is None
    assert await world.count("event") == 1
    assert told == []
    await listener.close()


async def test_the_notices_name_the_source_and_the_error(world):
    (sub,) = await world.area("a", FEED)
    outbox = Outbox(world.backend, world.clock)
    tell = SourceNotices(outbox, Sentences())
    for error in ("503", None):
        unit = Unit()
        tell(unit, sub, error)
        assert await world.backend.commit(unit)
    well, failing = await outbox.list("u1")
    assert (failing["kind"], failing["title"]) == ("source_failing", "feed.entry fails")
    assert "a new entry in https://example.org/f" in failing["body"]
    assert "503" in failing["body"]
    assert (well["kind"], well["title"]) == ("source_well", "feed.entry works again")


class Sentences:
    def action(self, name, /):
        return self

    def sentence_of(self, params, /):
        return f"a new entry in {params['feed']}"


# -- how often ---------------------------------------------------------------------------------------------------------


async def test_a_source_may_ask_for_more_time_and_the_hint_is_not_kept(world, told):
    (sub,) = await world.area("a", FEED)
    source = Source()
    polls = poller(world, source, told)
    source.hint = 1_500
    await step(world, polls)
    for _ in range(5):
        await step(world, polls, 300_000)
    assert source.polls == 2
    assert (await world.subscriptions.load(sub.id)).cursor == {}


@pytest.mark.parametrize(
    ("hint", "wait"), [(None, 600_000), (60, 600_000), (1_500, 1_500_000), (86_400, 2_400_000), ("x", 600_000)]
)
def test_a_hint_makes_a_wait_longer_but_not_by_much(hint, wait):
    assert hinted_ms(600_000, hint) == wait
