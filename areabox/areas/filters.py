"""Which filters there are, and how `map`, `select` and their like use the others."""

# ruff: noqa: FBT002 -- the arguments, and their order, are those of Jinja's filters
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import nodes as jinja

from areabox.areas import filters_data, filters_lists, filters_text, questions
from areabox.areas.budget import Budget, EvaluationError, Undefined
from areabox.areas.filters_lists import getter
from areabox.areas.nearest import did_you_mean
from areabox.areas.operators import pick
from areabox.areas.values import sequence, truth

FORGIVING = frozenset(("default", "d"))  # they take undefined


def default(value: Any, _budget: Budget, default_value: Any = "", boolean: Any = False) -> Any:
    """Return the value, or the default where it is undefined; with `true`, also where it counts as false."""
    if value.__class__ is Undefined or (boolean and not truth(value)):
        return default_value
    return value


def mapped(value: Any, budget: Budget, *args: Any, attribute: Any = None, default: Any = None, **named: Any) -> Any:
    """Return every item's attribute, or every item through a filter."""
    items = sequence(value, budget)
    if attribute is not None:
        get = getter(attribute, default)
        budget.take(2 * len(items))
        return [get(item) for item in items]
    if not args:
        raise EvaluationError("give the name of a filter, or attribute='…'")
    function = _named(args[0], FILTERS, "filter")
    made = []
    for item in items:
        budget.take(8)
        made.append(function(item, budget, *args[1:], **named))
    return made


def _named(name: Any, known: dict[str, Callable[..., Any]], what: str) -> Callable[..., Any]:
    if not isinstance(name, str) or name not in known:
        raise EvaluationError(f"there is no {what} {str(name)[:40]}{did_you_mean(str(name), known)}")
    return known[name]


def _chosen(*, keep: bool, by_attribute: bool) -> Callable[..., Any]:
    def apply(value: Any, budget: Budget, *args: Any) -> list[Any]:
        attribute, args = (args[0], args[1:]) if by_attribute and args else (None, args)
        test = _named(args[0], questions.QUESTIONS, "test") if args else None
        made = []
        for item in sequence(value, budget):
            budget.take(8)
            found = _reach(item, attribute, lenient=test in questions.LENIENT)
            passes = truth(found) if test is None else truth(test(found, budget, *args[1:]))
            if passes is keep:
                made.append(item)
        return made

    verb, where = ("Keep" if keep else "Drop"), (" whose attribute" if by_attribute else " that")
    apply.__doc__ = f"{verb} the items{where} passes a test, or counts as true where no test is named."
    return apply


def _reach(item: Any, attribute: Any, *, lenient: bool) -> Any:
    if attribute is None:
        return item
    for part in str(attribute)[:200].split("."):
        item = pick(item, int(part) if part.isdigit() else part, part)
    if item.__class__ is Undefined and not lenient:
        raise item.error()
    return item


def misnamed(node: jinja.Filter | jinja.Test | jinja.Call) -> str:
    """Return what is wrong with the filter or test that a filter like `map` is told to use, or nothing."""
    place = {"map": 0, "select": 0, "reject": 0, "selectattr": 1, "rejectattr": 1}.get(getattr(node, "name", ""))
    if not isinstance(node, jinja.Filter) or place is None or len(node.args) <= place:
        return ""
    name, known = node.args[place], FILTERS if node.name == "map" else questions.QUESTIONS
    if not isinstance(name, jinja.Const) or name.value in known:
        return ""
    kind = "filter" if node.name == "map" else "test"
    return f"there is no {kind} {name.value}{did_you_mean(str(name.value), known)}"


FILTERS: dict[str, Callable[..., Any]] = {
    **filters_text.FILTERS,
    **filters_lists.FILTERS,
    **filters_data.FILTERS,
    "d": default,
    "default": default,
    "map": mapped,
    "reject": _chosen(keep=False, by_attribute=False),
    "rejectattr": _chosen(keep=False, by_attribute=True),
    "select": _chosen(keep=True, by_attribute=False),
    "selectattr": _chosen(keep=True, by_attribute=True),
}
