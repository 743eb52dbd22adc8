"""Which pages elsewhere may call the API from a browser? Those of the origins that the settings name, with a token.

Cookies are never taken along (no `Access-Control-Allow-Credentials`), so a page elsewhere acts with the token that
somebody gave it, or not at all. https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE"
TAKEN: Final = (
    b"authorization, content-type, accept, if-match, if-none-match, idempotency-key, last-event-id, x-request-id, "
    b"traceparent"
)
SHOWN: Final = (
    b"etag, link, location, retry-after, ratelimit, ratelimit-policy, x-request-id, idempotent-replayed, "
    b"www-authenticate"
)
KEPT_S: Final = b"600"

Pairs = list[tuple[bytes, bytes]]


def allowed(path: str, headers: Mapping[str, str], origins: tuple[str, ...]) -> bool:
    """Return whether the page that asks is of an origin that may."""
    return path.startswith("/api/") and headers.get("origin", "").lower() in origins


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Return whether a browser only asks what it may send."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def preflight(origin: str) -> Pairs:
    """Return the headers that answer a browser's question."""
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", TAKEN),
        (b"access-control-max-age", KEPT_S),
        (b"vary", b"Origin"),
    ]


def shown(origin: str) -> Pairs:
    """Return the headers that let a page read an answer."""
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", SHOWN),
        (b"vary", b"Origin"),
    ]
