"""Is somebody working on this areabox? Then people and programs are told to come back, and deliveries still taken.

The machine itself (the unix socket) is always answered, and so is what ends the maintenance, and whatever watches.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from areabox.database import Backend, one
from areabox.gateway.problems import RefusedError

OPEN: Final = (
    "/ready", "/metrics", "/login", "/logout", "/static/", "/favicon.ico", "/api/v1/system", "/api/v1/me",
    "/admin/system",
)  # fmt: skip
RETRY_S: Final = 120
_FIND: Final = "select value from meta where key = 'maintenance'"
_KEEP: Final = """
insert into meta (key, value) values ('maintenance', ?) on conflict (key) do update set value = excluded.value
returning key
"""


class Notice(msgspec.Struct, frozen=True):
    """What people are told meanwhile, and after how long they may ask again."""

    message: str = "areabox is being worked on; it comes back"
    retry_after_s: int = RETRY_S


class Maintenance:
    """Whether there is any; it outlives a restart."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._known = False
        self._notice: Notice | None = None

    async def now(self) -> Notice | None:
        """Return what is told, or None while everything is served."""
        if not self._known:
            row = await one(self._backend, _FIND)
            text: Any = row["value"] if row is not None else ""
            self._notice, self._known = msgspec.json.decode(text, type=Notice) if text else None, True
        return self._notice

    async def set(self, notice: Notice | None) -> None:
        """Begin or end it."""
        await self._backend.write(_KEEP, "" if notice is None else msgspec.json.encode(notice).decode())
        self._notice, self._known = notice, True

    async def refuse(self, path: str) -> None:
        """Raise `RefusedError` (503) for what is not served meanwhile."""
        notice = await self.now()
        if notice is not None and not path.startswith(OPEN):
            raise RefusedError(503, notice.message, {"retry-after": str(notice.retry_after_s)})
