"""Does a value fit a JSON Schema? The part of it (2020-12) that describes plain data, and a sentence where it does not.

What is not understood is refused as a schema, so that nothing passes unseen: no references, no conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

DEPTH_MAX, PATTERN_S = 20, 0.5
_SAID = frozenset(("$schema", "$id", "title", "description", "default", "examples", "format", "strict", "deprecated"))
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
    ),
}


_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems")
_FORMS: dict[str, Any] = {
    "properties": dict, "pattern": str,
    **dict.fromkeys(("required", "enum", "anyOf", "oneOf", "allOf"), list),
    **dict.fromkeys(_NUMBERS, (int, float)), **dict.fromkeys(_COUNTS, int),
}  # fmt: skip


def check(schema: Any, place: str = "", depth: int = 0) -> None:
    """Raise ValueError where a schema is none, or says what is not understood here."""
    if isinstance(schema, bool):
        return
    where = place or "the schema"
    if not isinstance(schema, dict) or depth > DEPTH_MAX:
        raise ValueError(f"{where}: a schema is an object, nested at most {DEPTH_MAX} deep")
    for unknown in schema.keys() - _SAID - _RULES.keys():
        raise ValueError(f"{where}: {unknown} is not understood here")
    for kind in _listed(schema.get("type", [])):
        if kind not in _TYPES:
            raise ValueError(f"{where}: there is no type {kind!r}")
    for name, inner in _inner(schema):
        check(inner, f"{place}/{name}", depth + 1)
    for name, kind in _FORMS.items():
        if name in schema and (not isinstance(schema[name], kind) or isinstance(schema[name], bool)):
            raise ValueError(f"{where}: {name} has the wrong form")


def _inner(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    properties = schema.get("properties")
    yield from (properties if isinstance(properties, dict) else {}).items()
    for name in ("items", "additionalProperties", "not"):
        if name in schema:
            yield name, schema[name]
    for name in ("anyOf", "oneOf", "allOf"):
        for number, one in enumerate(_listed(schema.get(name, []))):
            yield f"{name}/{number}", one


def complaint(value: Any, schema: Any, place: str = "") -> str | None:
    """Return where and why a value does not fit a checked schema, None if it does."""
    if isinstance(schema, bool):
        return None if schema else _told(place, "nothing fits here")
    for rule, given in schema.items():
        judge = _RULES.get(rule)
        found = judge(value, given, place, schema) if judge is not None else None
        if found is not None:
            return found
    return None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _type(value: Any, given: Any, place: str, _schema: Any) -> str | None:
    kinds = _listed(given)
    if any(_TYPES[kind](value) for kind in kinds):
        return None
    return _told(place, f"{' or '.join(kinds)} belongs here")


def _properties(value: Any, given: Any, place: str, _schema: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    found = (complaint(value[name], inner, f"{place}/{name}") for name, inner in given.items() if name in value)
    return next((one for one in found if one is not None), None)


def _additional(value: Any, given: Any, place: str, schema: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    others = [name for name in value if name not in schema.get("properties", {})]
    if given is False and others:
        return _told(place, f"{others[0]} does not belong here")
    return next((one for name in others if (one := complaint(value[name], given, f"{place}/{name}"))), None)


def _required(value: Any, given: Any, place: str, _schema: Any) -> str | None:
    missing = [name for name in given if name not in value] if isinstance(value, dict) else []
    return _told(place, f"{missing[0]} is missing") if missing else None


def _items(value: Any, given: Any, place: str, _schema: Any) -> str | None:
    if not isinstance(value, list):
        return None
    return next((one for n, item in enumerate(value) if (one := complaint(item, given, f"{place}/{n}"))), None)


def _pattern(value: Any, given: str, place: str, _schema: Any) -> str | None:
    import regex

    if not isinstance(value, str):
        return None
    try:
        fits = regex.search(given, value, timeout=PATTERN_S) is not None
    except (regex.error, TimeoutError):
        fits = False
    return None if fits else _told(place, f"it does not fit {given}")


def _some(value: Any, given: Any, place: str, enough: Callable[[int], bool]) -> str | None:
    fitting = sum(complaint(value, one, place) is None for one in given)
    return None if enough(fitting) else _told(place, f"it fits {fitting or 'none'} of the forms")


def _bound(measure: Callable[[Any], Any], fits: Callable[[Any, Any], bool], words: str) -> Callable[..., str | None]:
    def judge(value: Any, given: Any, place: str, _schema: Any) -> str | None:
        size = measure(value)
        return None if size is None or fits(size, given) else _told(place, f"{words} {given}")

    return judge


def _size(kind: type[str | list[Any]]) -> Callable[[Any], int | None]:
    return lambda value: len(value) if isinstance(value, kind) else None


def _number(value: Any) -> float | None:
    return value if _TYPES["number"](value) else None


def _told(place: str, words: str) -> str:
    return f"{place or 'the value'}: {words}"


_RULES: dict[str, Callable[[Any, Any, str, Any], str | None]] = {
    "type": _type,
    "enum": lambda value, given, place, _: None if value in given else _told(place, "it is none of the choices"),
    "const": lambda value, given, place, _: None if value == given else _told(place, f"it is not {given!r}"),
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "pattern": _pattern,
    "anyOf": lambda value, given, place, _: _some(value, given, place, lambda fitting: fitting > 0),
    "oneOf": lambda value, given, place, _: _some(value, given, place, lambda fitting: fitting == 1),
    "allOf": lambda value, given, place, _: next(filter(None, (complaint(value, one, place) for one in given)), None),
    "not": lambda value, given, place, _: None if complaint(value, given, place) else _told(place, "it must not be so"),
    "minimum": _bound(_number, lambda size, given: size >= given, "at least"),
    "maximum": _bound(_number, lambda size, given: size <= given, "at most"),
    "exclusiveMinimum": _bound(_number, lambda size, given: size > given, "more than"),
    "exclusiveMaximum": _bound(_number, lambda size, given: size < given, "less than"),
    "minLength": _bound(_size(str), lambda size, given: size >= given, "characters, at least"),
    "maxLength": _bound(_size(str), lambda size, given: size <= given, "characters, at most"),
    "minItems": _bound(_size(list), lambda size, given: size >= given, "items, at least"),
    "maxItems": _bound(_size(list), lambda size, given: size <= given, "items, at most"),
}
