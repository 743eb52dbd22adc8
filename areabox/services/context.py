"""What a connector is given while it works: the `Context` of the SDK, made anew for each call."""

from __future__ import annotations

import copy
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from areabox.clock import Clock
from areabox.sdk import Host, Http
from areabox.services.answers import FRESH_S_MAX, HINT
from areabox.services.http import Client
from areabox.services.sessions import Taps


class CallContext:
    """The context of one call; attributes that do not apply are empty."""

    __slots__ = (
        "_client", "_clock", "attempt", "auth", "client_id", "cursor", "events", "host", "http", "key", "log", "secret",
        "session", "state", "taps", "url",
    )  # fmt: skip

    def __init__(
        self,
        clock: Clock,
        http: Client,
        log: logging.Logger,
        *,
        auth: Any = None,
        cursor: dict[str, Any],
        key: str = "",
        attempt: int = 1,
        host: Host | None = None,
        client_id: str = "areabox",
        taps: Taps | None = None,
    ) -> None:
        self._clock, self._client, self.log, self.cursor = clock, http, log, cursor
        self.http: Http = http
        self.auth: Any = auth
        self.key, self.attempt, self.host, self.client_id, self.taps = key, attempt, host, client_id, taps
        self.session: Any = None
        self.url = self.secret = ""
        self.events: list[str] = []
        self.state: Any = None

    @property
    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)

    def lasting(self) -> CallContext:
        """Return the same context for a session, which outlives the call that opens it."""
        made = copy.copy(self)
        made._client = made.http = self._client.lasting()  # noqa: SLF001 -- its own kind
        return made

    def fresh_for(self, seconds: float) -> None:
        """Say for how long what was read stays as it is."""
        self.cursor[HINT] = max(self.cursor.get(HINT, 0), min(max(seconds, 0), FRESH_S_MAX))

    async def addresses(self, host: str) -> list[str]:
        """Return the addresses of a host that may be reached."""
        return await self._client.addresses(host)

    async def dial(self, host: str, port: int) -> socket.socket:
        """Connect to a service that speaks no HTTP."""
        return await self._client.dial(host, port)

    async def tls(self, certificate: str = "") -> ssl.SSLContext:
        """Return what to speak TLS with."""
        return await self._client.tls(certificate)

    def tap(self, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Read one source from several places: each reader gets everything."""
        return source if self.taps is None else self.taps.read(source)
