"""What may be typed of a connection: its name, its values, and the place where its secrets would go; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from areabox.errors import InputError, Problem
from areabox.services.accounts import route_of
from areabox.services.catalogue import Service
from areabox.services.ways import Way

NAME = re.compile(r"[^\s/{}](?:[^\n\r\t/{}]{0,62}[^\s/{}])?")
_WHERE = frozenset({"host", "hostname", "server", "address", "domain", "port"})


def plain(way: Way, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON has them, without those that nobody gave."""
    return {name: value for name, value in values.items() if value is not UNSET and name in way.form.fields}


def place(service: Service, way: Way, values: Mapping[str, Any]) -> object:
    """Return where the secrets of a connection would go."""
    route = route_of(service.connector, way, way.view(values))
    fields = (field for field in way.form.fields.values() if not field.secret)
    hosts = route.credentials.hosts if route.credentials is not None else None
    return hosts, [values.get(f.name) for f in fields if f.spec.format in ("url", "host") or f.name in _WHERE]


def checked_name(name: str) -> str:
    """Return a name that may be one; raises InputError."""
    if not NAME.fullmatch(name):
        detail = "a name has 1 to 64 characters, none of them a slash, brace or line break"
        raise InputError(detail, [Problem("/name", detail)])
    return name
