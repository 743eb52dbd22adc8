"""Which answers go out smaller? Texts of more than a kilobyte, by gzip, unless somebody could guess by their size.

Whoever sees how long an answer is, and can put text of his own into it, can guess a secret beside that text letter by
letter (BREACH, https://breachattack.com/). So what a cookie opened is compressed for areabox's own pages only: another
site can make a browser ask, but `Sec-Fetch-Site` tells. Streams stay as they are, since a compressor would hold them
back, and so does what carries a cookie.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

SIZE_MIN: Final = 1_024
INLINE_MAX: Final = 64 * 1024  # more is done in a thread, so that the loop goes on
_LEVEL, _GZIP = 5, 16 + zlib.MAX_WBITS
_TYPES: Final = (
    "text/html", "text/css", "text/javascript", "text/plain", "application/json", "application/problem+json",
    "application/schema+json", "application/yaml", "application/x-ndjson", "image/svg+xml",
)  # fmt: skip

Send = Callable[[Any], Awaitable[None]]


def wanted(headers: Mapping[str, str]) -> bool:
    """Return whether the client takes gzip, and its answer may be compressed at all."""
    if not _takes_gzip(headers.get("accept-encoding", "")):
        return False
    return "cookie" not in headers or headers.get("sec-fetch-site") == "same-origin"


def _takes_gzip(accepted: str) -> bool:
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def compressed(send: Send) -> Send:
    """Return a `send` that makes whole answers smaller; what comes in pieces goes out as it came."""
    held: list[Any] = []

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            if _fits(message):
                held.append(message)
            else:
                await send(message)
        elif held:
            start = held.pop()
            body = message.get("body", b"")
            if not message.get("more_body") and len(body) >= SIZE_MIN:
                start, message = await _smaller(start, message, body)
            await send(start)
            await send(message)
        else:
            await send(message)

    return sending


def _fits(start: Any) -> bool:
    headers = {name.lower(): value for name, value in start["headers"]}
    if start["status"] in (204, 304) or b"content-encoding" in headers or b"set-cookie" in headers:
        return False
    return headers.get(b"content-type", b"").partition(b";")[0].decode("latin-1").strip().lower() in _TYPES


async def _smaller(start: Any, message: Any, body: bytes) -> tuple[Any, Any]:
    small = _gzip(body) if len(body) <= INLINE_MAX else await asyncio.to_thread(_gzip, body)
    headers = [pair for pair in start["headers"] if pair[0].lower() not in (b"content-length", b"etag", b"vary")]
    given = {name.lower(): value for name, value in start["headers"]}
    if etag := given.get(b"etag"):  # another form of the same thing: equal in meaning, not byte by byte
        headers.append((b"etag", etag if etag.startswith(b"W/") else b"W/" + etag))
    headers.append((b"vary", _varying(given.get(b"vary", b""))))
    headers += [(b"content-encoding", b"gzip"), (b"content-length", str(len(small)).encode())]
    return {**start, "headers": headers}, {**message, "body": small}


def _varying(given: bytes) -> bytes:
    if b"accept-encoding" in given.lower():
        return given
    return given + b", Accept-Encoding" if given else b"Accept-Encoding"


def _gzip(body: bytes) -> bytes:
    maker = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return maker.compress(body) + maker.flush()
