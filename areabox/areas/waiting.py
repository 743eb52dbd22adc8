"""Jobs that need nobody outside: modes, waits, questions and calls.

Each method looks at what is there and returns an outcome; where the look may be out of date by the time it is written,
the outcome carries a guard, and the job is performed again if the guard fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from areabox.actions.rows import Subscription
from areabox.areas.asking import Asking
from areabox.areas.cancelling import Cancelling
from areabox.areas.gathering import Gathering
from areabox.areas.model import Ask, Call, Collect, Do, Once, WaitFor
from areabox.areas.registry import Registry
from areabox.areas.starting import CALLED_MAX, Starting
from areabox.areas.state import Change, RunState, instant
from areabox.areas.template import EvaluationError
from areabox.areas.view import View
from areabox.clock import Clock
from areabox.database import Backend, Pointer, Unit, one
from areabox.database.blobs import unpack
from areabox.errors import InputError
from areabox.reactions import outcome as ends
from areabox.reactions.outcome import Outcome
from areabox.reactions.queue import Job

EVENTS_AT_ONCE = 200
_SLOT = """
insert into slot (key, n, run)
select ?, n, ? from (select value as n from json_each(?)) as free
 where n not in (select n from slot where key = ?)
 order by n limit 1
"""
_AHEAD = """
select j.id, j.run, j.lane from job j join run r on r.id = j.run
 where j.owner = ? and j.state = 'ready' and j.lane in (0, 1, 2) and j.id < ? and j.kind = 'admit' and r.key = ?
"""
_LATER = """
select 1 from job j join run r on r.id = j.run
 where j.owner = ? and j.state = 'ready' and j.lane in (0, 1, 2) and j.id > ? and j.kind = 'admit' and r.key = ? limit 1
"""
_STILL_FULL = """
update job set wait_key = wait_key
 where id = ? and (select count(*) from slot where key = ?) >= ? and not exists (select 1 from slot where run = job.run)
"""
_STILL_BEHIND = f"""
update job set wait_key = wait_key
 where id = ? and (exists (select 1 from slot where key = ? and run <> job.run) or exists ({_AHEAD}))
   and not exists (select 1 from slot where run = job.run)
"""  # noqa: S608 -- constants of this file
_PARKED = """
select id, run, lane from job where wait_key = ? and state = 'waiting' and id < ? order by id limit ?
"""
_IN_FRONT = """
select count(*) from (
  select run from slot where key = ?
  union
  select j.run from job j join run r on r.id = j.run
   where j.owner = ? and j.state = 'ready' and j.lane in (0, 1, 2) and j.id < ? and j.kind = 'admit' and r.key = ?
  union
  select run from job where wait_key = ? and state = 'waiting' and id < ?
) as run
"""  # each run once, and all at one moment: one that is given a place, or parked, may be seen in two of them otherwise
_HAND_OVER = "update slot set run = ? where run = ?"
_IN_LINE = "update job set state = 'ready' where id = ? and kind = 'admit'"
_HELD_ABOVE = """
with recursive above (id) as (
  values (?) union select r.parent_run from run r join above on r.id = above.id where r.parent_run is not null
)
select count(*) from slot where key = ? and run in (select id from above)
"""
_NEWER = "a newer run took its place (mode: restart)"
_NOTHING_CAME = """
update job set wait_key = wait_key
 where id = ? and not exists (select 1 from event where subscription = ? and id > ?)
   and exists (select 1 from subscription where id = ? and active = 1)
