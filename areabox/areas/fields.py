"""How one object of a document is read: which keys it may have, of which kind, and what is wrong with them.

Every getter reports what is wrong and goes on with a harmless value, so that all problems are found at once. `kept`
collects what the normal form shows: what was given and is not the default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from areabox.areas import durations
from areabox.areas.nearest import did_you_mean
from areabox.areas.scope import Scope, Steps, problems_of
from areabox.areas.source import Source
from areabox.areas.template import Expression, TemplateError, Value, escaped, expression, has_template, value
from areabox.errors import InputError, Problem

NOTHING = expression("none")
EMPTY = value(None)
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
SLUG = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)
_MOST_PROBLEMS = 200
_KINDS = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "keys and values",
}


class Report:
    """The problems of one document, each with its place."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.problems: list[Problem] = []

    def add(self, pointer: str, detail: str, *, of_key: bool = False) -> None:
        """Note a problem with a value, or with its key."""
        problem = Problem(pointer, detail, *self._source.place(pointer, of_key=of_key))
        if problem not in self.problems and len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)


class Context:
    """What every part of a document is read with."""

    def __init__(self, report: Report, steps: Steps) -> None:
        self.report, self.steps = report, steps

    def check(self, used: Expression | Value, scope: Scope, pointer: str) -> None:
        """Report the names and steps that are not there, each at the text that uses it."""
        if problems_of(used, scope, self.steps, pointer):
            for place, leaf in _leaves(used, pointer):
                for detail in problems_of(leaf, scope, self.steps, place):
                    self.report.add(place, detail)


def _leaves(used: Expression | Value, pointer: str) -> Iterator[tuple[str, Expression | Value]]:
    source = used.source
    if isinstance(used, Value) and isinstance(source, (dict, list)):
        for key, part in source.items() if isinstance(source, dict) else enumerate(source):
            yield from _leaves(value(part), f"{pointer}/{escaped(key)}")
    else:
        yield pointer, used


