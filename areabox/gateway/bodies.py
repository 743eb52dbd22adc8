"""How is a request's body read? Within limits, and by the type that the route declares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from areabox.actions.hooks import DEPTH_MAX, depth
from areabox.errors import InputError, Problem
from areabox.gateway.problems import RefusedError, invalid

BODY_MAX = 1024 * 1024
IMPORT_MAX = 5 * 1024 * 1024
FORM_FIELDS_MAX = 50
YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})
JSON = frozenset({"", "application/json"})

T = TypeVar("T")
Receive = Callable[[], Awaitable[Any]]
Headers = dict[str, str]


class GoneError(Exception):
    """The client went away while it was sending."""


async def read(receive: Receive, length: str | None, limit: int = BODY_MAX) -> bytes:
    """Return the whole body; raises `RefusedError` (413) as soon as it is known to be too large."""
    if length is not None and length.isdecimal() and int(length) > limit:
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        return body
    chunks, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise GoneError
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()


def _too_large(limit: int) -> RefusedError:
    return RefusedError(413, f"a body here may have at most {limit:,} bytes", {"connection": "close"})


def json_value(body: bytes, type_: type[T], *, empty: bytes = b"{}") -> T:
    """Return a JSON body as `type_`; no body counts as `empty`. Raises InputError, `RefusedError` (400)."""
    try:
        if body.count(b"[") + body.count(b"{") > DEPTH_MAX and depth(msgspec.json.decode(body)) > DEPTH_MAX:
            raise _too_deep()
        return msgspec.json.decode(body or empty, type=type_)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(400, f"the body is no JSON: {error}") from None
    except RecursionError:
        raise _too_deep() from None


def _too_deep() -> InputError:
    detail = f"the JSON is nested more than {DEPTH_MAX} deep"
    return InputError(detail, [Problem("", detail)])


def text(body: bytes) -> str:
    """Return a body as text; raises `RefusedError` (400) where it is no UTF-8."""
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise RefusedError(400, f"the body is no UTF-8: {error}") from None


def form(body: bytes) -> dict[str, str]:
    """Return the fields of a form that a browser sent; raises `RefusedError` (400)."""
    try:
        return dict(parse_qsl(text(body), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
    except ValueError as error:
        raise RefusedError(400, f"the form cannot be read: {error}") from None


def query(query_string: bytes, type_: type[T]) -> T:
    """Return the parameters of a query as `type_`; those that it does not know do nothing. Raises InputError."""
    try:
        given = dict(parse_qsl(query_string.decode(), max_num_fields=FORM_FIELDS_MAX))
        return msgspec.convert(given, type_, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error, where="?") from None
    except ValueError as error:
        raise RefusedError(400, f"the query cannot be read: {error}") from None


def merge(target: Any, patch: Any) -> Any:
    """Return a JSON value with a merge patch (RFC 7396) applied."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged
