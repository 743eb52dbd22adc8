"""What a service answered, and what an answer that is no success means. The one place where statuses become errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import httpx2
import msgspec

from areabox.errors import AuthExpired, ConnectorError, Permanent, RateLimited, Transient, Uncertain

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT"})  # RFC 9110, 9.2.1; RFC 4918, 9.1
EXCERPT_LENGTH = 200
RETRY_AFTER_S_MAX = 30 * 86_400.0
HINT = "_wait_s"  # where a cursor says for how long what was read stays as it is; never written
FRESH_S_MAX = 86_400
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})")
_AGAIN = frozenset({408, 425})
_BODILESS = frozenset({204, 205, 304})


class Reply:
    """An answer whose body is whole; the `Answer` of the SDK."""

    __slots__ = ("_method", "_response", "content", "status")

    def __init__(self, method: str, response: httpx2.Response) -> None:
        self._method, self._response = method, response
        self.status: int = response.status_code
        self.content: bytes = response.content

    @property
    def status_code(self) -> int:
        """The status, under the name that httpx gives it."""
        return self.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, whatever the case of their names."""
        return self._response.headers

    @property
    def text(self) -> str:
        """The body as text."""
        return self._response.text

    @property
    def url(self) -> str:
        """Where it came from, after redirects."""
        return str(self._response.url)

    def json(self) -> Any:
        """Return the parsed body, None if there need not be one: unchanged, or the answer to a change.

        Raises `Transient` for something else than JSON; `Uncertain` where the request may have changed something.
        """
        if not self.content:
            if self._method in SAFE_METHODS and self.status not in _BODILESS:
                raise Transient(f"the answer {self.status} is empty")
            return None
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            kind = Transient if self._method in SAFE_METHODS else Uncertain
            raise kind(f"the answer {self.status} is not JSON: {excerpt(self._response)}") from None


def error_of(response: httpx2.Response, method: str, host: str, now_s: float) -> ConnectorError:
    """Return the error that an answer means."""
    status, headers = response.status_code, response.headers
    message = f"{host} answered {status} {_phrase(status)}".rstrip()
    if status == 429 or (status == 403 and headers.get("x-ratelimit-remaining") == "0"):
        return RateLimited(message, retry_after_s(headers, now_s))
    if status == 401:
        return AuthExpired(message)
    text = excerpt(response)
    message = f"{message}: {text}" if text else message
    if status == 503 and "retry-after" in headers:
        return RateLimited(message, retry_after_s(headers, now_s))
    if status == 504 and method not in SAFE_METHODS:
        return Uncertain(message)
    return Transient(message) if status >= 500 or status in _AGAIN else Permanent(message)


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Return how long a service asks to be left alone: `Retry-After` in seconds or as a date, else its reset time."""
    value = headers.get("retry-after", "").strip()
    wait_s = _seconds(value)
    if wait_s is None and value:
        try:
            wait_s = parsedate_to_datetime(value).timestamp() - now_s
        except ValueError:
            wait_s = None
    if wait_s is None and (reset_s := _seconds(headers.get("x-ratelimit-reset", ""))) is not None:
        wait_s = reset_s - now_s if reset_s > 1_000_000_000 else reset_s
    return None if wait_s is None else min(max(wait_s, 0.0), RETRY_AFTER_S_MAX)


def fresh_s(response: httpx2.Response) -> int:
    """Return for how long an answer stays as it is, by its `Cache-Control`; 0: it does not say."""
    said = response.headers.get("cache-control", "").lower()
    found = None if "no-cache" in said or "no-store" in said else _MAX_AGE.search(said)
    return min(int(found[1]), FRESH_S_MAX) if found and response.status_code in (200, 304) else 0


def excerpt(response: httpx2.Response) -> str:
    """Return the beginning of an answer's text on one line."""
    kind = response.headers.get("content-type", "")
    if not response.content or ("charset" not in kind and b"\0" in response.content[:EXCERPT_LENGTH]):
        return ""
    return " ".join(response.content[: 4 * EXCERPT_LENGTH].decode("utf-8", "replace").split())[:EXCERPT_LENGTH]


def _seconds(text: str) -> float | None:
    return float(text[:12]) if text.isascii() and text.replace(".", "", 1).isdigit() else None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
