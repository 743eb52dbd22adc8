"""`ctx.http`: how a connector speaks HTTP, in the words of the SDK, over the guarded egress.

One of these lives for one call. It appends paths to the base, names the credentials that egress adds for the service's
own hosts, keeps the call's time budget, remembers whether something may have been changed, and turns statuses into
errors.
"""

from __future__ import annotations

import copy
import math
import socket
import ssl
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, Protocol
from urllib.parse import unquote, urlencode, urlsplit

import httpx2
import msgspec

from areabox.clock import Clock
from areabox.errors import ConnectorError, Permanent, Transient, Uncertain
from areabox.sdk import UNSET
from areabox.services.accounts import Route
from areabox.services.answers import HINT, SAFE_METHODS, Reply, error_of, fresh_s
from areabox.services.egress import Credentials
from areabox.services.pace import Pace
from areabox.services.paging import Paging, Style, at
from areabox.services.streams import ServerEvent, Stream
from areabox.services.targets import SOCKET
from areabox.services.websockets import WebSocket

JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"
TEXT_TYPE = "text/plain; charset=utf-8"
CONDITIONAL = "_http"  # where a cursor keeps what the last answers said
CONDITIONAL_MAX = 50
OPENING_S = 30.0
EXCERPT_BYTES = 800
_ENCODER = msgspec.json.Encoder()


