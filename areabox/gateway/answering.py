"""How does what a handler returns go out? As JSON, whole or some fields of it, with its tag and a link to the rest.

`?fields=area,state` leaves the other fields out: of the thing, or of each entry of a list.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from areabox.errors import InputError, Problem
from areabox.gateway.routes import Answer, Ask, Page, Route

FIELDS_MAX: Final = 50


class Served(msgspec.Struct, frozen=True):
    """What goes out: status, headers and the whole body, or something that streams it."""

    status: int
    headers: dict[str, str]
    media_type: str
    content: Any


def rendered(route: Route, ask: Ask, answer: Answer) -> Served:
    """Return what goes out for an answer."""
    status = answer.status or route.status
    headers = dict(answer.headers)
    if answer.value is None or isinstance(answer.value, bytes) or hasattr(answer.value, "__aiter__"):
        return Served(
            204 if answer.value is None and status == 200 else status, headers, answer.media_type, answer.value
        )
    value = _sparse(ask, answer.value) if route.method == "GET" and b"fields=" in ask.query_string else answer.value
    content = msgspec.json.encode(value)
    if route.method == "GET":
        tag = headers["etag"] = tag_of(answer.etag, content)
        if tag in tags(ask.headers.get("if-none-match", "")):
            return Served(304, headers, answer.media_type, None)
        if isinstance(answer.value, Page) and answer.value.next is not None:
            headers["link"] = f'<{_next(ask, answer.value.next)}>; rel="next"'
    elif answer.etag is not None:
        headers["etag"] = tag_of(answer.etag, content)
    return Served(status, headers, answer.media_type, content)


def tag_of(version: str | None, content: bytes) -> str:
    """Return the tag of a representation: its version, where it has one, and a digest."""
    digest = hashlib.blake2b(content, digest_size=8).hexdigest()
    return f'"{version}-{digest}"' if version is not None else f'"{digest}"'


def tags(header: str) -> list[str]:
    """Return the tags in an If-Match or If-None-Match; that one is weak does not matter here."""
    return [part.strip().removeprefix("W/") for part in header.split(",")]


def _sparse(ask: Ask, value: Any) -> Any:
    """Return a value with the fields that the query names; raises InputError for ones that it does not have."""
    given = dict(parse_qsl(ask.query_string.decode("latin-1"))).get("fields", "")
    names = [name for part in given.split(",") if (name := part.strip())]
    if not names:
        return value
    if len(names) > FIELDS_MAX:
        raise InputError("too many fields", [Problem("?/fields", f"at most {FIELDS_MAX}")])
    if isinstance(value, Page):
        return Page([_some(item, names) for item in value.items], value.next)
    if isinstance(value, list):
        return [_some(item, names) for item in value]
    return _some(value, names)


def _some(value: Any, names: list[str]) -> Any:
    item = msgspec.to_builtins(value)
    return {name: item[name] for name in names if name in item} if isinstance(item, dict) else item


def _next(ask: Ask, after: str) -> str:
    given = dict(parse_qsl(ask.query_string.decode()))
    return f"{ask.path}?{urlencode(given | {'after': after})}"
