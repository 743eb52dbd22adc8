"""What a connector is given while it works: the `Context` of the SDK, made anew for each call."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from areabox.clock import Clock
from areabox.sdk import Host, Http
from areabox.services.sessions import Taps


class CallContext:
    """The context of one call; attributes that do not apply are empty."""

    __slots__ = (
        "_clock", "attempt", "auth", "client_id", "cursor", "events", "host", "http", "key", "log", "secret",
        "session", "state", "taps", "url",
    )  # fmt: skip

    def __init__(
        self,
        clock: Clock,
        http: Http,
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
        self._clock, self.http, self.log, self.cursor = clock, http, log, cursor
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

    def tap(self, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Read one source from several places: each reader gets everything."""
        return source if self.taps is None else self.taps.read(source)
