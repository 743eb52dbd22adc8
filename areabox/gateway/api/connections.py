"""Connections: accounts at services, whose secrets go in and never come out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from areabox.gateway.routes import Answer, Ask, Listing, Page, Route, delete, get, page, patch, post, rfc3339
from areabox.gateway.shapes import ConnectionView

if TYPE_CHECKING:
    from areabox.services.connections import Connection


class Search(Listing, frozen=True, kw_only=True):
    """Which connections: those to a service."""

    service: str = ""


class NewConnection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A connection to a service: `auth` is one of its ways in, `values` the fields of that way's form."""

    service: str
    values: dict[str, Any] = {}
    name: str | None = None
    auth: str | None = None
    test: bool = True


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new name, or new values; secrets that are not given stay."""

    name: str | None = None
    values: dict[str, Any] | None = None


async def list_(ask: Ask, query: Search) -> Page[Any]:
    """List connections and how they do."""
    found = await ask.parts.connections.list(
        ask.actor.owner, service=query.service, limit=query.count, after=query.after or ""
    )
    return page([view(connection) for connection in found], query)


async def create(ask: Ask, body: NewConnection) -> Answer:
    """Create a connection, and test it unless `test` is false."""
    owner = ask.actor.owner
    made = await ask.parts.connections.create(owner, body.service, body.values, name=body.name, auth=body.auth)
    if body.test:
        made = await ask.parts.connections.test(owner, made.id)
    return _answer(made, {"location": f"/api/v1/connections/{made.id}"})


async def show(ask: Ask, id: str) -> Answer:
    """Show a connection, by its id or name."""
    return _answer(await ask.parts.connections.get(ask.actor.owner, id))


async def change(ask: Ask, id: str, body: Change) -> Answer:
    """Rename a connection or give it other values; a new address asks for its secrets again."""
    changed = await ask.parts.connections.update(
        ask.actor.owner, id, values=body.values, rename=body.name, version=ask.if_match()
    )
    return _answer(changed)


async def remove(ask: Ask, id: str) -> None:
    """Remove a connection and its secrets."""
    await ask.parts.connections.delete(ask.actor.owner, id)


async def test(ask: Ask, id: str) -> Answer:
    """Ask the service whether the connection works; what waited for it goes on."""
    return _answer(await ask.parts.connections.test(ask.actor.owner, id))


def view(connection: Connection) -> dict[str, Any]:
    """Return a connection as the API shows it."""
    return {
        "id": connection.id,
        "name": connection.name,
        "service": connection.service,
        "auth": connection.auth,
        "state": connection.state,
        "account": connection.account,
        "values": connection.config,
        "secrets": list(connection.secrets),
        "error": connection.error,
        "checked": rfc3339(connection.checked),
        "version": connection.version,
        "created": rfc3339(connection.created),
    }


def _answer(connection: Connection, headers: dict[str, str] | None = None) -> Answer:
    return Answer(value=view(connection), etag=str(connection.version), headers=headers or {}, object=connection.name)


_ONE = "/api/v1/connections/{id}"
ROUTES: tuple[Route, ...] = (
    get("/api/v1/connections", list_, "connections:read", answer=Page[ConnectionView]),
    post(
        "/api/v1/connections", create, "connections:write", answer=ConnectionView, status=201, audit="connection.create"
    ),
    get(_ONE, show, "connections:read", answer=ConnectionView),
    patch(_ONE, change, "connections:write", answer=ConnectionView, audit="connection.change"),
    delete(_ONE, remove, "connections:write", audit="connection.delete"),
    post(_ONE + "/test", test, "connections:write", answer=ConnectionView, audit="connection.test"),
)
