"""What `+ - * / // % ** ~`, comparisons, `in`, `.` and `[ ]` mean between values.

As in Jinja, that is as in Python, but over JSON values only: a key is looked up in an object and nowhere else, so no
attribute of a Python object is ever read. Every function takes two values and the budget.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from areabox.areas.budget import MAX_TEXT, Budget, EvaluationError, Undefined
from areabox.areas.moments import Moment
from areabox.areas.values import Namespace, bounded, describe, number, ordered, same, text

Binary = Callable[[Any, Any, Budget], Any]


def add(one: Any, other: Any, budget: Budget) -> Any:
    """Return the sum, or two texts or lists joined, or a time so many seconds later."""
    kind = one.__class__
    if kind is other.__class__:
        if kind is str:
            budget.room(len(one) + len(other))
            return one + other
        if kind is list or kind is tuple:
            budget.take(len(one) + len(other))
            return one + other
    if kind is Moment:
        return one.after(number(other))
    if other.__class__ is Moment:
        return other.after(number(one))
    _numbers("+", one, other)
    return bounded(one + other)


def subtract(one: Any, other: Any, _budget: Budget) -> Any:
    """Return the difference; of two times it is seconds."""
    if one.__class__ is Moment:
        if other.__class__ is Moment:
            return (one.ms - other.ms) / 1000
        return one.after(-number(other))
    _numbers("-", one, other)
    return bounded(one - other)


def multiply(one: Any, other: Any, budget: Budget) -> Any:
    """Return the product, or a text or list so many times."""
    if one.__class__ is int and other.__class__ in (str, list, tuple):
        one, other = other, one
    if other.__class__ is int and one.__class__ in (str, list, tuple):
        length = len(one) * max(0, min(other, MAX_TEXT + 1))
        if one.__class__ is str:
            budget.room(length)
        else:
            budget.take(length)
        return one * max(0, min(other, MAX_TEXT))
    _numbers("*", one, other)
    return bounded(one * other)


def divide(one: Any, other: Any, _budget: Budget) -> Any:
    """Return the quotient, a float."""
    _numbers("/", one, other)
    return bounded(one / other)


def floor_divide(one: Any, other: Any, _budget: Budget) -> Any:
    """Return the whole part of the quotient."""
    _numbers("//", one, other)
    return bounded(one // other)


def modulo(one: Any, other: Any, _budget: Budget) -> Any:
    """Return the remainder."""
    if one.__class__ is str:
        raise EvaluationError("% does not format text here; use the format filter, or ~ to join")
    _numbers("%", one, other)
    return bounded(one % other)


def power(one: Any, other: Any, _budget: Budget) -> Any:
    """Return the power, where it is a number of sane size."""
    _numbers("**", one, other)
    if abs(one) > 1 and abs(other) * math.log2(abs(one)) > 1000:
        raise EvaluationError("the number is too large")
    result = one**other
    if isinstance(result, complex):
        raise EvaluationError("the power is not a real number")
    return bounded(result)


def _numbers(sign: str, one: Any, other: Any) -> None:
    for value in (one, other):
        if isinstance(value, Undefined):
            raise value.error()
    if not (isinstance(one, (int, float)) and isinstance(other, (int, float))):
        hint = "; use ~ to join texts" if sign == "+" and str in (one.__class__, other.__class__) else ""
        raise EvaluationError(f"{sign} between {describe(one)} and {describe(other)} has no meaning{hint}")


def negative(value: Any) -> Any:
    """Return the number with the other sign."""
    return -number(value)


def contains(item: Any, holder: Any, budget: Budget) -> bool:
    """Return whether a text holds a text, a list an item, an object a key."""
    if isinstance(holder, str):
        if not isinstance(item, str):
            raise EvaluationError(f"in: {describe(item)} is never part of a text; make it text with | string")
        return item in budget.scan(holder)
    if isinstance(holder, (list, tuple)):
        budget.take(len(holder) >> 1)
        return any(same(item, other, budget) for other in holder)
    if isinstance(holder, Mapping):
        return isinstance(item, (str, int, float, bool, type(None))) and item in holder
    if isinstance(holder, Undefined):
        raise holder.error()
    raise EvaluationError(f"in: {describe(holder)} holds nothing; a text, a list or an object does")


def _compared(test: Callable[[Any, Any], bool]) -> Binary:
    return lambda one, other, budget: test(*ordered(one, other, budget))


COMPARE: dict[str, Binary] = {
    "eq": same,
    "ne": lambda one, other, budget: not same(one, other, budget),
    "lt": _compared(operator.lt),
    "lteq": _compared(operator.le),
    "gt": _compared(operator.gt),
    "gteq": _compared(operator.ge),
    "in": contains,
    "notin": lambda one, other, budget: not contains(one, other, budget),
}


def join(one: list[Any], budget: Budget) -> str:
    """Return the values as one text: `~`."""
    parts = [text(value, budget) for value in one]
    budget.room(sum(map(len, parts)))
    return "".join(parts)


def pick(holder: Any, key: Any, spelled: str) -> Any:
    """Return what an object has under a key, or a list or text at an index; Undefined where it has not."""
    kind = holder.__class__
    if kind is dict:
        if key.__class__ is str or isinstance(key, (int, float, type(None))):
            found = holder.get(key, holder)
            return found if found is not holder else Undefined(spelled, key, holder)
    elif kind is list or kind is tuple or kind is str:
        if key.__class__ is int and -len(holder) <= key < len(holder):
            return holder[key]
        return Undefined(spelled, key, holder)
    elif kind is Undefined:
        return holder
    elif kind is Moment:
        found = holder.part(key) if isinstance(key, str) else None
        return Undefined(spelled, key, holder) if found is None else found
    elif kind is Namespace:
        return holder.values[key] if key in holder.values else Undefined(spelled, key, holder.values)
    elif isinstance(holder, Mapping) and isinstance(key, str):
        return holder[key] if key in holder else Undefined(spelled, key, holder)
    return Undefined(spelled, key, holder)


def cut(holder: Any, start: Any, stop: Any, step: Any, budget: Budget) -> Any:
    """Return a slice of a list or text."""
    for bound in (start, stop, step):
        if bound is not None and bound.__class__ is not int:
            raise EvaluationError(f"a slice is bounded by whole numbers, not by {describe(bound)}")
    if holder.__class__ is str:
        return budget.made(holder[start:stop:step])
    if isinstance(holder, (list, tuple)):
        return budget.listed(list(holder[start:stop:step]))
    raise EvaluationError(f"{describe(holder)} cannot be sliced; a list or a text can")
