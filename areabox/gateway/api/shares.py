"""Shares: what of mine others may see, run, edit or use, and what of theirs I may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from areabox.gateway.routes import Answer, Ask, Listing, Page, Route, delete, get, page, post, rfc3339
from areabox.gateway.shapes import ShareView

if TYPE_CHECKING:
    from areabox.users.shares import Share


class NewShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An area (`see`, `run`, `edit`) or a connection (`use`) of mine, by name or id, and with whom."""

    kind: str
    name: str
    account: str
    level: str


async def list_(ask: Ask, query: Listing) -> Page[Any]:
    """List what I share, and what is shared with me."""
    found = await ask.parts.people.shares.list(ask.actor, limit=query.count, after=query.after)
    return page([view(ask, share) for share in found], query)


async def create(ask: Ask, body: NewShare) -> Answer:
    """Share something of mine, or change how far."""
    ask.actor.require("connections:write" if body.kind == "connection" else "areas:write")
    account = await ask.parts.accounts.get(body.account)
    share = await ask.parts.people.shares.put(ask.actor, body.kind, body.name, account, body.level)
    ask.parts.connections.forget()
    return Answer(value=view(ask, share), object=f"{share.kind} {share.name} {share.account} {share.level}")


async def remove(ask: Ask, id: str) -> Answer:
    """End a share, of mine or with me."""
    share = await ask.parts.people.shares.delete(ask.actor, id)
    ask.parts.connections.forget()
    return Answer(object=f"{share.kind} {share.name} {share.account}")


def view(ask: Ask, share: Share) -> dict[str, Any]:
    """Return a share as the API shows it."""
    return {
        "id": share.id,
        "kind": share.kind,
        "name": share.name,
        "object": share.object,
        "owner": share.owner,
        "account": share.account,
        "level": share.level,
        "mine": share.owner == ask.actor.email,
        "created": rfc3339(share.created),
    }


ROUTES: tuple[Route, ...] = (
    get("/api/v1/shares", list_, "me:read", answer=Page[ShareView]),
    post("/api/v1/shares", create, "me:write", answer=ShareView, status=201, audit="share.create"),
    delete("/api/v1/shares/{id}", remove, "me:write", audit="share.delete"),
)
