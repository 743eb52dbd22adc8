"""What can be called: `range(3)`, `trigger.title.upper()`.

A method is looked up in these tables by its name, never on the Python object; it says itself which values it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from areabox.areas import filters_text
from areabox.areas.budget import MAX_TEXT, Budget, EvaluationError
from areabox.areas.filters_lists import pairs
from areabox.areas.moments import Moment
from areabox.areas.operators import contains, pick
from areabox.areas.values import Namespace, describe, same, sequence, text, whole

_LONGEST_RANGE = 100_000


def count_up(budget: Budget, start: Any, stop: Any = None, step: Any = 1) -> list[int]:
    """Return the whole numbers from start to before stop: `range`."""
    first, end = (0, start) if stop is None else (start, stop)
    far = 10**15
    numbers = range(whole(first, -far, far), whole(end, -far, far), whole(step, -far, far))
    if len(numbers) > _LONGEST_RANGE:
        raise EvaluationError(f"a range has at most {_LONGEST_RANGE:,} numbers")
    return budget.listed(numbers)


def make_object(_budget: Budget, **named: Any) -> dict[str, Any]:
    """Return an object of the named values: `dict(a=1)`."""
    return named


def make_namespace(_budget: Budget, **named: Any) -> Namespace:
    """Return a namespace, whose values a loop may set."""
    return Namespace(named)


def current(budget: Budget) -> Any:
    """Return `now`, for those used to calling it."""
    return pick(budget.names, "now", "now")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "dict": make_object,
    "namespace": make_namespace,
    "now": current,
    "range": count_up,
}


def _text(name: str, *kinds: type) -> Callable[..., Any]:
    """Return a method of text that is Python's own; its arguments are of the given kinds."""
    own = getattr(str, name)  # of a fixed list, when the module is loaded

    def call(value: Any, budget: Budget, *args: Any) -> Any:
        found = _is_text(value)
        for index, argument in enumerate(args):
            kind = kinds[min(index, len(kinds) - 1)] if kinds else type(None)
            if not isinstance(argument, kind) or not kinds:
                raise EvaluationError(f"{describe(argument)} is not what it takes")
        budget.take(len(found) >> 6)
        made = own(found, *args)
        return budget.made(made) if isinstance(made, str) else made

    return call


def _is_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise EvaluationError(f"it is a method of text, not of {describe(value)}")


def _padded(name: str) -> Callable[..., Any]:
    own = getattr(str, name)  # of a fixed list, when the module is loaded

    def call(value: Any, budget: Budget, width: Any, *fill: Any) -> Any:
        return budget.made(own(_is_text(value), whole(width, 0, 10_000), *(str(one)[:1] for one in fill)))

    return call


def _split(value: Any, budget: Budget, separator: Any = None, maxsplit: Any = -1) -> Any:
    return filters_text.split(_is_text(value), budget, separator, maxsplit)


def _split_right(value: Any, budget: Budget, separator: Any = None, maxsplit: Any = -1) -> Any:
    parts = filters_text.split(_is_text(value), budget, separator)
    limit = whole(maxsplit, -1, MAX_TEXT)
    if limit < 0 or len(parts) <= limit + 1:
        return parts
    return value.rsplit(separator, limit)


def _lines(value: Any, budget: Budget) -> Any:
    found = budget.scan(_is_text(value))
    budget.room(len(found))
    made = found.splitlines()
    budget.take(2 * len(made))
    return made


def _join(value: Any, budget: Budget, items: Any) -> Any:
    glue, parts = _is_text(value), [text(item, budget) for item in sequence(items, budget)]
    budget.room(sum(map(len, parts)) + len(glue) * len(parts))
    return glue.join(parts)


def _replace(value: Any, budget: Budget, old: Any, new: Any, count: Any = None) -> Any:
    return filters_text.replace(_is_text(value), budget, old, new, count)


def _get(value: Any, _budget: Budget, key: Any, default: Any = None) -> Any:
    if not isinstance(value, Mapping):
        raise EvaluationError(f"it is a method of an object, not of {describe(value)}")
    return value[key] if isinstance(key, str) and key in value else default


def _keys(value: Any, budget: Budget) -> Any:
    return [key for key, _ in pairs(value, budget)]


def _values(value: Any, budget: Budget) -> Any:
    return [item for _, item in pairs(value, budget)]


def _count(value: Any, budget: Budget, item: Any) -> int:
    if isinstance(value, str):
        return budget.scan(value).count(_is_text(item))
    return sum(same(item, other, budget) for other in sequence(value, budget))


def _index(value: Any, budget: Budget, item: Any) -> int:
    if not contains(item, value, budget):
        raise EvaluationError("it is not in there")
    if isinstance(value, str):
        return value.index(item)
    return next(place for place, other in enumerate(sequence(value, budget)) if same(item, other, budget))


def _strftime(value: Any, budget: Budget, format: Any) -> str:
    return budget.made(_moment(value).format(text(format, budget)))


def _moment(value: Any) -> Moment:
    if isinstance(value, Moment):
        return value
    raise EvaluationError(f"it is a method of a time, not of {describe(value)}; write x | to_time")


def _cycle(value: Any, _budget: Budget, *items: Any) -> Any:
    index = pick(value, "index0", "")
    if not isinstance(index, int) or not items:
        raise EvaluationError("it is a method of loop")
    return items[index % len(items)]


_SAME = ("upper", "lower", "title", "capitalize", "swapcase", "casefold")
_ASK = ("isdigit", "isalpha", "isalnum", "isnumeric", "isdecimal", "islower", "isupper", "isspace", "isidentifier")
_FIND = ("startswith", "endswith", "removeprefix", "removesuffix", "strip", "lstrip", "rstrip", "find", "rfind")

METHODS: dict[str, Callable[..., Any]] = {
    **{name: _text(name) for name in (*_SAME, *_ASK)},
    **{name: _text(name, str) for name in (*_FIND, "partition", "rpartition")},
    **{name: _padded(name) for name in ("zfill", "ljust", "rjust", "center")},
    "split": _split,
    "rsplit": _split_right,
    "splitlines": _lines,
    "join": _join,
    "replace": _replace,
    "count": _count,
    "index": _index,
    "items": pairs,
    "keys": _keys,
    "values": _values,
    "get": _get,
    "cycle": _cycle,
    "strftime": _strftime,
    "isoformat": lambda value, _budget: str(_moment(value)),
    "timestamp": lambda value, _budget: _moment(value).ms / 1000,
}
