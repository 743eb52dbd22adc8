"""How the steps are read that set, keep or return values: `set`, `collect`, `once`, `return`, `stop`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from areabox.areas import model
from areabox.areas.fields import IDENTIFIER, Fields
from areabox.areas.scope import Scope
from areabox.areas.template import Value, value

if TYPE_CHECKING:
    from areabox.areas.step_reader import Common, StepReader

MAX_COLLECTED = 10_000


def read_set(_reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    """Read variables."""
    given = fields.object("set")
    if not given:
        fields.report("set", "at least one name and its value belong here")
    for name in given:
        if not IDENTIFIER.fullmatch(name):
            fields.report("set", f"{name[:64]!r} is not a name: letters, digits and _, and no digit first")
    return model.Set(vars=fields.value("set", scope), **common)


def read_collect(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    """Read a digest."""
    part = Fields(reader.context, fields.object("collect"), fields.at("collect"))
    part.only(("window", "at_most", "key"), {"for": "window", "max": "at_most", "by": "key"})
    if part.data.get("window") is None:
        part.missing("window", "how long to collect, such as 1h")
    step = model.Collect(
        window_ms=part.duration("window", 0),
        at_most=part.number("at_most", None, 1, MAX_COLLECTED),
        key=_key(part, scope),
        **common,
    )
    fields.kept["collect"] = part.kept
    return step


def _key(part: Fields, scope: Scope) -> Value:
    return value("") if part.data.get("key") is None else part.value("key", scope)


def read_once(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    """Read a guard against doing a thing twice."""
    part = Fields(reader.context, fields.object("once"), fields.at("once"))
    part.only(("key", "within"), {"for": "within", "window": "within"})
    if part.data.get("key") is None:
        part.missing("key", "what is the same when it is the same thing again")
    step = model.Once(key=_key(part, scope), within_ms=part.duration("within", None), **common)
    fields.kept["once"] = part.kept
    return step


def read_return(_reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    """Read a result."""
    return model.Return(value=fields.value("return", scope), **common)


def read_stop(_reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    """Read an end."""
    because = value("")
    if fields.data.get("because") is not None:
        fields.text("because", most=10_000)
        because = fields.value("because", scope)
    state = fields.choice("stop", ("done", "skipped", "failed"), "")
    if fields.data.get("stop") is None:
        fields.report("stop", "done, skipped or failed belongs here")
    return model.Stop(state=state, because=because, **common)