class Fields:
    """One object of the document."""

    def __init__(self, context: Context, data: dict[str, Any], pointer: str) -> None:
        self._context, self.data, self.pointer = context, data, pointer
        self.kept: dict[str, Any] = {}
        self.learned: set[str] = set()  # ids of the steps inside, that are seen afterwards

    def at(self, key: str) -> str:
        """Return the pointer of a key."""
        return f"{self.pointer}/{escaped(key)}"

    def report(self, key: str, detail: str, *, of_key: bool = False) -> None:
        """Note a problem with a key's value, or with the key."""
        self._context.report.add(self.at(key), detail, of_key=of_key)

    def only(self, known: Iterable[str], also: dict[str, str] | None = None) -> None:
        """Report the keys that are not known; `also` says what others call them."""
        known = list(known)
        for key in self.data:
            if key not in known:
                other = (also or {}).get(key)
                hint = f"; it is called {other} here" if other in known else did_you_mean(key, known)
                self.report(key, f"{key[:64] or 'an empty key'} is not known here{hint}", of_key=True)

    def missing(self, key: str, detail: str) -> None:
        """Report a key that should be there, at the object that lacks it."""
        self._context.report.add(self.pointer, f"{key} is missing: {detail}")

    def _typed(self, key: str, *kinds: type) -> Any:
        """Return the value if it is there and of a kind, else None."""
        given = self.data.get(key)
        if given is None or (isinstance(given, kinds) and not (isinstance(given, bool) and bool not in kinds)):
            return given
        hint = "; put it in quotes" if kinds == (str,) and isinstance(given, (int, float, bool)) else ""
        wants = " or ".join(dict.fromkeys(_KINDS[kind] for kind in kinds))
        verb = "belong" if wants.endswith("s") else "belongs"
        self.report(key, f"{wants} {verb} here, not {kind_of(given)}{hint}")
        return None

    def _keep(self, key: str, given: Any, default: Any) -> Any:
        if given is None:
            return default
        if given != default or given.__class__ is not default.__class__:
            self.kept[key] = given
        return given

    def text(self, key: str, default: str = "", most: int = 200) -> str:
        """Return a text without templates."""
        given = self._typed(key, str)
        if given is not None and len(given) > most:
            self.report(key, f"it has more than {most:,} characters")
        return str(self._keep(key, given, default))

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        return bool(self._keep(key, self._typed(key, bool), default))

    def number(self, key: str, default: int | None, least: int, most: int) -> Any:
        """Return a whole number in a range."""
        given = self._typed(key, int)
        if given is not None and not least <= given <= most:
            self.report(key, f"it must be between {least} and {most:,}")
            return default
        return self._keep(key, given, default)

    def choice(self, key: str, options: tuple[str, ...], default: str) -> Any:
        """Return one of some words."""
        given = self._typed(key, str)
        if given is not None and given not in options:
            self.report(key, f"{given[:40]!r} is not one of {', '.join(options)}{did_you_mean(given, options)}")
            return default
        return self._keep(key, given, default)

    def identifier(self, key: str, default: str) -> str:
        """Return a name that expressions can use."""
        given = self._typed(key, str)
        if given is not None and not IDENTIFIER.fullmatch(given):
            self.report(key, f"{given[:64]!r} is not a name: letters, digits and _, and no digit first")
            return default
        return str(self._keep(key, given, default))

    def duration(self, key: str, default: int | None, *, zero: bool = False) -> Any:
        """Return milliseconds."""
        given = self.data.get(key)
        if given is None:
            return default
        try:
            ms = durations.parse_duration(given)
        except InputError as error:
            self.report(key, str(error))
            return default
        if ms == 0 and not zero:
            self.report(key, "it must be longer than 0")
        if ms != default:
            self.kept[key] = given.strip() if isinstance(given, str) else durations.format_duration(ms)
        return ms

    def expression(self, key: str, scope: Scope) -> Expression | None:
        """Return a bare expression; None where the key is not there."""
        given = self.data.get(key)
        if given is None:
            return None
        if isinstance(given, (bool, int, float)):
            given = str(given).lower()
        if not isinstance(given, str) or not given.strip():
            self.report(key, f"an expression belongs here, not {kind_of(given)}; write it as text")
            return NOTHING
        self.kept[key] = given
        return self._compiled(key, lambda: expression(given), scope) or NOTHING

    def value(self, key: str, scope: Scope) -> Value:
        """Return a value with templates in it."""
        self.kept[key] = self.data.get(key)
        return self._compiled(key, lambda: value(self.data.get(key)), scope) or EMPTY

    def _compiled(self, key: str, make: Callable[[], Any], scope: Scope) -> Any:
        try:
            made = make()
        except TemplateError as error:
            for problem in error.problems or [Problem("", str(error))]:
                self._context.report.add(self.at(key) + problem.pointer, problem.detail)
            return None
        self._context.check(made, scope, self.at(key))
        return made

    def object(self, key: str) -> dict[str, Any]:
        """Return keys and values; empty where the key is not there."""
        return self._typed(key, dict) or {}

    def list(self, key: str) -> list[Any]:
        """Return a list; empty where the key is not there."""
        given = self.data.get(key)
        if isinstance(given, dict):
            self.report(key, "a list belongs here; begin its entries with - ")
            return []
        return self._typed(key, list) or []


def kind_of(given: Any) -> str:
    """Return what kind of value it is, in the words of a document."""
    return "nothing" if given is None or given == "" else _KINDS.get(type(given), "this")


def literals(params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that hold no template at any depth."""
    return {key: given for key, given in params.items() if not holds_template(given)}


def holds_template(given: Any) -> bool:
    """Return whether there is a template in a value, at any depth."""
    if isinstance(given, dict):
        return any(map(holds_template, given.values()))
    if isinstance(given, list):
        return any(map(holds_template, given))
    return has_template(given)
