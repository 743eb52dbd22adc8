"""What happened at a service, and what it delivers to a hook."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec


class Event(msgspec.Struct, kw_only=True):
    """One thing that happened. `id` is the service's own and stable; leave it out in streams and deliveries."""

    id: str = ""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What came in at a hook's address; header names are in lower case."""

    method: str = "POST"
    url: str = ""  # the whole address, as the sender was told it
    path: str = ""  # behind the address
    query: dict[str, Any] = {}
    headers: dict[str, str] = {}
    body: bytes = b""
    json: Any = None  # the parsed body, None if it is not JSON

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    @property
    def form(self) -> dict[str, str]:
        """The fields of a body that is a form, the last of each name; empty for anything else."""
        if not self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return {}
        try:
            return dict(parse_qsl(self.text, keep_blank_values=True, max_num_fields=1_000))
        except ValueError:
            return {}
