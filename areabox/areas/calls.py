"""Whether the operation that a trigger or step names is there, and takes these parameters."""

from __future__ import annotations

from typing import Any

from areabox.areas.fields import Context, literals
from areabox.areas.nearest import did_you_mean
from areabox.areas.template import escaped
from areabox.areas.views import CatalogueView, OperationView
from areabox.errors import Problem


def find(catalogue: CatalogueView, kind: str, name: str, context: Context, pointer: str) -> OperationView | None:
    """Return the operation of a name; reports the nearest one where there is none."""
    found = catalogue.action(name) if kind == "action" else catalogue.reaction(name)
    if found is None:
        other = "reaction" if kind == "action" else "action"
        if (catalogue.reaction(name) if kind == "action" else catalogue.action(name)) is not None:
            why = f"{name} is {'a reaction' if other == 'reaction' else 'an action'}; "
            why += "it belongs under then" if other == "reaction" else "it belongs under when or wait_for"
        else:
            why = f"there is no {kind} {name[:80]}{did_you_mean(name, catalogue.names(kind))}"
        context.report.add(pointer, why, of_key=True)
    return found


def parameters(operation: OperationView, given: Any, context: Context, pointer: str) -> dict[str, Any]:
    """Return the parameters; reports those that are unknown, missing or wrong."""
    if given is None:
        given = {}
    if not isinstance(given, dict):
        what = f"the parameters of {operation.id} belong here, as keys and values"
        context.report.add(pointer, what + _such_as(operation))
        return {}
    if (newer := operation.upgraded(given)) != given:
        given.clear()  # in place, so that the document is kept as it is written today
        given.update(newer)
    known = operation.fields
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or (f"; it takes {', '.join(known)}" if known else "; it takes none")
            context.report.add(
                f"{pointer}/{escaped(name)}", f"{operation.id} takes no parameter {name[:64]}{hint}", of_key=True
            )
    for name, field in known.items():
        if field.required and name not in given:
            context.report.add(pointer, f"{operation.id} needs the parameter {name}", of_key=True)
    literal = {name: part for name, part in literals(given).items() if name in known}
    _mixed(operation, given, literal, context, pointer)
    whole = len(literal) == len(given) and all(name in given for name, field in known.items() if field.required)
    for problem in operation.check(literal):
        if _concerns(problem, literal, whole=whole):
            context.report.add(pointer + problem.pointer, problem.detail)
    return given


def _mixed(
    operation: OperationView, given: dict[str, Any], literal: dict[str, Any], context: Context, pointer: str
) -> None:
    """Report the parameters that hold templates and must not."""
    for name in given.keys() - literal.keys():
        if getattr(operation.fields.get(name), "fixed", False):
            why = f"{name} takes no template: it is never put together from data, which is given beside it"
            context.report.add(f"{pointer}/{escaped(name)}", why)


def _such_as(operation: OperationView) -> str:
    first = next((name for name, field in operation.fields.items() if field.required), next(iter(operation.fields), ""))
    return f", such as {{{first}: …}}" if first else ""


def _concerns(problem: Problem, literal: dict[str, Any], *, whole: bool) -> bool:
    """Return whether a problem is about what was given, not about what a template will give or was told already.

    `whole` says that all of it is known: nothing is a template, unknown or missing, so what is left out stays so.
    """
    first = problem.pointer.split("/")[1:2]
    return whole or (bool(first) and first[0].replace("~1", "/").replace("~0", "~") in literal)
