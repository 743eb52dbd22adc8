"""What can be asked with `is`: Jinja's tests, and `match` and `search` for patterns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from areabox.areas.budget import Budget, Undefined
from areabox.areas.filters_data import matches
from areabox.areas.operators import COMPARE, modulo
from areabox.areas.values import number

FORGIVING = frozenset(("defined", "undefined"))  # they take undefined


def defined(value: Any, _budget: Budget) -> bool:
    """Return whether it is there."""
    return value.__class__ is not Undefined


def undefined(value: Any, _budget: Budget) -> bool:
    """Return whether it is not there."""
    return value.__class__ is Undefined


def divisible(value: Any, budget: Budget, num: Any) -> bool:
    """Return whether the number is a multiple of another."""
    return bool(modulo(value, num, budget) == 0)


def same_object(value: Any, _budget: Budget, other: Any) -> bool:
    """Return whether it is true, false or null itself, not only equal to it."""
    return value is other or (value.__class__ is other.__class__ and isinstance(value, (str, int)) and value == other)


def search(value: Any, budget: Budget, pattern: Any) -> bool:
    """Return whether the pattern is found in the text."""
    return matches(value, budget, pattern)


def match(value: Any, budget: Budget, pattern: Any) -> bool:
    """Return whether the text begins with the pattern."""
    return matches(value, budget, pattern, whole_text=True)


def _kind(*kinds: type) -> Callable[[Any, Budget], bool]:
    return lambda value, _budget: value.__class__ in kinds


QUESTIONS: dict[str, Callable[..., Any]] = {
    "boolean": _kind(bool),
    "defined": defined,
    "divisibleby": divisible,
    "even": lambda value, _budget: number(value) % 2 == 0,
    "false": lambda value, _budget: value is False,
    "float": _kind(float),
    "integer": _kind(int),
    "iterable": lambda value, _budget: isinstance(value, (str, list, tuple, Mapping)),
    "lower": lambda value, budget: isinstance(value, str) and budget.scan(value).islower(),
    "mapping": lambda value, _budget: isinstance(value, Mapping),
    "match": match,
    "none": lambda value, _budget: value is None,
    "number": _kind(int, float, bool),
    "odd": lambda value, _budget: number(value) % 2 == 1,
    "sameas": same_object,
    "search": search,
    "sequence": lambda value, _budget: isinstance(value, (str, list, tuple, Mapping)),
    "string": _kind(str),
    "true": lambda value, _budget: value is True,
    "undefined": undefined,
    "upper": lambda value, budget: isinstance(value, str) and budget.scan(value).isupper(),
    "in": COMPARE["in"],
    **{
        name: COMPARE[sign]
        for sign, words in {
            "eq": ("eq", "equalto", "=="),
            "ne": ("ne", "!="),
            "lt": ("lt", "lessthan", "<"),
            "lteq": ("le", "<="),
            "gt": ("gt", "greaterthan", ">"),
            "gteq": ("ge", ">="),
        }.items()
        for name in words
    },
}

# argument orders differ: a comparison takes (one, other, budget), a test (value, budget, other)
for _name, _compare in list(QUESTIONS.items()):
    if _compare in COMPARE.values():
        QUESTIONS[_name] = lambda value, budget, other, compare=_compare: compare(value, other, budget)

LENIENT = frozenset((defined, undefined))