class Egress(Protocol):
    """Whoever sends requests and guards where they go."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None,
        timeout_s: float,
        literal_hosts: frozenset[str],
        credentials: Credentials | None,
    ) -> httpx2.Response:
        """Return the answer with its whole body, whatever its status; raises a `ConnectorError` if there is none."""
        ...

    def stream(
        self,
        url: str,
        *,
        method: str = ...,
        headers: Mapping[str, str] = ...,
        content: bytes | None = ...,
        timeout_s: float = ...,
        quiet_s: float | None = ...,
        literal_hosts: frozenset[str] = ...,
        credentials: Credentials | None = ...,
    ) -> AbstractAsyncContextManager[Stream]:
        """Open an answer without an end, whatever its status."""
        ...

    def websocket(
        self,
        url: str,
        *,
        headers: Mapping[str, str] = ...,
        protocols: Sequence[str] = ...,
        timeout_s: float = ...,
        literal_hosts: frozenset[str] = ...,
        credentials: Credentials | None = ...,
    ) -> AbstractAsyncContextManager[WebSocket]:
        """Open a WebSocket."""
        ...


    async def addresses(self, host: str, port: int, *, literal_hosts: frozenset[str]) -> list[str]:
        """Return the judged addresses of a host."""
        ...

    async def dial(self, host: str, port: int, *, timeout_s: float, literal_hosts: frozenset[str]) -> socket.socket:
        """Connect to a judged address of a host."""
        ...

    async def tls(self, certificate: str = "") -> ssl.SSLContext:
        """Return what to speak TLS with."""
        ...


class Client:
    """The HTTP client of one call."""

    __slots__ = ("_clock", "_cursor", "_deadline_s", "_egress", "_literal", "_pace", "_route", "changed", "used")

    def __init__(
        self,
        egress: Egress,
        clock: Clock,
        route: Route,
        *,
        timeout_s: float,
        cursor: dict[str, Any],
        literal_hosts: frozenset[str] = frozenset(),
        pace: Pace | None = None,
    ) -> None:
        self._pace = pace
        self._egress, self._clock, self._route, self._cursor = egress, clock, route, cursor
        self._literal = route.literal | literal_hosts if route.literal else literal_hosts
        self._deadline_s = clock.monotonic_s() + timeout_s
        self.used = False
        self.changed = False  # something was sent that may have had an effect

    def lasting(self) -> Client:
        """Return the same client without a time at which its call must be over."""
        made = copy.copy(self)
        made._deadline_s = math.inf  # noqa: SLF001 -- its own kind
        return made

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = UNSET,
        data: Mapping[str, Any] | None = None,
        content: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        ok: Collection[int] | Literal["all"] = (),
        conditional: bool = False,
        max_bytes: int | None = None,
    ) -> Reply:
        """Send a request and return its answer; raises a `ConnectorError` for every other status and for none."""
        url = self._whole(url, params)
        sent, body = _body(json, data, content)
        if conditional:
            sent.update(self._conditions(url))
        if headers:
            _override(sent, headers)
        if self._pace is None:
            response = await self._send(method, url, sent, body, max_bytes)
        else:
            async with self._pace.turn():
                response = await self._send(method, url, sent, body, max_bytes)
        status = response.status_code
        if conditional and fresh_s(response):
            self._cursor[HINT] = max(self._cursor.get(HINT, 0), fresh_s(response))
        if 200 <= status < 300:
            if conditional:
                self._remember(url, response)
        elif not (ok == "all" or status in ok or (conditional and status == 304)):
            raise error_of(response, method, _host(url), self._clock.now_ms() / 1000)
        return Reply(method, response)

    async def get(self, url: str, **options: Any) -> Reply:
        """Send a GET request."""
        return await self.request("GET", url, **options)

    async def post(self, url: str, **options: Any) -> Reply:
        """Send a POST request."""
        return await self.request("POST", url, **options)

    async def put(self, url: str, **options: Any) -> Reply:
        """Send a PUT request."""
        return await self.request("PUT", url, **options)

    async def patch(self, url: str, **options: Any) -> Reply:
        """Send a PATCH request."""
        return await self.request("PATCH", url, **options)

    async def delete(self, url: str, **options: Any) -> Reply:
        """Send a DELETE request."""
        return await self.request("DELETE", url, **options)

    async def pages(
        self,
        url: str,
        *,
        style: Style = "link",
        items: str = "",
        param: str = "",
        cursor: str = "next",
        size: int = 100,
        at_most: int = 10,
        **options: Any,
    ) -> AsyncIterator[Any]:
        """Yield the items of all pages, at most `at_most` pages."""
        habit = Paging(style, param, cursor, size)
        params = dict(options.pop("params", None) or {})
        for number in range(at_most):
            answer = await self.get(url, params=params, **options)
            body = answer.json()
            found = at(body, items) or []
            for item in found:
                yield item
            following = habit.following(answer, body, number, len(found))
            if following is None:
                return
            if isinstance(following, str):
                url, params = following, {}
            else:
                params |= following

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        *,
        method: str = "GET",
        params: Mapping[str, Any] | None = None,
        json: Any = UNSET,
        headers: Mapping[str, str] | None = None,
        quiet_s: float | None = None,
    ) -> AsyncIterator[Stream]:
        """Open an answer without an end, to be read by its `pieces()`, `lines()` or `events()`.

        `quiet_s` is the longest silence that is not taken for the end.
        """
        url = self._whole(url, params)
        sent, body = _body(json, None, None)
        _override(sent, headers or {})
        opening = self._egress.stream(
            url,
            method=method,
            headers=sent,
            content=body,
            timeout_s=self._opening_s(),
            quiet_s=quiet_s,
            literal_hosts=self._literal,
            credentials=self._route.credentials,
        )
        async with opening as stream:
            if not 200 <= stream.status_code < 300:
                raise await self._refused(stream, method, url)
            yield stream

    async def sse(self, url: str, *, last_id: str = "", **options: Any) -> AsyncIterator[ServerEvent]:
        """Yield server-sent events; `last_id` asks for those after it."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
        async with self.stream(url, headers=headers | (options.pop("headers", None) or {}), **options) as stream:
            async for event in stream.events():
                yield event

    @asynccontextmanager
    async def websocket(
        self,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        protocols: Sequence[str] = (),
    ) -> AsyncIterator[WebSocket]:
        """Open a WebSocket, to be used by its `send()`, `receive()` and `messages()`."""
        opening = self._egress.websocket(
            self._whole(url, params),
            headers=headers or {},
            protocols=protocols,
            timeout_s=self._opening_s(),
            literal_hosts=self._literal,
            credentials=self._route.credentials,
        )
        async with opening as socket:
            yield socket

    async def addresses(self, host: str) -> list[str]:
        """Return the addresses of a host that may be reached."""
        return await self._egress.addresses(host.lower(), 0, literal_hosts=self._literal)

    async def dial(self, host: str, port: int) -> socket.socket:
        """Connect to a service that speaks another protocol."""
        left_s = min(max(self._deadline_s - self._clock.monotonic_s(), 0.0), OPENING_S)
        return await self._egress.dial(host, port, timeout_s=left_s, literal_hosts=self._literal)

    async def tls(self, certificate: str = "") -> ssl.SSLContext:
        """Return what to speak TLS with."""
        return await self._egress.tls(certificate)

    def _opening_s(self) -> float:
        self.used = self.changed = True
        return min(max(self._deadline_s - self._clock.monotonic_s(), 0.0), OPENING_S)

    async def _refused(self, stream: Stream, method: str, url: str) -> ConnectorError:
        text = await stream.read(EXCERPT_BYTES)
        response = httpx2.Response(stream.status_code, headers=stream.headers, content=text)
        return error_of(response, method, _host(url), self._clock.now_ms() / 1000)

    async def _send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None, max_bytes: int | None
    ) -> httpx2.Response:
        safe = method in SAFE_METHODS
        left_s = self._deadline_s - self._clock.monotonic_s()
        if left_s <= 0:
            raise Transient("the time of this attempt was over before the request was sent")
        self.used = True
        self.changed = self.changed or not safe
        more: dict[str, Any] = {} if max_bytes is None else {"max_bytes": max_bytes}
        try:
            return await self._egress.request(
                method,
                url,
                headers=headers,
                content=body,
                timeout_s=left_s,
                literal_hosts=self._literal,
                credentials=self._route.credentials,
                **more,
            )
        except Uncertain as error:
            if safe:
                raise Transient(str(error)) from error
            raise

    def _whole(self, url: str, params: Mapping[str, Any] | None) -> str:
        whole = url if "://" in url else self._joined(url)
        return _with_query(whole, params) if params else whole

    def _joined(self, path: str) -> str:
        base = self._route.base
        if not base:
            raise Permanent(f"{path[:100]!r} is not an address that begins with http:// or https://")
        return base + path if path[:1] in ("/", "?") else f"{base}/{path}"

    def _conditions(self, url: str) -> dict[str, str]:
        known = self._cursor.get(CONDITIONAL, {}).get(url)
        if not known:
            return {}
        return {name: value for name, value in zip(("If-None-Match", "If-Modified-Since"), known, strict=True) if value}

    def _remember(self, url: str, response: httpx2.Response) -> None:
        """Keep what an answer said of its state in the cursor, which is written with the events of the poll."""
        said = [response.headers.get("etag", ""), response.headers.get("last-modified", "")]
        kept = {key: value for key, value in self._cursor.get(CONDITIONAL, {}).items() if key != url}
        if any(said):
            kept[url] = said
        while len(kept) > CONDITIONAL_MAX:
            del kept[next(iter(kept))]
        if kept or CONDITIONAL in self._cursor:
            self._cursor[CONDITIONAL] = kept


