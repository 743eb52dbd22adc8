"""How the steps are read that reach outside or wait: operations, `wait`, `wait_for`, `ask`, `call`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from areabox.areas import calls, durations, model
from areabox.areas.fields import EMPTY, SLUG, Fields
from areabox.areas.scope import Scope
from areabox.areas.template import has_template, value
from areabox.errors import InputError

if TYPE_CHECKING:
    from areabox.areas.step_reader import Common, StepReader

VIA_MAX = 10


def read_do(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    """Read an operation and its parameters."""
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
        connection=reader.connection(fields, operation),
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


def read_wait(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    """Read a wait for a while or until a time."""
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


def read_wait_for(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    """Read a wait for an action's event."""
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
    connection, every_ms = reader.connection(part, operation), reader.every(part, operation)
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


def _otherwise(reader: StepReader, fields: Fields, scope: Scope) -> tuple[model.AnyStep, ...] | None:
    if fields.data.get("else") is None:
        return None
    if fields.data.get("timeout") is None:
        fields.report("else", "else is for the timeout, and there is none", of_key=True)
    return reader.branch(fields, "else", scope)


def read_ask(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    """Read a question to a person."""
    part = Fields(reader.context, fields.object("ask"), fields.at("ask"))
    part.only(("question", "choices", "via"), {"message": "question", "text": "question", "options": "choices",
                                               "by": "via", "through": "via"})  # fmt: skip
    if not part.data.get("question"):
        part.missing("question", "what to ask")
    question, choices = part.value("question", scope), part.list("choices")
    if not 1 <= len(choices) <= 10:
        part.report("choices", "between 1 and 10 texts to choose from belong here")
    elif not all(isinstance(one, str) and 0 < len(one) <= 64 for one in choices):
        part.report("choices", "a choice is a text of at most 64 characters; put a number in quotes")
    elif len(set(choices)) < len(choices):
        part.report("choices", "a choice stands twice")
    part.kept["choices"] = choices
    via = _via(reader, part, scope)
    fields.kept["ask"] = part.kept
    return model.Ask(
        question=question,
        choices=tuple(map(str, choices)),
        via=via,
        timeout_ms=fields.duration("timeout", None),
        otherwise=_otherwise(reader, fields, scope),
        **common,
    )


def _via(reader: StepReader, part: Fields, scope: Scope) -> tuple[model.AnyStep, ...]:
    """Read the reactions that carry a question outside; they see `ask`, and nothing sees them."""
    if part.data.get("via") is None:
        return ()
    made, part.kept["via"] = reader.steps(part.data["via"], part.at("via"), scope.inside("ask"))
    for step in made:
        if not isinstance(step, model.Do):
            reader.context.report.add(step.pointer, "only operations that carry the question belong here")
    if len(made) > VIA_MAX:
        part.report("via", f"a question goes at most {VIA_MAX} ways")
    return made


def read_call(_reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    """Read the call of another area."""
    area = fields.text("call")
    if not SLUG.fullmatch(area):
        fields.report("call", "the id of an area belongs here: a-z, 0-9 and -, at most 64")
    with_ = value({})
    if fields.data.get("with") is not None:
        fields.object("with")
        with_ = fields.value("with", scope)
    return model.Call(area=area, with_=with_, **common)
