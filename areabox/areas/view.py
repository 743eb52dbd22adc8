"""What an expression sees at one place of a run: the names of contract.md, with the walk's own changes on top."""

from __future__ import annotations

from typing import Any

from areabox.areas.model import Ask, Each, Repeat
from areabox.areas.moments import Moment
from areabox.areas.outline import Node
from areabox.areas.state import Change, RunState, Scope, Steps, instant
from areabox.areas.template import Expression, Value


class View:
    """A run seen from inside: `evaluate` and `render` at a step, and `assign` for `vars`."""

    def __init__(self, run: RunState, change: Change, now: int) -> None:
        self._run, self._change, self._now = run, change, now

    def truth(self, expression: Expression, node: Node, prefix: str, **more: Any) -> bool:
        """Return whether an expression is true at a step, with `more` names."""
        return bool(expression.evaluate({**self.names(node, prefix), **more}))

    def evaluate(self, expression: Expression, node: Node, prefix: str) -> Any:
        """Return the value of an expression at a step."""
        return expression.evaluate(self.names(node, prefix))

    def render(self, value: Value, node: Node, prefix: str) -> Any:
        """Return a value with its templates filled in at a step."""
        return value.source if value.literal else value.render(self.names(node, prefix))

    def time(self, ms: int) -> str:
        """Return a time as the run shows it."""
        return instant(ms)

    def names(self, node: Node, prefix: str) -> dict[str, Any]:
        """Return every name that an expression may use at a step."""
        names = base_names(self._run, self._now)
        names["steps"] = Steps(self._run.outline, prefix, self._change.results, self._run.results)
        names["vars"] = self.vars(node, prefix)
        parts = prefix.split(".")
        for depth, frame in enumerate(node.frames):
            self._loop_names(names, frame, parts, depth)
        self._error_name(names, node, prefix)
        self._ask_name(names, node, prefix)
        return names

    def _loop_names(self, names: dict[str, Any], frame: Node, parts: list[str], depth: int) -> None:
        index = int(parts[depth * 2 + 1])
        if isinstance(frame.step, Each):
            scope = self.scope(".".join(parts[: depth * 2 + 1]))
            names["index"] = index
            if scope is not None and scope.items is not None:
                names[frame.step.name_of_item] = scope.items[index]
        elif isinstance(frame.step, Repeat):
            names["index"] = index

    def _error_name(self, names: dict[str, Any], node: Node, prefix: str) -> None:
        block = node.block
        while block.parent is not None:
            if block.role == "handler":
                parts = prefix.split(".")[: len(block.parent.frames) * 2]
                scope = self.scope(".".join((*parts, block.parent.step.id)))
                if scope is not None:
                    names["error"] = scope.error
                return
            block = block.parent.block

    def _ask_name(self, names: dict[str, Any], node: Node, prefix: str) -> None:
        """Let the ways of a question see it, and where its answers go."""
        frame = node.frames[-1] if node.frames else None
        if frame is None or not isinstance(frame.step, Ask):
            return
        outer = "".join(f"{part}." for part in prefix.split(".")[: len(frame.frames) * 2])
        url = self._run.ask_url(outer + frame.step.id)
        token = url.rpartition("/")[2]
        choices = [
            {"choice": choice, "url": f"{url}/{number}", "data": f"{token}/{number}"}
            for number, choice in enumerate(frame.step.choices, 1)
        ]
        names["ask"] = {"question": self.render(frame.step.question, frame, outer), "choices": choices, "url": url}

    def scope(self, path: str) -> Scope | None:
        """Return the open loop, parallel or handler at a path."""
        changed = self._change.scopes
        return changed[path] if path in changed else self._run.scopes.get(path)

    def layer(self, path: str) -> dict[str, Any]:
        """Return the `vars` that were set in one branch or concurrent iteration."""
        changed = self._change.layers
        found = changed[path] if path in changed else self._run.layers.get(path)
        return found or {}

    def vars(self, node: Node, prefix: str) -> dict[str, Any]:
        """Return `vars` at a step: the outermost layer, with those of the branches around the step on top."""
        merged = self._run.vars if self._change.vars is None else self._change.vars
        for path in _layer_paths(node, prefix):
            if layer := self.layer(path):
                merged = {**merged, **layer}
        return merged

    def assign(self, node: Node, prefix: str, values: dict[str, Any]) -> None:
        """Set `vars` in the layer of the innermost branch around a step."""
        paths = _layer_paths(node, prefix)
        if paths:
            self._change.layers[paths[-1]] = {**self.layer(paths[-1]), **values}
        else:
            base = self._run.vars if self._change.vars is None else self._change.vars
            self._change.vars = {**base, **values}


def base_names(run: RunState, now: int) -> dict[str, Any]:
    """Return the names that are the same everywhere in a run."""
    return {
        "trigger": run.trigger,
        "steps": {},
        "vars": {},
        "run": run.facts,
        "area": {"id": run.slug, "name": run.outline.program.name},
        "now": Moment(now, run.zone),
    }


def _layer_paths(node: Node, prefix: str) -> list[str]:
    parts = prefix.split(".")
    return [".".join(parts[: depth * 2 + 2]) for depth, frame in enumerate(node.frames) if frame.parts]
