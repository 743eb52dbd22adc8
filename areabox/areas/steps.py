"""What does each kind of step look like in a document, and what does it become?

A step is an object with one key that says what it does; `_READERS` has a function for each. They return the step and
leave its normal form in `kept`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from areabox.areas import calls, durations, model
from areabox.areas.fields import EMPTY, IDENTIFIER, NOTHING, SLUG, Context, Fields, has_template, kind_of
from areabox.areas.nearest import did_you_mean
from areabox.areas.scope import Scope
from areabox.areas.template import Value, escaped, value
from areabox.areas.views import CatalogueView
from areabox.errors import InputError

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
MAX_ITERATIONS = 10_000
MAX_BRANCHES = 100
_REPEATS = 1_000
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
            self.context.report.add(pointer, f"a step belongs here, not {kind_of(data)}")
            return None
        fields = Fields(self.context, data, pointer)
        kind = self._kind(fields)
        if kind is None:
            return None
        reader = "do" if "." in kind else kind
        fields.only((kind, *COMMON, *BESIDE.get(reader, ())), _OTHERS)
        common = self._common(fields, kind, scope)
        step = _READERS[reader](self, fields, scope, common)
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
            unknown = next((key for key in data if "." not in key and key not in _TRIGGER_KEYS), "")
            self.context.report.add(pointer, what + did_you_mean(unknown, self.catalogue.names("action")))
            return None
        return found[0], data[found[0]], f"{pointer}/{escaped(found[0])}"


_TRIGGER_KEYS = ("id", "connection", "every", "missed", "if")


def _connection(fields: Fields, operation: Any) -> str | None:
    given = fields.text("connection", most=64) or None
    if given and operation is not None and not operation.needs_connection:
        fields.report("connection", f"{operation.id} works without a connection")
    return given


def _do(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    name = next(key for key in fields.data if "." in key)
    operation = calls.find(reader.catalogue, "reaction", name, reader.context, fields.at(name))
    if operation is not None:
        calls.parameters(operation, fields.data[name], reader.context, fields.at(name))
    params = fields.value(name, scope)
    if params.source is None:
        params = value({})
    fields.kept[name] = params.source
    return model.Do(
        reaction=name,
        params=params,
        connection=_connection(fields, operation),
        retry=_retry(reader, fields),
        timeout_ms=fields.duration("timeout", 30_000),
        **common,
    )


def _retry(reader: StepReader, fields: Fields) -> model.Retry:
    part = Fields(reader.context, fields.object("retry"), fields.at("retry"))
    part.only(("attempts", "first", "max"), {"max_attempts": "attempts", "times": "attempts", "delay": "first"})
    retry = model.Retry(
        attempts=part.number("attempts", 5, 1, 100),
        first_ms=part.duration("first", 10_000),
        max_ms=part.duration("max", 3_600_000),
    )
    if part.kept:
        fields.kept["retry"] = part.kept
    return retry


def _if(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    test = fields.expression("if", scope) or NOTHING
    then = reader.branch(fields, "then", scope)
    if "then" not in fields.data and "else" not in fields.data:
        fields.missing("then", "the steps to take if it is true")
    return model.If(test=test, then=then, otherwise=reader.branch(fields, "else", scope), **common)


def _choose(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    options, forms = [], []
    for index, entry in enumerate(fields.list("choose")):
        place = f"{fields.at('choose')}/{index}"
        if not isinstance(entry, dict):
            reader.context.report.add(place, "an if and its then belong here")
            continue
        part = Fields(reader.context, entry, place)
        part.only(("if", "then"), {"when": "if", "condition": "if", "do": "then"})
        for key in ("if", "then"):
            if key not in entry:
                part.missing(key, "a choice has an if and a then")
        test = part.expression("if", scope) or NOTHING
        options.append(model.Option(test, reader.branch(part, "then", scope)))
        fields.learned |= part.learned
        forms.append({key: part.kept[key] for key in ("if", "then") if key in part.kept})
    if not options:
        fields.report("choose", "at least one choice belongs here")
    fields.kept["choose"] = forms
    return model.Choose(options=tuple(options), otherwise=reader.branch(fields, "else", scope), **common)


def _each(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    items = fields.expression("each", scope) or NOTHING
    name = fields.identifier("as", "item")
    if name in scope.names and name != "item":
        fields.report("as", f"{name} is taken; choose another name")
    at_once = fields.number("at_once", 1, 1, 100)
    if "then" not in fields.data:
        fields.missing("then", "the steps to take for each")
    inside = scope.inside(name, "index")
    then, fields.kept["then"] = reader.steps(fields.data.get("then") or [], fields.at("then"), inside)
    return model.Each(items=items, name_of_item=name, at_once=at_once, then=then, **common)


def _repeat(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    part = Fields(reader.context, fields.object("repeat"), fields.at("repeat"))
    part.only(("until", "while", "at_most"), {"times": "at_most", "count": "at_most", "max": "at_most"})
    if len({"until", "while"} & set(part.data)) != 1:
        part.missing("until or while", "one of them says how long it goes on")
    inside = scope.inside("index", ids=reader.context.steps.under(fields.pointer))
    key = "until" if "until" in part.data else "while"
    test = part.expression(key, inside) or NOTHING
    at_most = part.number("at_most", _REPEATS, 1, MAX_ITERATIONS)
    if "then" not in fields.data:
        fields.missing("then", "the steps to repeat")
    then, fields.kept["then"] = reader.steps(fields.data.get("then") or [], fields.at("then"), inside)
    fields.kept["repeat"] = part.kept
    return model.Repeat(test=test, until=key == "until", at_most=at_most, then=then, **common)


def _parallel(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    given, branches, forms = fields.list("parallel"), [], []
    if not 1 <= len(given) <= MAX_BRANCHES:
        fields.report("parallel", f"between 1 and {MAX_BRANCHES} lists of steps belong here")
    for index, entry in enumerate(given):
        inside = scope.inside()
        made, form = reader.steps(entry, f"{fields.at('parallel')}/{index}", inside)
        branches.append(made)
        forms.append(form)
        fields.learned |= inside.ids
    fields.kept["parallel"] = forms
    join = fields.choice("join", ("all", "any"), "all")
    return model.Parallel(branches=tuple(branches), join=join, **common)


def _wait(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    given = fields.data["wait"]
    if not isinstance(given, dict):
        if not has_template(given):
            fields.duration("wait", None, zero=True)
            if given is None:
                fields.report("wait", "a duration such as 10m belongs here, or until: and a time")
        return model.Wait(for_=fields.value("wait", scope), **common)
    part = Fields(reader.context, given, fields.at("wait"))
    part.only(("until",))
    until = part.value("until", scope)
    if until.literal:
        _check_time(part, "until")
    fields.kept["wait"] = part.kept
    return model.Wait(until=until, **common)


def _check_time(part: Fields, key: str) -> None:
    try:
        durations.parse_time(str(part.data.get(key)))
    except InputError as error:
        part.report(key, str(error))


def _wait_for(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    data = fields.object("wait_for")
    part = Fields(reader.context, data, fields.at("wait_for"))
    named = reader.action(data, part.pointer)
    action, params, operation = "", EMPTY, None
    if named is not None:
        action = named[0]
        part.only((action, "if", "connection", "every"))
        operation = calls.find(reader.catalogue, "action", action, reader.context, named[2])
        if operation is not None:
            calls.parameters(operation, named[1], reader.context, named[2])
        params = part.value(action, scope)
        params = value({}) if params.source is None else params
    part.kept = {action: params.source} | {key: kept for key, kept in part.kept.items() if key != action}
    test = part.expression("if", scope.inside("event"))
    connection, every_ms = _connection(part, operation), poll_interval(part, operation)
    fields.kept["wait_for"] = part.kept
    return model.WaitFor(
        action=action,
        params=params,
        connection=connection,
        every_ms=every_ms,
        test=test,
        timeout_ms=fields.duration("timeout", None),
        otherwise=_otherwise(reader, fields, scope),
        **common,
    )


def poll_interval(part: Fields, operation: Any) -> int | None:
    """Return how often a polled action is asked; reports where the action is not polled."""
    every: int | None = part.duration("every", None)
    if every is not None and operation is not None and operation.kind != "poll":
        part.report("every", f"{operation.id} is not polled, so it takes no every", of_key=True)
    return every


def _otherwise(reader: StepReader, fields: Fields, scope: Scope) -> Branch | None:
    if fields.data.get("else") is None:
        return None
    if fields.data.get("timeout") is None:
        fields.report("else", "else is for the timeout, and there is none", of_key=True)
    return reader.branch(fields, "else", scope)


def _ask(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    part = Fields(reader.context, fields.object("ask"), fields.at("ask"))
    part.only(("question", "choices"), {"message": "question", "text": "question", "options": "choices"})
    if not part.data.get("question"):
        part.missing("question", "what to ask")
    question, choices = part.value("question", scope), part.list("choices")
    if not 1 <= len(choices) <= 10 or not all(isinstance(one, str) and 0 < len(one) <= 64 for one in choices):
        part.report("choices", "between 1 and 10 texts to choose from belong here")
    elif len(set(choices)) < len(choices):
        part.report("choices", "a choice stands twice")
    part.kept["choices"] = choices
    fields.kept["ask"] = part.kept
    return model.Ask(
        question=question,
        choices=tuple(map(str, choices)),
        timeout_ms=fields.duration("timeout", None),
        otherwise=_otherwise(reader, fields, scope),
        **common,
    )


def _call(_reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    area = fields.text("call")
    if not SLUG.fullmatch(area):
        fields.report("call", "the id of an area belongs here: a-z, 0-9 and -, at most 64")
    with_ = value({})
    if fields.data.get("with") is not None:
        fields.object("with")
        with_ = fields.value("with", scope)
    return model.Call(area=area, with_=with_, **common)


def _set(_reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    given = fields.object("set")
    if not given:
        fields.report("set", "at least one name and its value belong here")
    for name in given:
        if not IDENTIFIER.fullmatch(name):
            fields.report("set", f"{name[:64]!r} is not a name: letters, digits and _, and no digit first")
    return model.Set(vars=fields.value("set", scope), **common)


def _collect(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    part = Fields(reader.context, fields.object("collect"), fields.at("collect"))
    part.only(("window", "at_most", "key"), {"for": "window", "max": "at_most", "by": "key"})
    if part.data.get("window") is None:
        part.missing("window", "how long to collect, such as 1h")
    step = model.Collect(
        window_ms=part.duration("window", 0),
        at_most=part.number("at_most", None, 1, MAX_ITERATIONS),
        key=_key(part, scope),
        **common,
    )
    fields.kept["collect"] = part.kept
    return step


def _key(part: Fields, scope: Scope) -> Value:
    return value("") if part.data.get("key") is None else part.value("key", scope)


def _once(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    part = Fields(reader.context, fields.object("once"), fields.at("once"))
    part.only(("key", "within"), {"for": "within", "window": "within"})
    if part.data.get("key") is None:
        part.missing("key", "what is the same when it is the same thing again")
    step = model.Once(key=_key(part, scope), within_ms=part.duration("within", None), **common)
    fields.kept["once"] = part.kept
    return step


def _return(_reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    return model.Return(value=fields.value("return", scope), **common)


def _stop(_reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    because = value("")
    if fields.data.get("because") is not None:
        fields.text("because", most=10_000)
        because = fields.value("because", scope)
    state = fields.choice("stop", ("done", "skipped", "failed"), "")
    if fields.data.get("stop") is None:
        fields.report("stop", "done, skipped or failed belongs here")
    return model.Stop(state=state, because=because, **common)


_READERS: dict[str, Callable[[StepReader, Fields, Scope, Common], model.AnyStep]] = {
    "do": _do,
    "if": _if,
    "choose": _choose,
    "each": _each,
    "repeat": _repeat,
    "parallel": _parallel,
    "wait": _wait,
    "wait_for": _wait_for,
    "ask": _ask,
    "call": _call,
    "set": _set,
    "collect": _collect,
    "once": _once,
    "return": _return,
    "stop": _stop,
}
