"""What is a connector given while it works? Its HTTP client, its own credentials, its cursor and its key."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from areabox.sdk.commands import Command


class Answer(Protocol):
    """What a service answered; its body is whole."""

    @property
    def status(self) -> int:
        """The status code."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, whatever the case of their names."""
        ...

    @property
    def content(self) -> bytes:
        """The body's bytes."""
        ...

    @property
    def text(self) -> str:
        """The body as text."""
        ...

    @property
    def url(self) -> str:
        """Where it came from, after redirects."""
        ...

    def json(self) -> Any:
        """Return the parsed body; None where nothing has changed since the last poll, or there is no body."""
        ...


class Http(Protocol):
    """The guarded HTTP client. It pages, waits, maps errors and adds the access header for the service's own hosts.

    A path is appended to the connector's `base`. `ok` names statuses beside 2xx that are no errors.
    `conditional=True` sends what the last answer of this poll said (ETag); unchanged means an empty answer.
    """

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = ...,
        data: Mapping[str, Any] | None = None,
        content: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        ok: Collection[int] | Literal["all"] = (),
        conditional: bool = False,
        max_bytes: int | None = None,
    ) -> Answer:
        """Send a request and return its answer; raises a `ConnectorError` for every other status and for none."""
        ...

    async def get(self, url: str, **options: Any) -> Answer:
        """Send a GET request."""
        ...

    async def post(self, url: str, **options: Any) -> Answer:
        """Send a POST request."""
        ...

    async def put(self, url: str, **options: Any) -> Answer:
        """Send a PUT request."""
        ...

    async def patch(self, url: str, **options: Any) -> Answer:
        """Send a PATCH request."""
        ...

    async def delete(self, url: str, **options: Any) -> Answer:
        """Send a DELETE request."""
        ...

    def pages(
        self,
        url: str,
        *,
        style: Literal["link", "cursor", "page", "offset"] = "link",
        items: str = "",
        param: str = "",
        cursor: str = "next",
        size: int = 100,
        at_most: int = 10,
        **options: Any,
    ) -> AsyncIterator[Any]:
        """Yield the items of all pages; `items` and `cursor` are dotted paths into the answer."""
        ...

    def stream(
        self,
        url: str,
        *,
        method: str = ...,
        params: Mapping[str, Any] | None = None,
        json: Any = ...,
        headers: Mapping[str, str] | None = None,
        quiet_s: float | None = None,
    ) -> AbstractAsyncContextManager[Any]:
        """Open an answer without an end, to be read by its `pieces()`, `lines()` or `events()`."""
        ...

    def sse(self, url: str, *, last_id: str = "", **options: Any) -> AsyncIterator[Any]:
        """Yield server-sent events (`data event id`); `last_id` asks for those after it."""
        ...

    def websocket(
        self,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        protocols: Sequence[str] = (),
    ) -> AbstractAsyncContextManager[Any]:
        """Open a WebSocket, to be used by its `send()`, `receive()` and `messages()`."""
        ...


class Folders(Protocol):
    """The folders that the operator allowed areas to touch."""

    def find(self, path: str) -> Path:
        """Return where a path really leads; raises `Permanent` unless that is inside an allowed folder."""
        ...

    def opened(self, path: str, *, make: bool = False) -> AbstractContextManager[tuple[int, str]]:
        """Give the open folder (a descriptor) that holds a file, and the file's name in it; raises as `find`."""
        ...


class Host(Protocol):
    """What the house itself does for the services that are part of it; others are given None."""

    @property
    def folders(self) -> Folders:
        """The files that areas may touch."""
        ...

    async def commands(self) -> Mapping[str, Command]:
        """Return the commands of this machine that an admin defined and the owner may run, by name."""
        ...

    async def apprise(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Have Apprise do something in its own process; raises Permanent where an admin did not switch it on."""
        ...

    @property
    def push_key(self) -> bytes:
        """The private key that signs push messages (VAPID), of P-256."""
        ...

    async def store_get(self, key: str) -> Any:
        """Return what is stored under a key, None if nothing is."""
        ...

    async def store_set(self, key: str, value: Any, effect_key: str) -> Any:
        """Store a value, once for each effect key, and return it."""
        ...

    async def store_increment(self, key: str, value: float, effect_key: str) -> Any:
        """Add to a stored number, once for each effect key, and return the sum."""
        ...

    async def notify(self, title: str, message: str, link: str, effect_key: str) -> None:
        """Tell the owner something, once for each effect key."""
        ...


class Context(Protocol):
    """What a running action or reaction is given beside its own parameters."""

    http: Http
    auth: Any  # the connection's own fields, by name; None without one
    cursor: dict[str, Any]  # kept between two polls, written with the events
    key: str  # the same on every attempt at a step: an idempotency key
    attempt: int  # from 1
    log: logging.Logger
    session: Any  # what `@connector.session` gave
    client_id: str  # names this connection towards the service, for ever the same
    url: str  # the address of the hook, in `@connector.webhook`
    secret: str  # … its secret
    events: list[str]  # … and what to subscribe to
    state: Any  # what subscribing returned, in `@hook.unsubscribe`
    host: Host | None

    @property
    def now(self) -> datetime:
        """The time, in UTC."""
        ...

    def fresh_for(self, seconds: float) -> None:
        """Say for how long what was read stays as it is: a hint for when to poll again."""
        ...

    async def addresses(self, host: str) -> list[str]:
        """Return the addresses of a host that may be reached; raises `Transient` or `Permanent` as `dial` does."""
        ...

    async def dial(self, host: str, port: int) -> socket.socket:
        """Connect to a service that speaks no HTTP; raises `Transient`, or `Permanent` where nobody allowed it.

        The socket does not block and is the caller's to close. A host may be at home if it stands in a field of the
        connection, or of the action, that is an address or has the format "host" or "target".
        """
        ...

    async def tls(self, certificate: str = "") -> ssl.SSLContext:
        """Return what to speak TLS with: the machine's authorities are trusted, or a certificate (PEM) instead."""
        ...

    def tap(self, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Read one source from several places: each reader gets everything."""
        ...


Session = Callable[[Any, Context], AbstractAsyncContextManager[Any]]
