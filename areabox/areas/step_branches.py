"""How the steps are read that hold other steps: `if`, `choose`, `each`, `repeat`, `parallel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from areabox.areas import model
from areabox.areas.fields import NOTHING, Fields
from areabox.areas.scope import Scope

if TYPE_CHECKING:
    from areabox.areas.step_reader import Common, StepReader

MAX_ITERATIONS = 10_000
MAX_BRANCHES = 100
_REPEATS = 1_000


def read_if(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    """Read a branch."""
    test = fields.expression("if", scope) or NOTHING
    then = reader.branch(fields, "then", scope)
    if "then" not in fields.data and "else" not in fields.data:
        fields.missing("then", "the steps to take if it is true")
    return model.If(test=test, then=then, otherwise=reader.branch(fields, "else", scope), **common)


def read_choose(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    """Read the first true one of several branches."""
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


def read_each(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    """Read a loop over a list."""
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


def read_repeat(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    """Read a loop until or while a test is true."""
    part = Fields(reader.context, fields.object("repeat"), fields.at("repeat"))
    part.only(("until", "while", "at_most"), {"times": "at_most", "count": "at_most", "max": "at_most"})
    if len({"until", "while"} & set(part.data)) != 1:
        part.missing("until or while", "one of them says how long it goes on")
    after = scope.inside("index", ids=reader.context.steps.under(fields.pointer))
    key = "until" if "until" in part.data else "while"
    test = part.expression(key, after) or NOTHING
    at_most = part.number("at_most", _REPEATS, 1, MAX_ITERATIONS)
    if "then" not in fields.data:
        fields.missing("then", "the steps to repeat")
    inside = scope.inside("index")
    then, fields.kept["then"] = reader.steps(fields.data.get("then") or [], fields.at("then"), inside)
    fields.kept["repeat"] = part.kept
    return model.Repeat(test=test, until=key == "until", at_most=at_most, then=then, **common)


def read_parallel(reader: StepReader, fields: Fields, scope: Scope, common: Common) -> model.AnyStep:
    """Read branches that run side by side."""
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