"""
_json = msgspec.json


class Notices(Protocol):
    """Where questions to the owner go."""

    def put(self, unit: Unit, *, owner: str, kind: str, title: str, body: str, link: str = "") -> None:
        """Add a notice."""
        ...


class Listening(Protocol):
    """Makes subscriptions for runs that wait."""

    async def for_wait(
        self,
        run: RunState,
        node: str,
        action: str,
        params: dict[str, Any],
        connection: str | None,
        every_ms: int | None,
    ) -> Subscription:
        """Return the subscription that a waiting step listens to, made and switched on if need be."""
        ...

    async def keep_on(self, id: str) -> Subscription:
        """Return a subscription that is listened to, switched on again if need be; raises InputError if it is gone."""
        ...


class Waiting:
    """Performs what waits."""

    def __init__(
        self, backend: Backend, clock: Clock, registry: Registry, starting: Starting, listening: Listening,
        notices: Notices, cancelling: Cancelling, asking: Asking,
    ) -> None:  # fmt: skip
        self._backend, self._clock, self._registry = backend, clock, registry
        self._starting, self._listening, self._notices, self._asking = starting, listening, notices, asking
        self._cancelling, self._gathering = cancelling, Gathering(backend, clock)

    async def perform(self, run: RunState, job: Job) -> Outcome:
        """Perform a job by its kind."""
        node, prefix = run.outline.locate(job.path)
        view = View(run, Change(), self._clock.now_ms())
        try:
            match node.step:
                case WaitFor() as step:
                    return await self._wait_for(run, job, step, view, prefix)
                case Ask() as step:
                    return await self._ask(run, job, step, view, prefix)
                case Call() as step:
                    return await self._call(run, job, step, view, prefix)
                case Collect() as step:
                    return await self._gathering.collect(run, job, step, view.render(step.key, node, prefix))
                case Once() as step:
                    return await self._gathering.once(run, step, view.render(step.key, node, prefix))
                case _:  # a plain wait is over
                    return ends.Done(job.input, job.input)
        except (EvaluationError, InputError) as error:
            return ends.Failed(str(error), "expression")

    # --- modes ----------------------------------------------------------------------------------------------------

    async def admit(self, run: RunState, job: Job) -> Outcome:
        """Let a run of an area with a limited mode start, wait or end."""
        outcome = await self._admit(run, job)
        if isinstance(outcome, ends.Parked) and run.parent_run is not None and await self._held_above(run):
            return ends.Ended("failed", "the runs that called it hold every place of its area, so it can never start")
        return outcome

    async def _held_above(self, run: RunState) -> bool:
        found = await self._backend.read(_HELD_ABOVE, run.parent_run, run.key)
        return bool(found[0][0] >= _places(run))

    async def _admit(self, run: RunState, job: Job) -> Outcome:
        program = run.outline.program
        holders = await self._backend.read("select run from slot where key = ? order by n", run.key)
        if program.mode == "queued":
            return await self._queue(run, job, [row[0] for row in holders], program.at_most)
        if any(row[0] == run.id for row in holders):
            return ends.Admitted()
        if program.mode == "restart":
            return await self._replace(run, job, holders)
        if program.mode == "single" and holders:
            return ends.Ended("skipped", f"run {holders[0][0]} of this area was still going (mode: single)")
        places = _places(run)
        if len(holders) < places:
            return _admitted(run, places)
        return _queued(run, lambda unit, job_id: unit.do(_STILL_FULL, job_id, run.key, places, expect=1))

    async def _queue(self, run: RunState, job: Job, holders: list[str], at_most: int | None) -> Outcome:
        """Let a run go on if it is the first in line; those who came before it and were not looked at yet are, too."""
        line, ahead = f"slot:{run.key}", [run.owner, job.id, run.key]
        earlier = await self._backend.read(f"{_AHEAD} order by j.id limit ?", *ahead, at_most or 1)
        earlier += await self._backend.read(_PARKED, line, job.id, at_most or 1)
        holds = run.id in holders
        if not earlier and (holds or not holders):
            return ends.Admitted() if holds else _admitted(run, 1)
        if at_most is not None and not holds and await self._in_front(run, job) >= at_most:
            return ends.Ended("skipped", f"{at_most} runs were in the queue already (at_most)")

        def still_behind(unit: Unit, job_id: str) -> None:
            unit.do(_STILL_BEHIND, job_id, run.key, *ahead, expect=1)

        def give(unit: Unit) -> None:
            first_job, first_run, lane = min(tuple(row) for row in earlier)
            if holds:
                unit.do(_HAND_OVER, first_run, run.id, expect=1)
            else:
                unit.do(_SLOT, run.key, first_run, "[0]", run.key, expect=1)
            unit.do(_IN_LINE, first_job, expect=1).push(Pointer(first_job, run.owner, lane))

        return _queued(run, still_behind, give if holds or not holders else None)

    async def _in_front(self, run: RunState, job: Job) -> int:
        """Return how many runs hold a place or stand in line before this one."""
        line = f"slot:{run.key}"
        found = await self._backend.read(_IN_FRONT, run.key, run.owner, job.id, run.key, line, job.id)
        return int(found[0][0])

    async def _replace(self, run: RunState, job: Job, holders: list[Any]) -> Outcome:
        """Take the place of an older run, unless a newer one does."""
        if any(holder[0] > run.id for holder in holders) or await one(
            self._backend, _LATER, run.owner, job.id, run.key
        ):
            return ends.Ended("cancelled", _NEWER)
        for holder in holders:
            await self._cancelling.cancel(holder[0], _NEWER)
        return _admitted(run, 1)

    # --- until something happens ----------------------------------------------------------------------------------

    async def _wait_for(self, run: RunState, job: Job, step: WaitFor, view: View, prefix: str) -> Outcome:
        node = run.outline.nodes[step.id]
        if run.dry:
            return ends.Done(None, None, "would wait for it")
        memory = job.input
        if memory is None:
            params = view.render(step.params, node, prefix)
            found = await self._listening.for_wait(run, step.id, step.action, params, step.connection, step.every_ms)
            if found.kind == "internal":
                self._registry.internal[found.id] = found
            due = None if step.timeout_ms is None else self._clock.now_ms() + step.timeout_ms
            memory = {"subscription": found.id, "after": self._clock.new_id(), "due": due, "params": params}
            return self._listen(memory)
        await self._listening.keep_on(memory["subscription"])
        shown = {step.action: memory["params"]}
        after = memory["after"]
        while rows := await self._events(memory["subscription"], after):
            for row in rows:
                after = row["id"]
                payload = _json.decode(await unpack(self._backend, row["payload"]))
                if step.test is None or self._matches(step, view, run, prefix, payload):
                    return ends.Done(payload, shown)
        if memory["due"] is not None and self._clock.now_ms() >= memory["due"]:
            return ends.TimedOut(shown)
        return self._listen({**memory, "after": after})

    def _matches(self, step: WaitFor, view: View, run: RunState, prefix: str, payload: Any) -> bool:
        names = view.names(run.outline.nodes[step.id], prefix)
        names["event"] = payload
        assert step.test is not None
        return bool(step.test.evaluate(names))

    async def _events(self, subscription: str, after: str) -> list[Any]:
        return await self._backend.read(
            "select id, at, payload from event where subscription = ? and id > ? order by id limit ?",
            subscription, after, EVENTS_AT_ONCE,
        )  # fmt: skip

    def _listen(self, memory: dict[str, Any], also: Callable[[Unit], object] | None = None) -> Outcome:
        def nothing_came(unit: Unit, job_id: str) -> None:
            unit.do(
                _NOTHING_CAME,
                job_id, memory["subscription"], memory["after"], memory["subscription"], expect=1,
            )  # fmt: skip

        return ends.Parked(f"sub:{memory['subscription']}", memory["due"], memory, guard=nothing_came, also=also)

    async def _ask(self, run: RunState, job: Job, step: Ask, view: View, prefix: str) -> Outcome:
        memory = job.input
        if memory is None:
            question = view.render(step.question, run.outline.nodes[step.id], prefix)
            if run.dry:
                return self._would_ask(step, question)
            return await self._put(run, job, step, question)
        if "answer" in memory:
            return ends.Done(memory["answer"], _asked(memory["asked"]))
        return await self._pressed(run, job, step, memory) if "subscription" in memory else ends.TimedOut(memory)

    def _would_ask(self, step: Ask, question: Any) -> Outcome:
        given = {"choice": step.choices[0], "by": "dry run", "at": instant(self._clock.now_ms())}
        ways = ", ".join(way.reaction for way in step.via if isinstance(way, Do))
        return ends.Done(given, {"question": question}, f"would ask by {ways}" if ways else "would ask")

    async def _put(self, run: RunState, job: Job, step: Ask, question: Any) -> Outcome:
        """Put a question to the owner, and listen for buttons that are pressed elsewhere."""
        due = None if step.timeout_ms is None else self._clock.now_ms() + step.timeout_ms
        memory = {"question": question, "choices": list(step.choices)}
        text = str(question)

        def ask(unit: Unit) -> None:
            self._notices.put(
                unit, owner=run.owner, kind="ask", title=text, body=" · ".join(step.choices), link=f"/runs/{run.id}"
            )

        buttons = self._asking.buttons(step)
        if buttons is None:
            return ends.Parked(f"ask:{job.id}", due, memory, also=ask)
        action, connection = buttons
        found = await self._listening.for_wait(run, step.id, action, {}, connection, None)
        listening = {"subscription": found.id, "after": self._clock.new_id(), "due": due}
        return self._listen({**memory, **listening}, also=ask)

    async def _pressed(self, run: RunState, job: Job, step: Ask, memory: dict[str, Any]) -> Outcome:
        await self._listening.keep_on(memory["subscription"])
        after = memory["after"]
        while rows := await self._events(memory["subscription"], after):
            for row in rows:
                after = row["id"]
                event = _json.decode(await unpack(self._backend, row["payload"]))
                number = self._asking.number_in(str(event.get("data")), run.id, job.path)
                if number is not None and 1 <= number <= len(step.choices):
                    choice, by = step.choices[number - 1], str(event.get("by"))
                    return ends.Done({"choice": choice, "by": by, "at": instant(row["at"])}, _asked(memory))
        if memory["due"] is not None and self._clock.now_ms() >= memory["due"]:
            return ends.TimedOut(_asked(memory))
        return self._listen({**memory, "after": after})

    # --- other runs -----------------------------------------------------------------------------------------------

    async def _call(self, run: RunState, job: Job, step: Call, view: View, prefix: str) -> Outcome:
        memory = job.input
        if memory is not None and "state" in memory:
            return _answered(step, memory)
        trigger = view.render(step.with_, run.outline.nodes[step.id], prefix)
        head = self._registry.find(run.owner, step.area)
        if head is None:
            return ends.Failed(f"there is no area {step.area}")
        if run.depth >= 16:
            return ends.Failed("16 areas call each other already: do they call each other without end?")
        if not self._starting.may_call(run):
            return ends.Failed(f"called areas have called {CALLED_MAX:,} others already")
        outline = self._registry.outline(head)

        def begin(unit: Unit) -> None:
            child, change = self._starting.begin(
                unit,
                head,
                outline,
                trigger,
                depth=run.depth + 1,
                parent=job,
                lane=job.lane,
                root=run.root,
                dry=run.dry,
            )
            unit.do("update job set wait_key = ? where id = ?", f"call:{child.id}", job.id)
            if change.end is not None:
                end = change.end
                answer = {
                    "state": end.state, "reason": end.reason, "result": end.result, "run": child.id, "with": trigger,
                }  # fmt: skip
                text = _json.encode(answer, enc_hook=str).decode()
                unit.do("update job set state = 'ready', input = ? where id = ?", text, job.id)
                unit.push(job.pointer)

        return ends.Parked(f"call:{job.id}", None, None, also=begin)


def _asked(memory: dict[str, Any]) -> dict[str, Any]:
    return {"question": memory["question"], "choices": memory["choices"]}


def _answered(step: Call, answer: dict[str, Any]) -> Outcome:
    input = {"area": step.area, "with": answer["with"], "run": answer["run"]}
    if answer["state"] in ("done", "skipped", "collected"):
        note = None if answer["state"] == "done" else f"the called area ended as {answer['state']}: {answer['reason']}"
        return ends.Done(answer["result"], input, note)
    return ends.Failed(
        f"{step.area} ended as {answer['state']}: {answer['reason'] or 'no reason given'}", "child", input
    )


def _places(run: RunState) -> int:
    program = run.outline.program
    return program.at_most or 1 if program.mode == "parallel" else 1


def _admitted(run: RunState, places: int) -> Outcome:
    numbers = _json.encode(list(range(places))).decode()
    return ends.Admitted(lambda unit: unit.do(_SLOT, run.key, run.id, numbers, run.key, expect=1))


def _queued(run: RunState, guard: Any, also: Any = None) -> Outcome:
    return ends.Parked(f"slot:{run.key}", None, {"queued": True}, queued=True, guard=guard, also=also)
