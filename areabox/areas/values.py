"""What values inside an expression do: print, count as true, equal each other, leave as JSON.

A value is JSON (None, bool, int, float, str, list, dict), a tuple, a `Moment`, or a lazy Mapping that was handed in.
Every walk through a value is paid for, since a small template can make a value that is small to keep and huge to walk.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from areabox.areas import durations
from areabox.areas.budget import MAX_DEPTH, Budget, EvaluationError, Undefined
from areabox.areas.moments import Moment, moment
from areabox.errors import InputError

_BITS = 256
_NAMES = {str: "text", bool: "a boolean", int: "a number", float: "a number", type(None): "null", Moment: "a time"}


class Namespace:
    """The one thing that a template may change: `{% set ns.total = ns.total + 1 %}` inside a loop."""

    __slots__ = ("values",)

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values


def describe(value: Any) -> str:
    """Return what kind of value it is, in words."""
    if isinstance(value, (list, tuple)):
        return "a list"
    return _NAMES.get(type(value)) or ("an object" if isinstance(value, Mapping) else "something that is not a value")


def number(value: Any) -> Any:
    """Return the number, or raise."""
    kind = value.__class__
    if kind is int or kind is float or kind is bool:
        return value
    if kind is Undefined:
        raise value.error()
    raise EvaluationError(f"{describe(value)} where a number belongs")


def whole(value: Any, least: int, most: int) -> int:
    """Return the whole number in a range, or raise."""
    if value.__class__ is not int and not (isinstance(value, float) and value.is_integer()):
        raise EvaluationError(f"{describe(value)} where a whole number belongs")
    if not least <= value <= most:
        raise EvaluationError(f"{value} is not between {least} and {most}")
    return int(value)


def bounded(value: Any) -> Any:
    """Return the result of arithmetic if it is a JSON number of sane size, or raise."""
    if value.__class__ is int:
        if value.bit_length() > _BITS:
            raise EvaluationError("the number is too large")
    elif value.__class__ is float and not math.isfinite(value):
        raise EvaluationError("the number is too large")
    return value


def truth(value: Any) -> bool:
    """Return whether it counts as true: not null, false, 0, and not empty."""
    kind = value.__class__
    if kind is bool:
        return bool(value)
    if kind is Undefined:
        raise value.error()
    if kind is Moment or kind is Namespace:
        return True
    return bool(value)


def sequence(value: Any, budget: Budget) -> list[Any]:
    """Return the items of a list, the characters of a text or the keys of an object, paid for by their number."""
    kind = value.__class__
    if kind is list:
        budget.take(len(value))
        return value  # type: ignore[no-any-return]
    if kind is Undefined:
        raise value.error()
    if kind is tuple or kind is str or isinstance(value, Mapping):
        budget.take(len(value))
        return list(value)
    raise EvaluationError(f"{describe(value)} where a list belongs")


def text(value: Any, budget: Budget) -> str:
    """Return it as Jinja prints it: text as it is, null as None, lists and objects as Python writes them."""
    kind = value.__class__
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is int or kind is float or kind is bool or value is None or kind is Moment:
        return str(value)
    out: list[str] = []
    _write(value, out, budget, 0)
    return "".join(out)


def _write(value: Any, out: list[str], budget: Budget, depth: int) -> None:
    budget.take(2)
    if depth > MAX_DEPTH:
        raise EvaluationError("the value is nested too deeply")
    if value.__class__ is list or value.__class__ is tuple:
        ends = "[]" if value.__class__ is list else "()"
        out.append(ends[0])
        for index, item in enumerate(value):
            if index:
                out.append(", ")
            _write(item, out, budget, depth + 1)
        out.append(",)" if ends == "()" and len(value) == 1 else ends[1])
    elif isinstance(value, Mapping):
        out.append("{")
        for index, key in enumerate(value):
            out.append(", " if index else "")
            _write(key, out, budget, depth + 1)
            out.append(": ")
            _write(value[key], out, budget, depth + 1)
        out.append("}")
    elif isinstance(value, (str, int, float, Moment)) or value is None:
        if isinstance(value, str):
            budget.room(len(value))
        out.append(repr(value))
    elif isinstance(value, Undefined):
        raise value.error()
    else:
        raise EvaluationError("this is not a value that can be printed")


def plain(value: Any, budget: Budget, pay: Callable[[int], None] | None = None, depth: int = 0) -> Any:
    """Return it as JSON types only: tuples as lists, moments as text, lazy objects as dicts.

    It is the same object where nothing had to change. `pay` is told the length of every text inside.
    """
    kind = value.__class__
    pay = pay or budget.carry
    if kind is int or kind is bool or value is None:
        return value
    if kind is str:
        pay(len(value))
        return value
    budget.take(2)
    if depth > MAX_DEPTH:
        raise EvaluationError("the value is nested too deeply")
    if kind is float:
        return bounded(value)
    if kind is list or kind is tuple:
        budget.take(len(value) >> 2)
        items = [plain(item, budget, pay, depth + 1) for item in value]
        return value if kind is list and all(map(operator.is_, items, value)) else items
    if kind is Moment:
        return str(value)
    if kind is Undefined:
        raise value.error()
    if isinstance(value, Mapping):
        return _plain_dict(value, budget, pay, depth)
    raise EvaluationError("the result is not a value")


def _plain_dict(value: Mapping[Any, Any], budget: Budget, pay: Callable[[int], None], depth: int) -> Any:
    budget.take(len(value) >> 2)
    items = {}
    for key in value:
        name = key if key.__class__ is str else text(key, budget)
        pay(len(name))
        items[name] = plain(value[key], budget, pay, depth + 1)
    if value.__class__ is dict and list(items) == list(value):
        return value if all(map(operator.is_, items.values(), value.values())) else items
    return items


def same(one: Any, other: Any, budget: Budget, depth: int = 0) -> bool:
    """Return whether two values are equal; a moment equals the text of the same time."""
    if one is other:
        return True
    if isinstance(one, (str, int, float)) or one is None:
        if isinstance(other, Moment) and isinstance(one, str):
            return _same_time(other, one)
        if one.__class__ is str:
            budget.scan(one)
        return other.__class__ is not Namespace and bool(one == other)
    budget.take(2)
    if depth > MAX_DEPTH:
        raise EvaluationError("the value is nested too deeply")
    if isinstance(one, (list, tuple)):
        return (
            isinstance(other, (list, tuple))
            and len(one) == len(other)
            and all(same(a, b, budget, depth + 1) for a, b in zip(one, other, strict=True))
        )
    if isinstance(one, Mapping):
        return (
            isinstance(other, Mapping)
            and len(one) == len(other)
            and all(key in other and same(one[key], other[key], budget, depth + 1) for key in one)
        )
    if isinstance(one, Moment):
        return _same_time(one, other) if isinstance(other, str) else one == other
    return False


def _same_time(one: Moment, other: str) -> bool:
    try:
        return one.ms == durations.parse_time(other, one.zone)
    except InputError:
        return False


def ordered(one: Any, other: Any, budget: Budget) -> tuple[Any, Any]:
    """Return the two as Python values that have an order, or raise."""
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one, other
    if isinstance(one, str) and isinstance(other, str):
        budget.scan(one)
        return one, other
    if isinstance(one, Moment) or isinstance(other, Moment):
        zone = one.zone if isinstance(one, Moment) else other.zone
        return moment(one, zone).ms, moment(other, zone).ms
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        for a, b in zip(budget.listed(list(one)), other, strict=False):
            if not same(a, b, budget):
                return ordered(a, b, budget)
        return len(one), len(other)
    for value in (one, other):
        if isinstance(value, Undefined):
            raise value.error()
    raise EvaluationError(f"{describe(one)} and {describe(other)} have no order")
