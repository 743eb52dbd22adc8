"""What happened at a service, and what it delivers to a hook."""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, kw_only=True):
    """One thing that happened. `id` is the service's own and stable; leave it out in streams and deliveries."""

    id: str = ""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What came in at a hook's address; header names are in lower case."""

    method: str = "POST"
    path: str = ""  # behind the address
    query: dict[str, Any] = {}
    headers: dict[str, str] = {}
    body: bytes = b""
    json: Any = None  # the parsed body, None if it is not JSON

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")
