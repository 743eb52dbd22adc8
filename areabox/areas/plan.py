"""What happens next: (run, position, outcome) → change. Decisions only, no I/O.

A *walk* begins at one position, goes through everything that needs nobody from outside (conditions, `set`, `choose`,
loops and joins), and ends where each of its branches has a job to wait for. It is written in the same transaction as
the outcome that set it off, so that these steps cost no commit of their own.

    start(run)                     the first walk of a run
    advance(run, path, outcome)    the walk after a job
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from areabox.areas.durations import parse_duration
from areabox.areas.joins import Joins
from areabox.areas.model import (
    AnyStep,
    Ask,
    Call,
    Choose,
    Collect,
    Do,
    Each,
    If,
    Once,
    Parallel,
    Repeat,
    Return,
    Set,
    Stop,
    Wait,
    WaitFor,
)  # fmt: skip
from areabox.areas.moments import moment
from areabox.areas.outline import Block, Node
from areabox.areas.state import Change, End, NewJob, RunState, StepRow
from areabox.areas.template import EvaluationError
from areabox.areas.view import View
from areabox.errors import InputError
from areabox.reactions.outcome import Done, Ended, Failed, Outcome, Resumed, Skipped, TimedOut

MOVES_MAX = 500  # steps in one walk: more are cut off into a job, so that one run cannot hold up the others
ITEMS_MAX = 10_000

_KINDS: dict[type, str] = {
    Do: "do", If: "if", Choose: "choose", Each: "each", Repeat: "repeat", Parallel: "parallel", Wait: "wait",
    WaitFor: "wait_for", Ask: "ask", Call: "call", Set: "set", Collect: "collect", Once: "once", Return: "return",
    Stop: "stop",
}  # fmt: skip


def start(run: RunState, now: int, moves_max: int = MOVES_MAX) -> Change:
    """Return the first change of a run."""
    walk = Walk(run, now, moves_max)
    walk.enter(run.outline.root, "")
    return walk.finish()


def advance(run: RunState, path: str, outcome: Outcome, *, attempt: int, since: int, now: int) -> Change:
    """Return the change that follows from the end of the job at `path`."""
    walk = Walk(run, now, MOVES_MAX)
    node, prefix = run.outline.locate(path)
    if isinstance(node.step, Ask) and node.step.via and not isinstance(outcome, Resumed):
        walk.cancel(path)  # it is over, whether or not all heard of it
    match outcome:
        case Resumed():
            walk.later(walk.begin, node, prefix)
        case Done():
            walk.record(node, prefix, "done", outcome.input, outcome.output, outcome.note, since, attempt)
            walk.next(node, prefix)
        case Skipped():
            walk.record(node, prefix, "skipped", outcome.input, None, outcome.reason, since, attempt, result=False)
            walk.next(node, prefix)
        case Failed():
            walk.failed(node, prefix, outcome.message, outcome.kind, outcome.input, since, attempt)
        case TimedOut():
            walk.timed_out(node, prefix, outcome.input, since)
        case Ended():
            state = "skipped" if outcome.state == "skipped" else "done"
            walk.record(node, prefix, state, outcome.input, None, outcome.reason, since, attempt, result=False)
            walk.end(End(outcome.state, outcome.reason))
        case _:
            raise TypeError(f"{type(outcome).__name__} does not move a run on")
    return walk.finish()


class Walk(Joins):
    """One walk: a list of moves still to make, and the change that it has led to so far."""

    def __init__(self, run: RunState, now: int, moves_max: int) -> None:
        self.run, self.now, self.change = run, now, Change()
        self.view = View(run, self.change, now)
        self._moves: deque[tuple[Callable[[Node, str], None], Node, str]] = deque()
        self._moves_left = moves_max

    def finish(self) -> Change:
        """Make all moves, and return what they led to."""
        while self._moves and self.change.end is None:
            move, node, prefix = self._moves.popleft()
            if self._moves_left <= 0 and move == self.begin:
                self.job(node, prefix, kind="go")
                continue
            self._moves_left -= 1
            move(node, prefix)
        return self.change

    def later(self, move: Callable[[Node, str], None], node: Node, prefix: str) -> None:
        """Note a move; loops instead of recursion, so that long areas need no deep stack."""
        self._moves.append((move, node, prefix))

    def forget(self, prefix: str) -> None:
        """Drop the moves still noted below `prefix`."""
        self._moves = deque(move for move in self._moves if not move[2].startswith(prefix))

    def enter(self, block: Block, prefix: str) -> None:
        """Go to the first step of a block, or past an empty one."""
        if block.nodes:
            self.later(self.begin, block.nodes[0], prefix)
        else:
            self.leave(block, prefix)

    def next(self, node: Node, prefix: str) -> None:
        """Go to the step after this one, or out of its block."""
        if node.next is not None:
            self.later(self.begin, node.next, prefix)
        else:
            self.leave(node.block, prefix)

    def begin(self, node: Node, prefix: str) -> None:
        """Come to a step: skip it, take it from an earlier run, decide it here, or leave a job for it."""
        step = node.step
        if step.disabled:
            self.skip(node, prefix, "switched off")
            return
        try:
            if step.guard is not None and not self.view.truth(step.guard, node, prefix):
                self.skip(node, prefix, f"its condition is false: {step.guard.source}")
                return
            if not self._remembered(node, prefix):
                self._decide(step, node, prefix)
        except (EvaluationError, InputError) as error:
            self.failed(node, prefix, str(error), "expression", None, self.now)

    def _remembered(self, node: Node, prefix: str) -> bool:
        row = self.run.memo.get(prefix + node.step.id)
        if row is None or isinstance(node.step, If | Choose | Each | Repeat | Parallel | Set | Return | Stop):
            return False
        note = "taken from the earlier run"
        match row.state:
            case "done":
                self.record(node, prefix, "done", row.input, row.output, note, self.now)
                self.next(node, prefix)
            case "skipped" if isinstance(node.step, WaitFor | Ask):
                self.timed_out(node, prefix, row.input, self.now)
            case "skipped":
                self.skip(node, prefix, row.note or note)
            case "failed":
                error = row.error or {}
                message, kind = error.get("message", ""), error.get("kind", "permanent")
                self.failed(node, prefix, message, kind, row.input, self.now)
            case _:
                return False
        return True

    def _decide(self, step: AnyStep, node: Node, prefix: str) -> None:
        match step:
            case Do() | Call() | Once() | Collect() | WaitFor() | Ask():
                self.job(node, prefix, kind=_KINDS[type(step)])
                self._carry_out(node, prefix)
            case Set():
                values = self.view.render(step.vars, node, prefix)
                self.view.assign(node, prefix, values)
                self.record(node, prefix, "done", values, None, None, self.now, result=False)
                self.next(node, prefix)
            case If() | Choose():
                self._branch(step, node, prefix)
            case Wait():
                self._wait(step, node, prefix)
            case Each():
                self._each(step, node, prefix)
            case Repeat():
                self.repeat(step, node, prefix)
            case Parallel():
                self.fork(node, prefix, len(step.branches), None, len(step.branches))
            case Return():
                value = self.view.render(step.value, node, prefix)
                self.record(node, prefix, "done", value, None, None, self.now, result=False)
                self.end(End("done", None, value))
            case Stop():
                because = self.view.render(step.because, node, prefix)
                self.record(node, prefix, "done", {"because": because}, None, None, self.now, result=False)
                self.end(End(step.state, None if because in (None, "") else str(because)))

    def _carry_out(self, node: Node, prefix: str) -> None:
        """Let the ways of a question carry it outside, each by itself, while it waits for its answer."""
        ways = [] if self.run.dry else [block for block in node.blocks if block.role == "via"]
        for number, block in enumerate(ways):
            self.enter(block, f"{prefix}{node.step.id}.{number}.")

    def _branch(self, step: If | Choose, node: Node, prefix: str) -> None:
        tests = [step.test] if isinstance(step, If) else [option.test for option in step.options]
        taken = next((i for i, test in enumerate(tests) if self.view.truth(test, node, prefix)), len(tests))
        seen = taken == 0 if isinstance(step, If) else (taken if taken < len(tests) else "else")
        name = "if" if isinstance(step, If) else "chosen"
        self.record(node, prefix, "done", {name: seen}, None, None, self.now, result=False)
        self.enter(node.blocks[taken], prefix)

    def _wait(self, step: Wait, node: Node, prefix: str) -> None:
        if step.until is not None:
            due = moment(self.view.render(step.until, node, prefix), self.run.zone).ms
        else:
            due = self.now + parse_duration(self.view.render(step.for_, node, prefix) if step.for_ else 0)
        if due <= self.now or self.run.dry:
            note = "would wait" if self.run.dry else None
            self.record(node, prefix, "done", {"until": self.view.time(due)}, None, note, self.now)
            self.next(node, prefix)
        else:
            self.job(node, prefix, kind="wait", due=due, input={"until": self.view.time(due)})

    def _each(self, step: Each, node: Node, prefix: str) -> None:
        items = self.view.evaluate(step.items, node, prefix)
        if not isinstance(items, list | tuple):
            raise EvaluationError(f"each needs a list, and {step.items.source} gives {_shape(items)}")
        if len(items) > ITEMS_MAX:
            raise EvaluationError(f"each takes at most {ITEMS_MAX:,} items, and {step.items.source} has {len(items):,}")
        self.fork(node, prefix, len(items), list(items), step.at_once)

    def job(self, node: Node, prefix: str, *, kind: str, due: int | None = None, input: Any = None) -> None:
        """Leave a job at this step."""
        self.change.jobs.append(NewJob(prefix + node.step.id, kind, node.step.id, due, None, input))

    def skip(self, node: Node, prefix: str, why: str) -> None:
        """Pass over a step; it has no result."""
        self.record(node, prefix, "skipped", None, None, why, self.now, result=False)
        self.next(node, prefix)

    def record(
        self, node: Node, prefix: str, state: str, input: Any, output: Any, note: str | None, started: int,
        attempt: int = 1, *, error: dict[str, Any] | None = None, result: bool = True,
    ) -> None:  # fmt: skip
        """Write the end of a step into the journal, and its result where later steps see it."""
        path = prefix + node.step.id
        kind = _KINDS[type(node.step)]
        self.change.steps.append(StepRow(path, kind, state, started, self.now, attempt, input, output, error, note))
        if result:
            self.change.results[path] = output

    def failed(
        self, node: Node, prefix: str, message: str, kind: str, input: Any, started: int, attempt: int = 1
    ) -> None:
        """Record a failed step, and go where its `on_error` says: on, into its handler, or up."""
        error = {"message": message, "kind": kind, "step": node.step.id}
        self.record(node, prefix, "failed", input, None, None, started, attempt, error=error, result=False)
        self.handle(node, prefix, error)

    def timed_out(self, node: Node, prefix: str, input: Any, since: int) -> None:
        """Take the `else` of a wait that nothing answered; without one the run stops as skipped."""
        what = "nobody answered" if isinstance(node.step, Ask) else "it did not happen"
        self.record(node, prefix, "skipped", input, None, f"{what} in time", since, result=False)
        otherwise = next((block for block in node.blocks if block.role == "branch"), None)
        if otherwise is not None:
            self.enter(otherwise, prefix)
        else:
            self.end(End("skipped", f"{node.step.id}: {what} in time"))

    def end(self, end: End) -> None:
        """End the run; everything else in it is over."""
        self._moves.clear()
        self.change.jobs.clear()
        self.change.end = end


def _shape(value: Any) -> str:
    names = {dict: "an object", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "nothing" if value is None else names.get(type(value), "something else")


def ended(outcome: Outcome) -> Change:
    """Return the change of a run that ends before its first step."""
    change = Change()
    match outcome:
        case Ended():
            change.end = End(outcome.state, outcome.reason)
        case Failed():
            change.end = End("failed", outcome.message)
        case _:
            raise TypeError(f"{type(outcome).__name__} does not end a run")
    return change
