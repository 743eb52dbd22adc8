"""What a call needs to know of whom it calls: the connection opened up, or none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from areabox.sdk import Connector
from areabox.services.egress import Credentials
from areabox.services.forms import FormField
from areabox.services.secrets import Scrubber
from areabox.services.targets import host_key, socket_url
from areabox.services.ways import Way

_HOST = re.compile(
    r"^\s*[a-z][a-z0-9+.-]*://(?:[^/?#@\s]*@)?(\[[0-9a-fA-F:.]+\]|[^/?#:@\s]+)(?=[:/?#\s]|$)", re.IGNORECASE
)


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Where the paths of a service lead, and which headers its own hosts are sent."""

    service: str
    base: str = ""
    credentials: Credentials | None = None
    literal: frozenset[str] = frozenset()  # hosts that a person typed, which may be at home


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A connection, opened for a call. It is never stored, sent or logged."""

    id: str
    owner: str
    service: str
    version: int
    dead: str | None  # why it does not work, None if it does
    view: Any  # what the connector sees as `ctx.auth`
    route: Route
    scrubber: Scrubber

    def __repr__(self) -> str:
        return f"Account({self.service}, {self.id})"


def route_of(connector: Connector, way: Way | None = None, view: Any = None, *, typed: bool = False) -> Route:
    """Return the route of a service, without a connection or with one whose addresses a trusted person `typed`."""
    base = connector.base(view) if callable(connector.base) and view is not None else connector.base
    base = base.rstrip("/") if isinstance(base, str) else ""
    fields = way.form.fields if way is not None else {}
    values = {name: getattr(view, name) for name in fields} if view is not None else {}
    headers = way.headers(view) if way is not None and view is not None else {}
    if base.startswith("/"):  # the path of a socket
        sockets, base = frozenset({host_key(base)}), socket_url(base)
    else:
        sockets = frozenset()
    hosts = frozenset({*_authority(base), *(host.lower() for host in connector.hosts)})
    return Route(
        service=connector.name,
        base=base,
        credentials=Credentials(tuple(headers.items()), hosts) if headers else None,
        literal=literal_hosts(values) | typed_hosts(fields, values) | sockets if typed else frozenset(),
    )


def _authority(base: str) -> tuple[str, ...]:
    """Return `host:port` of an address: another port of the same machine is another service."""
    parts = urlsplit(base)
    if not parts.hostname:
        return ()
    return (f"{parts.hostname}:{parts.port or (80 if parts.scheme == 'http' else 443)}",)


def typed_hosts(fields: Mapping[str, FormField], values: Mapping[str, Any]) -> frozenset[str]:
    """Return the hosts that stand in fields of the formats "host" and "target" (which may have a port)."""
    found: set[str] = set()
    for name, field in fields.items():
        text = str(values.get(name) or "").lower()
        if text and field.spec.format in ("host", "target") and "://" not in text:
            found.add(text.rpartition(":")[0] if text.count(":") == 1 else text)
    return frozenset(found)


def literal_hosts(value: Any) -> frozenset[str]:
    """Return the hosts of the addresses in a JSON value, as they were typed."""
    found: set[str] = set()
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, str):
            if match := _HOST.match(current):
                found.add(match[1].strip("[]").lower())
        elif isinstance(current, dict):
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)
    return frozenset(found)
