"""What does the gateway need of the others? Their public faces, put together by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from areabox.actions.hooks import Hooks
    from areabox.areas.runs import Runs
    from areabox.areas.service import Areas
    from areabox.clock import Clock
    from areabox.database import Backend
    from areabox.notifications.outbox import Outbox
    from areabox.services.catalogue import Catalogue
    from areabox.users.accounts import Accounts
    from areabox.users.audit import Audit
    from areabox.users.policy import Actor
    from areabox.users.sessions import Sessions
    from areabox.users.setup import Setup
    from areabox.users.tokens import Tokens


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings say about being reached from outside."""

    version: str = "0"
    public_url: str = ""
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    rate_limits: bool = True


class Probe(NamedTuple):
    """Whether one part of the daemon does its work, and what there is to say about it."""

    ok: bool
    detail: str = ""


class Events(Protocol):
    """What came in: look, send by hand, give to areas again."""

    async def list(
        self, actor: Actor, *, action: str = "", limit: int = 50, after: str | None = None
    ) -> list[dict[str, Any]]:
        """Return events, newest first, those before the id `after`."""
        ...

    async def get(self, actor: Actor, event_id: str) -> dict[str, Any]:
        """Return an event with its payload and its runs; raises NotFoundError."""
        ...

    async def send(self, actor: Actor, action: str, payload: dict[str, Any], *, area: str | None = None) -> str:
        """Store an event as if `action` had yielded it, and return its id."""
        ...

    async def replay(self, actor: Actor, event_id: str, *, area: str | None = None) -> str:
        """Give an event to an area, or to all that listen, again; return the id of the new event."""
        ...


class Connections(Protocol):
    """Accounts at services; secrets go in and never come out."""

    async def list(self, actor: Actor, *, limit: int = 50, after: str | None = None) -> list[dict[str, Any]]:
        """Return connections by id, those behind the id `after`."""
        ...

    async def get(self, actor: Actor, name: str) -> dict[str, Any]:
        """Return the connection with this id or name; raises NotFoundError."""
        ...

    async def create(
        self, actor: Actor, *, name: str, service: str, auth: str | None, values: dict[str, Any]
    ) -> dict[str, Any]:
        """Create a connection and test it; raises InputError, ConflictError."""
        ...

    async def update(
        self, actor: Actor, name: str, *, new_name: str | None, values: dict[str, Any] | None, if_match: int | None
    ) -> dict[str, Any]:
        """Change what is given and keep the rest, secrets too."""
        ...

    async def delete(self, actor: Actor, name: str) -> None:
        """Remove a connection."""
        ...

    async def test(self, actor: Actor, name: str) -> dict[str, Any]:
        """Try a connection and return it with its new state."""
        ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything that a request may call."""

    backend: Backend
    clock: Clock
    site: Site
    areas: Areas
    runs: Runs
    events: Events
    catalogue: Catalogue
    connections: Connections
    hooks: Hooks
    notices: Outbox
    accounts: Accounts
    sessions: Sessions
    tokens: Tokens
    audit: Audit
    setup: Setup
    metrics: Callable[[], tuple[bytes, str]]  # the text and its media type
    probes: Mapping[str, Callable[[], Awaitable[Probe]]] = field(default_factory=dict)
    facts: Callable[[], Awaitable[dict[str, Any]]] | None = None  # more of `/system`: sizes, settings