def _body(
    json: Any, data: Mapping[str, Any] | None, content: bytes | str | None
) -> tuple[dict[str, str], bytes | None]:
    """Return the headers and bytes of a body; none for a request without one."""
    if json is not UNSET:
        return {"Content-Type": JSON_TYPE}, _ENCODER.encode(json)
    if data is not None:
        return {"Content-Type": FORM_TYPE}, urlencode(_given(data), doseq=True).encode()
    if isinstance(content, str):
        return {"Content-Type": TEXT_TYPE}, content.encode()
    return {}, content


def _host(url: str) -> str:
    """Return the host of an address, or the path of its socket, for people."""
    return unquote(urlsplit(url).netloc) if url.startswith(SOCKET) else urlsplit(url).hostname or ""


def _with_query(url: str, params: Mapping[str, Any]) -> str:
    whole, mark, fragment = url.partition("#")
    query = urlencode(_given(params), doseq=True)
    if not query:
        return url
    return f"{whole}{'&' if '?' in whole else '?'}{query}{mark}{fragment}"


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are there, as a form or query writes them."""
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in values.items()
        if value is not None
    }


def _override(sent: dict[str, str], headers: Mapping[str, str]) -> None:
    """Put a connector's own headers over what is sent otherwise, whatever the case of their names."""
    given = {name.lower() for name in headers}
    for name in [name for name in sent if name.lower() in given]:
        del sent[name]
    sent.update(headers)
