"""The third parties of a simulation: they remember every effect, and answer, fail, hang or lie as chance will have it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from areabox.errors import AreaboxError, AuthExpired, Permanent, RateLimited, Transient, Uncertain
from tests.faults.virtual import Died

if TYPE_CHECKING:
    from tests.faults.simulation import Process, Simulation

ITEMS_LISTED = 10  # by a feed that is asked for the first time


class Internet:
    """The third parties: they remember every effect, and answer as chance will have it."""

    def __init__(self, sim: Simulation) -> None:
        self.sim, self.chance = sim, random.Random(f"{sim.seed}:internet")
        self.effects: Counter[str] = Counter()
        self.marks: defaultdict[str, set[str]] = defaultdict(set)
        self.unknown: set[str] = set()  # effects `once` of which nobody knows whether they took place
        self.feeds: dict[str, list[float]] = {"a": [], "b": []}  # when each item appeared

    def take(self, key: str, mark: str) -> None:
        """Let an effect take place, whether or not anybody waits for it."""
        self.effects[key] += 1
        self.marks[mark].add(key)
        self.sim.trace.note("effect", self.sim.loop.now, key)

    async def react(self, process: Process, reaction: str, mark: str, key: str, timeout_s: float) -> None:
        """Do something, or fail to."""
        if not self.sim.faults:
            self.take(key, mark)
            return
        fate, loop = self.chance.random(), self.sim.loop
        if fate < 0.70:
            await asyncio.sleep(self.chance.expovariate(4))
            self.take(key, mark)
            if self.chance.random() < 0.5:
                await asyncio.sleep(self.chance.expovariate(2))
        elif fate < 0.78:
            await asyncio.sleep(self.chance.uniform(0, 3))
            raise Transient("refused before it was sent")
        elif fate < 0.82:
            raise RateLimited("too many", self.chance.choice([None, 1.0, 30.0]))
        elif fate < 0.86:
            raise Permanent("no")
        elif fate < 0.87:
            raise AuthExpired("the token is old")
        elif fate < 0.90:  # it hangs, and takes effect long after nobody waits any more
            loop.call_later(self.chance.uniform(0, 300), self.take, key, mark)
            await asyncio.sleep(timeout_s)
            raise self._unknown(reaction)
        elif fate < 0.95:  # the answer is lost
            self.take(key, mark)
            await asyncio.sleep(self.chance.uniform(0, 2))
            raise self._unknown(reaction)
        else:  # slow: as slow as it may be
            await asyncio.sleep(self.chance.uniform(0, timeout_s))
            self.take(key, mark)

    def _unknown(self, reaction: str) -> Exception:
        return Uncertain("no answer came") if reaction == "world.act" else Transient("no end in time")

    def list(self, feed: str, since: int) -> list[int]:
        """Return the numbers of a feed's items after `since`, with some that were there before."""
        newest = len(self.feeds[feed])
        return list(range(max(since - self.chance.randint(0, 3), newest - ITEMS_LISTED if since < 0 else 0, 0), newest))


class FakeServices:
    """Instead of connectors: everything of the simulated service goes to the internet, the rest is real."""

    def __init__(self, real: Any, process: Process) -> None:
        self._real, self._process, self._net, self._sim = real, process, process.sim.internet, process.sim

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def react(
        self, reaction_id: str, params: dict[str, Any], *, key: str, timeout_s: float, **_: Any
    ) -> dict[str, Any]:
        sim, net, process = self._sim, self._net, self._process
        if process.dead:
            raise Died
        if key in process.attempts:
            sim.wrong(f"two attempts of {params['mark']} live at once")
        if key in net.unknown:
            sim.wrong(f"{params['mark']} was repeated after an unknown end")
        process.attempts.add(key)
        sim.trace.note("attempt", sim.loop.now, key)
        try:
            if reaction_id == "world.act":
                net.unknown.add(key)
            await net.react(process, reaction_id, params["mark"], key, timeout_s)
            net.unknown.discard(key)
        except Uncertain:
            raise
        except AreaboxError:
            net.unknown.discard(key)
            raise
        finally:
            process.attempts.discard(key)
        return {"value": params.get("value")}

    async def poll(
        self, action_id: str, params: dict[str, Any], *, cursor: dict[str, Any], **_: Any
    ) -> AsyncIterator[dict[str, Any]]:
        chance, faults = self._net.chance, self._sim.faults
        await asyncio.sleep(chance.expovariate(1))
        if faults and chance.random() < 0.1:
            raise Transient("the feed is down")
        if faults and chance.random() < 0.02:
            await asyncio.sleep(10_000)
        numbers = self._net.list(params["feed"], cursor.get("since", -1))
        for number in numbers:
            if faults and chance.random() < 0.02:
                raise Transient("the feed broke off")
            yield {"id": f"{params['feed']}{number}", "n": number}
        cursor["since"] = len(self._net.feeds[params["feed"]])

    async def listen(self, action_id: str, params: dict[str, Any], **_: Any) -> AsyncIterator[dict[str, Any]]:
        chance = self._net.chance
        while True:
            await asyncio.sleep(chance.expovariate(1 / 900))
            if chance.random() < 0.2:
                raise Transient("the stream ended")
            yield {"id": "", "topic": params["topic"]}
