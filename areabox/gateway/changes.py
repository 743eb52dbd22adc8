"""What does a change leave in the audit log? Who, from where, what, and what became another, without secrets.

Every route that is no reading one is recorded here, when it went well or was not allowed. What became another is told
by the route that reads the same thing: it is asked before and after, and shows no secrets anyway.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import msgspec

from areabox.errors import AreaboxError
from areabox.gateway.routes import Answer, Ask, Route
from areabox.users.policy import PUBLIC

CHANGES_MAX, VALUE_MAX = 40, 200
_API: Final = "/api/v1"
_STORIES: Final = (f"{_API}/runs", f"{_API}/events", f"{_API}/notices")  # what happens to these, they tell themselves
_PASSING: Final = frozenset({"updated", "seen", "used", "checked", "version", "next", "last"})
_PRIVATE: Final = frozenset({"when", "if", "then", "key", "about", "values"})  # whose words are not an administrator's
_SECRET: Final = re.compile(r"secret|password|passphrase|token|recovery|private|csrf", re.IGNORECASE)


def verb(route: Route) -> str:
    """Return under which verb a route stands in the log; nothing for one that is not recorded by itself.

    Public ones are not: before somebody has a name, what they do is recorded by what gives them one.
    """
    if not route.recorded:
        return ""
    if route.audit or route.method == "GET" or route.permission == PUBLIC:
        return route.audit
    module, _, name = route.name.partition("_")
    return f"{module}.{name}"


def is_story(route: Route) -> bool:
    """Return whether a route does something to what tells its own story: a run, an event, a notice."""
    path = route.path if route.path.startswith(_API) else _API + route.path
    return path.startswith(_STORIES) or path.endswith("/runs")


def reader_of(route: Route, table: Iterable[Route]) -> Route | None:
    """Return the route that shows what a route changes: of the same address, or for a POST of the one above it."""
    if route.method == "GET" or is_story(route):
        return None
    path = route.path if route.path.startswith(_API) else _API + route.path
    if route.method == "POST":
        path, _, act = path.rpartition("/")
        if act.startswith("{") or not path.endswith("}"):
            return None
    return next((other for other in table if other.method == "GET" and other.path == path), None)


async def snapshot(reader: Route | None, ask: Ask) -> Answer | None:
    """Return what the reader shows now; None where that is nothing, or nothing that the actor may see."""
    if reader is None or ask.caller.actor is None or not ask.caller.actor.allows(reader.permission):
        return None
    given = {name: ask.params[name] for name in reader.annotations if name in ask.params}
    if len(given) != len(reader.annotations):
        return None
    with contextlib.suppress(AreaboxError, msgspec.ValidationError):
        found = await reader.handle(replace(ask, method="GET", headers={}), **_converted(reader, given))
        return found if isinstance(found, Answer) else Answer(value=found)
    return None


def _converted(reader: Route, given: dict[str, str]) -> dict[str, Any]:
    return {name: msgspec.convert(text, reader.annotations[name], strict=False) for name, text in given.items()}


def difference(before: Any, after: Any) -> dict[str, list[Any]]:
    """Return what became another, `{place: [old, new]}`: flat, cut short, and without what a secret may stand in.

    Of what areas do and connections hold only the places are told: the log is read by administrators, and these are
    their owners'.
    """
    old, new = dict(_flat(before)), dict(_flat(after))
    places = [place for place in {**old, **new} if old.get(place) != new.get(place)]
    return {place: [_told(place, old.get(place)), _told(place, new.get(place))] for place in places[:CHANGES_MAX]}


def _flat(value: Any, place: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict) and (value or not place):
        for name, inner in value.items():
            if name not in _PASSING and not (_SECRET.search(name) and not isinstance(inner, (list, dict))):
                yield from _flat(inner, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{place}.{index}")
    elif place:
        yield place, value


def _told(place: str, value: Any) -> Any:
    if value is not None and place.partition(".")[0] in _PRIVATE:
        return "…"
    return _short(value)


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= VALUE_MAX else value[: VALUE_MAX - 1] + "…"
    text = msgspec.json.encode(value)
    return value if len(text) <= VALUE_MAX else text[: VALUE_MAX - 1].decode(errors="ignore") + "…"


async def record(route: Route, ask: Ask, answer: Answer | None, changes: dict[str, list[Any]]) -> None:
    """Write what was done, or with no answer that it was not allowed."""
    named = answer.object if answer else ""
    detail: dict[str, Any] = {"via": ask.caller.via} if ask.caller.via else {}
    if ask.caller.token_id:
        detail["token"] = ask.caller.token_id
    if ask.request_id:
        detail["request"] = ask.request_id
    if answer is None:
        detail["refused"] = True
    if changes:
        detail["changes"] = changes
    actor = ask.actor.email if ask.caller.actor else ""
    subject = named or "/".join(ask.params.values())
    await ask.parts.audit.record(actor, ask.peer.address, verb(route), subject, **detail)
