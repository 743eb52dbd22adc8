"""How a list of steps is read, and what all kinds of steps have.

A step is an object with one key that says what it does. `READERS` names the function for each kind; it returns the step
and leaves its normal form in `kept`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from areabox.areas import model, step_branches, step_calls, step_values
from areabox.areas.fields import Context, Fields, kind_of
from areabox.areas.nearest import did_you_mean
from areabox.areas.scope import Scope
from areabox.areas.template import escaped
from areabox.areas.views import CatalogueView, OperationView

KINDS = ("if", "choose", "each", "repeat", "parallel", "wait", "wait_for", "ask", "call", "set", "collect", "once",
         "return", "stop")  # fmt: skip
COMMON = ("id", "name", "if", "disabled", "on_error")
BESIDE: dict[str, tuple[str, ...]] = {
    "do": ("connection", "retry", "timeout"),
    "if": ("then", "else"),
    "choose": ("else",),
    "each": ("as", "at_once", "then"),
    "repeat": ("then",),
    "parallel": ("join",),
    "wait_for": ("timeout", "else"),
    "ask": ("timeout", "else"),
    "call": ("with",),
    "stop": ("because",),
}
_ORDER = ("id", "name", "if", "disabled", "connection", "retry", "timeout", "as", "at_once", "join", "with", "because",
          "then", "else", "on_error")  # fmt: skip
_OTHERS = {"delay": "wait", "sleep": "wait", "for_each": "each", "foreach": "each", "for": "each", "loop": "repeat",
           "switch": "choose", "vars": "set", "variables": "set", "condition": "if", "do": "then", "steps": "then",
           "continue_on_error": "on_error", "elif": "choose", "sequence": "then", "wait_until": "wait"}  # fmt: skip
TRIGGER_KEYS = ("id", "connection", "every", "missed", "if")
Branch = tuple[model.AnyStep, ...]
Common = dict[str, Any]


class StepReader:
    """Reads lists of steps."""

    def __init__(self, context: Context, catalogue: CatalogueView) -> None:
        self.context, self.catalogue = context, catalogue

    def steps(self, data: Any, pointer: str, scope: Scope) -> tuple[Branch, list[Any]]:
        """Return the steps of a list and their normal form; each sees those before it."""
        made, forms = [], []
        if not isinstance(data, list):
            self.context.report.add(pointer, f"a list of steps belongs here, not {kind_of(data)}")
            return (), []
        for index, entry in enumerate(data):
            step = self._step(entry, f"{pointer}/{index}", scope)
            if step is not None:
                made.append(step[0])
                forms.append(step[1])
                scope.ids.add(step[0].id)
        return tuple(made), forms

    def branch(self, fields: Fields, key: str, scope: Scope) -> Branch:
        """Return the steps under a key, if any; what they know is known afterwards."""
        if fields.data.get(key) is None:
            return ()
        inside = scope.inside()
        made, fields.kept[key] = self.steps(fields.data[key], fields.at(key), inside)
        fields.learned |= inside.ids
        return made

    def _step(self, data: Any, pointer: str, scope: Scope) -> tuple[model.AnyStep, dict[str, Any]] | None:
        if not isinstance(data, dict):
            hint = f"; write {data[:64]}: and what it needs" if isinstance(data, str) and _names_a_step(data) else ""
            self.context.report.add(pointer, f"a step belongs here, not {kind_of(data)}{hint}")
            return None
        fields = Fields(self.context, data, pointer)
        kind = self._kind(fields)
        if kind is None:
            return None
        reader = "do" if "." in kind else kind
        fields.only((kind, *COMMON, *BESIDE.get(reader, ())), _OTHERS)
        common = self._common(fields, kind, scope)
        step = READERS[reader](self, fields, scope, common)
        scope.ids |= fields.learned
        kept = fields.kept
        order = [kind, *(key for key in _ORDER if key != kind)]
        return step, {key: kept[key] for key in order if key in kept}

    def _kind(self, fields: Fields) -> str | None:
        found = [key for key in fields.data if "." in key or (key in KINDS and key != "if")]
        if len(found) == 1:
            return found[0]
        if found:
            fields.report(found[1], f"a step does one thing, not both {found[0]} and {found[1]}", of_key=True)
            return None
        if "if" in fields.data:
            return "if"
        unknown = [key for key in fields.data if key not in (*COMMON, *_ORDER)]
        for key in unknown:
            if names := [name for name in self.catalogue.names("reaction") if name.startswith(f"{key}.")]:
                fields.report(key, f"{key} is a service; say what it is to do: {', '.join(names[:8])}", of_key=True)
                return None
        fields.only((*COMMON, *_ORDER, *KINDS), _OTHERS)
        if not unknown:
            self.context.report.add(
                fields.pointer, "the step does nothing: give it an operation, or one of " + ", ".join(KINDS)
            )
        return None

    def _common(self, fields: Fields, kind: str, scope: Scope) -> Common:
        fields.kept["id"] = self.context.steps.ids[fields.pointer]
        common: Common = {"pointer": fields.pointer, "id": fields.identifier("id", "") or fields.kept["id"]}
        first = self.context.steps.by_id[fields.kept["id"]]
        if first != fields.pointer:
            fields.report("id", f"{fields.kept['id']} is the id of another step: {first}")
        common["name"] = fields.text("name")
        common["disabled"] = fields.flag("disabled", default=False)
        if kind != "if":
            common["guard"] = fields.expression("if", scope)
        common["on_error"] = self._on_error(fields, scope)
        return common

    def _on_error(self, fields: Fields, scope: Scope) -> Branch | None:
        given = fields.data.get("on_error")
        if isinstance(given, list):
            inside = scope.inside("error")
            made, fields.kept["on_error"] = self.steps(given, fields.at("on_error"), inside)
            fields.learned |= inside.ids
            return made
        chosen = fields.choice("on_error", ("stop", "continue"), "stop")
        return () if chosen == "continue" else None

    def action(self, data: dict[str, Any], pointer: str) -> tuple[str, Any, str] | None:
        """Return the one action that an object names, with its parameters and their pointer."""
        found = [key for key in data if "." in key]
        if len(found) != 1:
            what = f"one action belongs here, not both {found[0]} and {found[1]}" if found else (
                "an action belongs here, such as webhook.received")  # fmt: skip
            unknown = next((key for key in data if "." not in key and key not in TRIGGER_KEYS), "")
            self.context.report.add(pointer, what + did_you_mean(unknown, self.catalogue.names("action")))
            return None
        return found[0], data[found[0]], f"{pointer}/{escaped(found[0])}"

    def every(self, part: Fields, operation: OperationView | None) -> int | None:
        """Return how often a polled action is asked; reports where the action is not polled."""
        every: int | None = part.duration("every", None)
        if every is not None and operation is not None and operation.kind != "poll":
            part.report("every", f"{operation.id} is not polled, so it takes no every", of_key=True)
        return every

    def connection(self, fields: Fields, operation: OperationView | None) -> str | None:
        """Return the name of the connection; reports where the operation takes none."""
        given = fields.text("connection", most=64) or None
        if given and operation is not None and not operation.takes_connection:
            fields.report("connection", f"{operation.id} works without a connection")
        return given


def _names_a_step(text: str) -> bool:
    return " " not in text and ("." in text or text in KINDS)


READERS: dict[str, Callable[[StepReader, Fields, Scope, Common], model.AnyStep]] = {
    "do": step_calls.read_do,
    "if": step_branches.read_if,
    "choose": step_branches.read_choose,
    "each": step_branches.read_each,
    "repeat": step_branches.read_repeat,
    "parallel": step_branches.read_parallel,
    "wait": step_calls.read_wait,
    "wait_for": step_calls.read_wait_for,
    "ask": step_calls.read_ask,
    "call": step_calls.read_call,
    "set": step_values.read_set,
    "collect": step_values.read_collect,
    "once": step_values.read_once,
    "return": step_values.read_return,
    "stop": step_values.read_stop,
}
