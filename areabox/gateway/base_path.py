"""How do links lead below a path such as /areabox? What pages and redirections name gets it put before.

A proxy may give areabox a part of a name's addresses. Pages are written as if they lay at the root; the addresses in
their attributes are the only `="/` in them, since text that comes from anywhere else has its quotes escaped.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

Send = Callable[[Any], Awaitable[None]]
PREFIX: Final = re.compile(r"(/[A-Za-z0-9][A-Za-z0-9._~-]{0,63}){1,8}")
_ATTRIBUTE: Final = re.compile(rb"""(\s(?:href|src|action|formaction|poster|data-[a-z-]+|hx-[a-z-]+)=")(/(?!/))""")
_SCRIPT: Final = re.compile(rb"""(["'`])(/[a-z][a-z0-9_-]*[/?"'`$])""")
_STYLE: Final = re.compile(rb"""(url\(["']?)(/static/)""")
_LEADING: Final = frozenset({b"location", b"hx-redirect", b"hx-location", b"hx-push-url", b"hx-replace-url"})
_LINK: Final = re.compile(rb"(<)(/)")
_WRITTEN: Final = {b"text/html": _ATTRIBUTE, b"text/javascript": _SCRIPT, b"text/css": _STYLE}


def prefixed(send: Send, prefix: str) -> Send:
    """Return a `send` that puts a prefix before the addresses of an answer."""
    put = prefix.encode()
    held: list[Any] = []

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [_header(name, value, put) for name, value in message["headers"]]}
            if _pattern(message) is None:
                await send(message)
            else:
                held.append(message)
            return
        if held:
            start = held.pop()
            pattern, body = _pattern(start), message.get("body", b"")
            if pattern is not None and not message.get("more_body"):
                body = pattern.sub(rb"\g<1>" + put + rb"\g<2>", body)
                start = {**start, "headers": [pair for pair in start["headers"] if pair[0] != b"content-length"]}
                start["headers"].append((b"content-length", str(len(body)).encode()))
                message = {**message, "body": body}
            await send(start)
        await send(message)

    return sending


def _header(name: bytes, value: bytes, put: bytes) -> tuple[bytes, bytes]:
    if name.lower() in _LEADING and value.startswith(b"/") and not value.startswith(b"//"):
        return name, put + value
    return (name, _LINK.sub(rb"\g<1>" + put + rb"\g<2>", value)) if name.lower() == b"link" else (name, value)


def _pattern(start: Any) -> re.Pattern[bytes] | None:
    given = {name.lower(): value for name, value in start["headers"]}
    if b"content-encoding" in given:
        return None
    return _WRITTEN.get(given.get(b"content-type", b"").partition(b";")[0])
