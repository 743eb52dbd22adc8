"""Which filters work on lists and objects.

Those of Jinja, with Jinja's meaning. Those that are given the name of another filter or test are in `filters`.
"""

# ruff: noqa: FBT002 -- the arguments, and their order, are those of Jinja's filters
from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from areabox.areas.budget import Budget, EvaluationError, Undefined
from areabox.areas.moments import Moment
from areabox.areas.operators import add, pick
from areabox.areas.values import bounded, describe, number, ordered, sequence, text, whole

Getter = Callable[[Any], Any]


def getter(attribute: Any, default: Any = None) -> Getter:
    """Return what takes `a.b.0` out of a value; undefined is the default if there is one, else an error."""
    if attribute is None:
        return lambda value: value
    path = [int(part) if part.isdigit() else part for part in str(attribute)[:200].split(".")]

    def get(value: Any) -> Any:
        for part in path:
            value = pick(value, part, str(part))
        if value.__class__ is Undefined:
            if default is None:
                raise value.error()
            return default
        return value

    return get


def folded(value: Any, case_sensitive: Any) -> Any:
    """Return a text in lower case, unless case matters."""
    return value.lower() if isinstance(value, str) and not case_sensitive else value


def _folding(get: Getter, case_sensitive: Any) -> Getter:
    return lambda item: folded(get(item), case_sensitive)


def length(value: Any, _budget: Budget) -> int:
    """Return how many items, characters or keys there are."""
    if isinstance(value, (str, list, tuple, Mapping)):
        return len(value)
    raise EvaluationError(f"{describe(value)} has none")


def first(value: Any, budget: Budget) -> Any:
    """Return the first item; undefined where there is none."""
    if isinstance(value, (list, tuple, str)):
        return value[0] if value else Undefined("first of an empty list")
    return next(iter(sequence(value, budget)), Undefined("first of an empty list"))


def last(value: Any, budget: Budget) -> Any:
    """Return the last item; undefined where there is none."""
    items = value if isinstance(value, (list, tuple, str)) else sequence(value, budget)
    return items[-1] if items else Undefined("last of an empty list")


def to_list(value: Any, budget: Budget) -> list[Any]:
    """Return a list of the items, characters or keys."""
    return list(sequence(value, budget))


def join(value: Any, budget: Budget, d: Any = "", attribute: Any = None) -> str:
    """Return the items as one text, with `d` between them."""
    get, glue = getter(attribute), text(d, budget)
    parts = [text(get(item), budget) for item in sequence(value, budget)]
    budget.room(sum(map(len, parts)) + len(glue) * max(0, len(parts) - 1))
    return glue.join(parts)


def reverse(value: Any, budget: Budget) -> Any:
    """Return a list or text the other way round."""
    if isinstance(value, str):
        return budget.made(value[::-1])
    return list(reversed(sequence(value, budget)))


def sort(value: Any, budget: Budget, reverse: Any = False, case_sensitive: Any = False, attribute: Any = None) -> Any:
    """Return the items in order, by `a` or by `a,b`; case does not matter unless it is said to."""
    gets = [getter(part.strip()) for part in str(attribute).split(",")] if isinstance(attribute, str) else None
    gets = gets or [getter(attribute)]
    items = sequence(value, budget)
    budget.take(3 * len(items) * len(gets))
    made = list(items)
    for get in reversed(gets):
        made = _sorted(made, _folding(get, case_sensitive), budget, bool(reverse))
    return made


def _sorted(items: list[Any], key: Getter, budget: Budget, backwards: bool = False) -> list[Any]:  # noqa: FBT001 -- as Jinja's
    given = [key(item) for item in items]
    like = next((found for found in given if isinstance(found, Moment)), given[0] if given else None)
    keys = [_rank(like, found, budget) for found in given]
    order = sorted(range(len(items)), key=keys.__getitem__, reverse=backwards)
    return [items[index] for index in order]


def _rank(like: Any, found: Any, budget: Budget) -> Any:
    """Return what Python sorts by: like with like, or there is no order."""
    if isinstance(found, (list, tuple)):
        raise EvaluationError("lists are not sorted; give an attribute")
    if isinstance(found, str):
        budget.scan(found)
    return ordered(like, found, budget)[1]


def unique(value: Any, budget: Budget, case_sensitive: Any = False, attribute: Any = None) -> list[Any]:
    """Return the items without those that were there before."""
    get = getter(attribute)
    seen: dict[Any, Any] = {}
    for item in sequence(value, budget):
        seen.setdefault(_mark(folded(get(item), case_sensitive), budget), item)
    return list(seen.values())


def _mark(value: Any, budget: Budget) -> Any:
    if isinstance(value, (str, int, float)) or value is None:
        return value
    return (text(value, budget),)


def group(value: Any, budget: Budget, attribute: Any, default: Any = None, case_sensitive: Any = False) -> Any:
    """Return pairs of a value of the attribute and the list of the items that have it, sorted by that value."""
    get = getter(attribute, default)
    groups: dict[Any, tuple[Any, list[Any]]] = {}
    for item in sequence(value, budget):
        budget.take(2)
        key = get(item)
        groups.setdefault(_mark(folded(key, case_sensitive), budget), (key, []))[1].append(item)
    return _sorted(list(groups.values()), lambda pair: folded(pair[0], case_sensitive), budget)


def total(value: Any, budget: Budget, attribute: Any = None, start: Any = 0) -> Any:
    """Return the sum of the items."""
    get, found = getter(attribute), start
    for item in sequence(value, budget):
        found = found + number(get(item)) if found.__class__ in (int, float) else add(found, get(item), budget)
    return bounded(found)


def _extreme(name: str, sign: int) -> Callable[..., Any]:
    def apply(value: Any, budget: Budget, case_sensitive: Any = False, attribute: Any = None) -> Any:
        get, items = getter(attribute), sequence(value, budget)
        if not items:
            return Undefined(f"{name} of an empty list")
        return _sorted(items, _folding(get, case_sensitive), budget)[sign]

    apply.__doc__ = f"Return the {name}imum of the items; undefined where there is none."
    return apply


def batch(value: Any, budget: Budget, linecount: Any, fill_with: Any = None) -> list[list[Any]]:
    """Return lists of `linecount` items each."""
    size, items = whole(linecount, 1, 10_000), sequence(value, budget)
    made = [items[start : start + size] for start in range(0, len(items), size)]
    budget.take(len(items) + len(made))
    if made and fill_with is not None:
        budget.take(size)
        made[-1] = made[-1] + [fill_with] * (size - len(made[-1]))
    return made


def slices(value: Any, budget: Budget, count: Any, fill_with: Any = None) -> list[list[Any]]:
    """Return so many lists of about the same length."""
    count, items = whole(count, 1, 10_000), sequence(value, budget)
    budget.take(2 * count + len(items))
    size, longer = divmod(len(items), count)
    made, position = [], 0
    for index in range(count):
        width = size + (index < longer)
        made.append(items[position : position + width])
        position += width
        if fill_with is not None and longer and index >= longer:
            made[-1] = [*made[-1], fill_with]
    return made


def pairs(value: Any, budget: Budget) -> list[tuple[Any, Any]]:
    """Return an object as a list of its keys and values."""
    if not isinstance(value, Mapping):
        raise EvaluationError(f"{describe(value)} where an object belongs")
    budget.take(2 * len(value))
    return [(key, value[key]) for key in value]


def sorted_pairs(
    value: Any, budget: Budget, case_sensitive: Any = False, by: Any = "key", reverse: Any = False
) -> list[tuple[Any, Any]]:
    """Return an object's keys and values, sorted by key or by value."""
    if by not in ("key", "value"):
        raise EvaluationError("by is 'key' or 'value'")
    place = 0 if by == "key" else 1
    return _sorted(pairs(value, budget), lambda pair: folded(pair[place], case_sensitive), budget, bool(reverse))


def chance(value: Any, budget: Budget) -> Any:
    """Return one item by chance: the same one in the same run at the same time, so that a retry repeats it."""
    items = sequence(value, budget)
    seed = text(pick(budget.names.get("run"), "id", ""), budget) if "run" in budget.names else ""
    chosen = random.Random(f"{seed} {budget.names.get('now')} {budget.steps}")  # noqa: S311 -- a dice, not a secret
    return chosen.choice(items) if items else Undefined("random of an empty list")


def absolute(value: Any, _budget: Budget) -> Any:
    """Return the number without its sign."""
    return abs(number(value))


def rounded(value: Any, _budget: Budget, precision: Any = 0, method: Any = "common") -> Any:
    """Round to so many digits: common, ceil or floor."""
    digits = whole(precision, -30, 30)
    if method == "common":
        return bounded(round(number(value), digits))
    if method not in ("ceil", "floor"):
        raise EvaluationError("the method is common, ceil or floor")
    import math

    scale = 10.0**digits
    return bounded(getattr(math, method)(number(value) * scale) / scale)


FILTERS: dict[str, Callable[..., Any]] = {
    "abs": absolute,
    "batch": batch,
    "count": length,
    "dictsort": sorted_pairs,
    "first": first,
    "groupby": group,
    "items": pairs,
    "join": join,
    "last": last,
    "length": length,
    "list": to_list,
    "max": _extreme("max", -1),
    "min": _extreme("min", 0),
    "random": chance,
    "reverse": reverse,
    "round": rounded,
    "slice": slices,
    "sort": sort,
    "sum": total,
    "unique": unique,
}
