"""Where branches and iterations come together: leaving a block, counting, merging `vars`, and errors going up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from areabox.areas.model import Each, Parallel, Repeat
from areabox.areas.outline import Block, Node
from areabox.areas.state import Change, End, RunState, Scope
from areabox.areas.template import EvaluationError
from areabox.areas.view import View
from areabox.errors import InputError


class Joins(ABC):
    """The half of a walk that deals with loops, branches and handlers."""

    run: RunState
    now: int
    change: Change
    view: View

    @abstractmethod
    def enter(self, block: Block, prefix: str) -> None:
        """Go to the first step of a block, or past an empty one."""

    @abstractmethod
    def next(self, node: Node, prefix: str) -> None:
        """Go to the step after this one, or out of its block."""

    @abstractmethod
    def end(self, end: End) -> None:
        """End the run."""

    @abstractmethod
    def later(self, move: Callable[[Node, str], None], node: Node, prefix: str) -> None:
        """Note a move."""

    @abstractmethod
    def forget(self, prefix: str) -> None:
        """Drop the moves still noted below `prefix`."""

    @abstractmethod
    def failed(
        self, node: Node, prefix: str, message: str, kind: str, input: Any, started: int, attempt: int = 1
    ) -> None:
        """Record a failed step and go where its `on_error` says."""

    @abstractmethod
    def record(
        self, node: Node, prefix: str, state: str, input: Any, output: Any, note: str | None, started: int,
        attempt: int = 1, *, error: dict[str, Any] | None = None, result: bool = True,
    ) -> None:  # fmt: skip
        """Write the end of a step into the journal."""

    # --- out of a block -------------------------------------------------------------------------------------------

    def leave(self, block: Block, prefix: str) -> None:
        """Go on behind the block whose last step has ended."""
        node = block.parent
        if node is None:
            self.end(End("done"))
            return
        if block.role == "branch":
            self.next(node, prefix)
        elif block.role == "handler":
            self._close(prefix + node.step.id)
            self.next(node, prefix)
        elif block.role != "via":  # a question that went out is answered at its own step
            outer, index = _out(prefix)
            self._joined(node, outer, index)

    def _joined(self, node: Node, prefix: str, index: int) -> None:
        path = prefix + node.step.id
        scope = self.view.scope(path)
        if scope is None:
            return
        scope = self.change.scopes[path] = replace(scope, got=scope.got + 1)
        match node.step:
            case Repeat():
                self._round(node.step, node, prefix, scope)
            case Parallel(join="any"):
                self._merge(path, [index])
                self.cancel(path)
                self._finish(node, prefix, scope, None, result=False)
            case Parallel() if scope.got == scope.need:
                self._merge(path, range(scope.need))
                self._finish(node, prefix, scope, None, result=False)
            case Each() if scope.got == scope.need:
                if node.parts:
                    self._merge(path, range(scope.need))
                self._finish(node, prefix, scope, self._results(node, path, scope.need))
            case Each() if scope.next < scope.need:
                self.change.scopes[path] = replace(scope, next=scope.next + 1)
                self.later(self._enter_part, node, f"{path}.{scope.next}.")

    def _results(self, node: Node, path: str, count: int) -> list[Any]:
        last = node.blocks[0].last
        if last is None:
            return [None] * count
        paths = (f"{path}.{i}.{last.step.id}" for i in range(count))
        changed, known = self.change.results, self.run.results
        return [changed[p] if p in changed else known.get(p) for p in paths]

    def _finish(self, node: Node, prefix: str, scope: Scope, output: Any, *, result: bool = True) -> None:
        self._close(prefix + node.step.id)
        seen = {"items": scope.need} if isinstance(node.step, Each) else None
        self.record(node, prefix, "done", seen, output, None, scope.started, result=result)
        self.next(node, prefix)

    # --- into loops and branches ----------------------------------------------------------------------------------

    def fork(self, node: Node, prefix: str, need: int, items: list[Any] | None, at_once: int) -> None:
        """Open a loop or parallel of `need` parts, and start the first `at_once` of them."""
        path, each = prefix + node.step.id, isinstance(node.step, Each)
        first = min(at_once, need)
        scope = Scope("each" if each else "parallel", self.now, need, first if each else 0, 0, items)
        self.change.scopes[path] = scope
        if need == 0:
            self._finish(node, prefix, scope, [] if each else None, result=each)
        for index in range(first):
            self.later(self._enter_part, node, f"{path}.{index}.")

    def _enter_part(self, node: Node, prefix: str) -> None:
        _, index = _out(prefix)
        self.enter(node.blocks[index if isinstance(node.step, Parallel) else 0], prefix)

    def repeat(self, step: Repeat, node: Node, prefix: str) -> None:
        """Open a `repeat`, unless its `while` is false from the start."""
        path = prefix + node.step.id
        scope = self.change.scopes[path] = Scope("repeat", self.now, step.at_most)
        if step.until:
            self.later(self._enter_part, node, f"{path}.0.")
        else:
            self._round(step, node, prefix, scope)

    def _round(self, step: Repeat, node: Node, prefix: str, scope: Scope) -> None:
        path = prefix + node.step.id
        try:
            holds = self._holds(step, node, prefix, scope.got)
        except (EvaluationError, InputError) as error:
            self._close(path)
            self.failed(node, prefix, str(error), "expression", None, scope.started)
            return
        finished = holds if step.until else not holds
        if finished or scope.got >= step.at_most:
            self._finish(node, prefix, scope, {"count": scope.got, "exhausted": not finished})
        else:
            self.later(self._enter_part, node, f"{path}.{scope.got}.")

    def _holds(self, step: Repeat, node: Node, prefix: str, done: int) -> bool:
        """Ask after so many rounds; the test sees what the last one did, and `while` the number of the one to come."""
        inside, index = node.blocks[0].last, done - 1 if step.until else done
        if done and inside is not None:
            return self.view.truth(step.test, inside, f"{prefix}{node.step.id}.{done - 1}.", index=index)
        return self.view.truth(step.test, node, prefix, index=index)

    # --- errors ---------------------------------------------------------------------------------------------------

    def handle(self, node: Node, prefix: str, error: dict[str, Any]) -> None:
        """Go where a failed step's `on_error` says: on, into its handler, or up."""
        if node.step.on_error is None:
            self._raise(node.block, prefix, error)
        elif node.handler is None:
            self.next(node, prefix)
        else:
            self.change.scopes[prefix + node.step.id] = Scope("handler", self.now, error=error)
            self.enter(node.handler, prefix)

    def _raise(self, block: Block, prefix: str, error: dict[str, Any]) -> None:
        node = block.parent
        if node is None:
            self.end(End("failed", f"{error['step']}: {error['message']}"))
        elif block.role == "branch":
            self.handle(node, prefix, error)
        elif block.role == "handler":
            self._close(prefix + node.step.id)
            self._raise(node.block, prefix, error)
        elif block.role != "via":  # a way that failed takes nothing from the question
            outer, _ = _out(prefix)
            self._part_failed(node, outer, error)

    def _part_failed(self, node: Node, prefix: str, error: dict[str, Any]) -> None:
        path = prefix + node.step.id
        scope = self.view.scope(path)
        if scope is None:
            return
        if isinstance(node.step, Parallel) and node.step.join == "any" and scope.next + 1 < scope.need:
            self.change.scopes[path] = replace(scope, next=scope.next + 1)
            return
        self.cancel(path)
        self._close(path)
        self.record(node, prefix, "failed", None, None, None, scope.started, error=error, result=False)
        self.handle(node, prefix, error)

    # --- ends -----------------------------------------------------------------------------------------------------

    def cancel(self, path: str) -> None:
        """Cancel everything that is still under way inside a loop or parallel."""
        inside = path + "."
        self.forget(inside)
        change = self.change
        change.jobs = [job for job in change.jobs if not job.path.startswith(inside)]
        change.cancelled.append(inside)
        for open_path in {*self.run.scopes, *change.scopes}:
            if open_path.startswith(inside):
                self._close(open_path)

    def _close(self, path: str) -> None:
        scope, change = self.view.scope(path), self.change
        change.scopes[path] = None
        if scope is None or not self.run.outline.locate(path)[0].parts:
            return
        for index in range(scope.need):
            layer = f"{path}.{index}"
            if layer in self.run.layers or layer in change.layers:
                change.layers[layer] = None

    def _merge(self, path: str, parts: Any) -> None:
        merged: dict[str, Any] = {}
        for index in parts:
            merged.update(self.view.layer(f"{path}.{index}"))
        if merged:
            node, prefix = self.run.outline.locate(path)
            self.view.assign(node, prefix, merged)


def _out(prefix: str) -> tuple[str, int]:
    """Split the prefix inside a part into the prefix of its loop or parallel and the part's number."""
    outer, _, index = prefix[:-1].rpartition(".")
    return outer[: outer.rfind(".") + 1], int(index)
