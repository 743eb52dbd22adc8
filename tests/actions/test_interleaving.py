"""Whatever interleaves - two processes, deaths before and after a commit, restarts, shuffled lists - each item fires once."""

from __future__ import annotations

import asyncio
import random

import pytest

from areabox.actions.subscriptions import Wanted

FEED = Wanted(place="feed", action="feed.entry", params={"feed": "https://example.org/f"}, every_ms=60_000)


class DiedError(Exception):
    """The process ended here."""


class Source:
    """A list that grows, is shown in any order, some of it twice, and breaks now and then."""

    def __init__(self, chance):
        self.chance = chance
        self.keys = [0, 1, 2]

    async def poll(self, action_id, params, *, owner, connection, cursor):
        listed = self.keys + self.chance.sample(self.keys, len(self.keys) // 3)
        self.chance.shuffle(listed)
        for key in listed:
            if self.chance.random() < 0.05:
                await asyncio.sleep(0)
            yield {"id": str(key)}
        cursor["read"] = len(self.keys)


def dying(backend, chance, rate):
    """Make commits die, some before they are on disk and some after."""
    commit = type(backend).commit

    async def risky(unit):
        if chance.random() < rate:
            raise DiedError
        written = await commit(backend, unit)
        if chance.random() < rate:
            raise DiedError
        return written

    return risky


@pytest.mark.parametrize("seed", range(25))
async def test_each_item_fires_once(world, seed, caplog):
    chance = random.Random(seed)
    (sub,) = await world.area("a", FEED)
    source = Source(chance)
    first = world.poller(source)
    await first.tick()
    await first.settle()
    assert not (await world.subscriptions.load(sub.id)).baseline

    processes = [first, world.poller(source)]
    world.backend.commit = dying(world.backend, chance, 0.15)
    for _ in range(40):
        match chance.randrange(6):
            case 0 | 1:
                source.keys += range(len(source.keys), len(source.keys) + chance.randrange(1, 30))
            case 2:
                processes[chance.randrange(2)] = world.poller(source)  # it starts again
            case _:
                world.clock.advance(chance.randrange(120_000))
                await asyncio.gather(*(process.tick() for process in processes))
                await asyncio.gather(*(process.settle() for process in processes))
    del world.backend.commit
    world.clock.advance(200_000)
    last = world.poller(source)
    await last.tick()
    await last.settle()
    fired = [int(row[0]) for row in await world.rows("select dedupe from event")]
    assert sorted(fired) == list(range(3, len(source.keys)))
    assert await world.count("run") == len(fired)
