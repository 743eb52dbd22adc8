"""What the runs of an area share: digests that several of them come into, and keys of what was done already.

The first run to come to a `collect` holds the window, as a job that waits; later ones leave their event there and end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from areabox.areas.model import Collect, Once
from areabox.areas.state import RunState
from areabox.clock import Clock
from areabox.database import Backend, Unit, blobs, one
from areabox.database.blobs import pack, read_blobs
from areabox.reactions import outcome as ends
from areabox.reactions import queue
from areabox.reactions.outcome import Outcome
from areabox.reactions.queue import Job

COLLECTED_MAX = 10_000
_KEEP = "insert into collected (key, run, payload, at) values (?, ?, ?, ?)"
_ALONE = """
update job set wait_key = wait_key
 where id = ? and not exists (select 1 from job where wait_key = ? and state = 'waiting' and id <> ?)
"""
_FULL = """
update job set state = 'ready'
 where id = ? and state = 'waiting' and (select count(*) from collected where key = ?) >= ?
"""
_ONCE = """
insert into once (area, key, expires) values (?, ?, ?)
on conflict (area, key) do update set expires = excluded.expires where once.expires <= ?
"""
_FOREVER = 9_000_000_000_000_000
_json = msgspec.json


class Gathering:
    """Performs `collect` and `once`."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend, self._clock = backend, clock

    async def collect(self, run: RunState, job: Job, step: Collect, key: Any) -> Outcome:
        """Open a digest, join the one that is open, or go on with what came together."""
        if run.dry:
            return ends.Done({"events": [run.trigger]}, None, "would collect")
        if job.input is not None:
            return await self._collected(job)
        key = f"collect:{run.area}:{step.id}:{key}"
        now, most = self._clock.now_ms(), min(step.at_most or COLLECTED_MAX, COLLECTED_MAX)
        if most == 1:
            return ends.Done({"events": [run.trigger]}, {"count": 1})
        payload = _json.encode(run.trigger, enc_hook=str)

        def keep(unit: Unit, holder: str) -> None:
            unit.do(_KEEP, holder, run.id, pack(unit, holder, payload), now)

        def begin(unit: Unit, job_id: str) -> None:
            unit.do(_ALONE, job_id, key, job_id, expect=1)
            keep(unit, job_id)

        holders = await queue.waiting_on(self._backend, key)
        if holders:
            return await self._join(holders[0], most, keep)
        return ends.Parked(key, now + step.window_ms, {"since": now}, guard=begin)

    async def _join(self, holder: Job, most: int, keep: Callable[[Unit, str], None]) -> Outcome:
        """End a run as a part of a digest that is open; whether it is full then is decided at the commit."""
        rows = await self._backend.read("select count(*) from collected where key = ?", holder.id)
        nearly_full = rows[0][0] + max(self._backend.stats().executing, 1) >= most  # others may be about to join, too

        def join(unit: Unit) -> None:
            unit.do("update job set lane = lane where id = ? and state = 'waiting'", holder.id, expect=1)
            keep(unit, holder.id)
            if nearly_full:
                unit.do(_FULL, holder.id, holder.id, most).push(holder.pointer)

        return ends.Ended("collected", f"joined run {holder.run}", also=join)

    async def _collected(self, job: Job) -> Outcome:
        rows = await self._backend.read("select payload from collected where key = ? order by at, run", job.id)
        events = [_json.decode(payload) for payload in await read_blobs(self._backend, [row[0] for row in rows])]
        return ends.Done({"events": events}, {"count": len(events)}, also=lambda unit: drop(unit, job.id))

    async def once(self, run: RunState, step: Once, value: Any) -> Outcome:
        """Go on if a key was not seen for long enough, and remember it; otherwise the run ends."""
        rendered = str(value)
        key, now = f"{step.id}:{rendered}", self._clock.now_ms()
        if run.dry:
            return ends.Done(None, {"key": rendered}, "would remember it")
        seen = await one(
            self._backend, "select expires from once where area = ? and key = ? and expires > ?", run.area, key, now
        )
        if seen:
            return ends.Ended("skipped", f"seen already: {rendered}", {"key": rendered})
        expires = _FOREVER if step.within_ms is None else now + step.within_ms
        return ends.Done(
            None, {"key": rendered}, also=lambda unit: unit.do(_ONCE, run.area, key, expires, now, expect=1)
        )


def drop(unit: Unit, holder: str) -> None:
    """Forget what came together in a digest, by the id of the job that holds it."""
    unit.do("delete from collected where key = ?", holder)
    blobs.drop(unit, holder)
