"""What does the gateway need of the others? Their public faces, put together by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from areabox.actions.hooks import Hooks
    from areabox.areas.asking import Asking
    from areabox.areas.events import Events
    from areabox.areas.runs import Runs
    from areabox.areas.service import Areas
    from areabox.clock import Clock
    from areabox.database import Backend
    from areabox.gateway.maintenance import Maintenance
    from areabox.notifications.outbox import Outbox
    from areabox.services.catalogue import Catalogue
    from areabox.services.connections import Connections
    from areabox.users.accounts import Accounts
    from areabox.users.audit import Audit
    from areabox.users.people import People
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
    base_path: str = ""  # below which everything lies, such as /areabox
    cors_origins: tuple[str, ...] = ()
    allow_from: tuple[IPv4Network | IPv6Network, ...] = ()  # who may come at all; nothing: everybody
    hooks_allow_from: tuple[IPv4Network | IPv6Network, ...] = ()
    preconditions: bool = False  # a change needs If-Match
    access_log: float = 0.0  # which share of the requests is logged


class Probe(NamedTuple):
    """Whether one part of the daemon does its work, and what there is to say about it."""

    ok: bool
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything that a request may call."""

    backend: Backend
    clock: Clock
    site: Site
    areas: Areas
    runs: Runs
    asking: Asking
    events: Events
    catalogue: Catalogue
    connections: Connections
    hooks: Hooks
    notices: Outbox
    accounts: Accounts
    sessions: Sessions
    tokens: Tokens
    people: People
    audit: Audit
    setup: Setup
    maintenance: Maintenance
    metrics: Callable[[], tuple[bytes, str]]  # the text and its media type
    probes: Mapping[str, Callable[[], Awaitable[Probe]]] = field(default_factory=dict)
    pause: Callable[..., Awaitable[None]] | None = None  # pause(paused=…): hold everything, or let it go on
    facts: Callable[[], Awaitable[dict[str, Any]]] | None = None  # more of `/system`: sizes, settings
