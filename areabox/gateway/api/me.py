"""Me: who asks and what it may do, my password, the browsers in which I am logged in."""

from __future__ import annotations

from typing import Any

import msgspec

from areabox.errors import NotAllowedError
from areabox.gateway.routes import Answer, Ask, Page, Route, delete, get, put, rfc3339
from areabox.gateway.shapes import MeView, SessionView
from areabox.users.sessions import csrf


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password that I have, and the one that I want."""

    current: str
    password: str


async def show(ask: Ask) -> dict[str, Any]:
    """Show who asks, and what it may do."""
    actor, caller = ask.actor, ask.caller
    return {
        "id": actor.account_id,
        "email": actor.email,
        "role": actor.role,
        "via": caller.via,
        "scopes": sorted(actor.scopes),
        "permissions": sorted(actor.permissions),
        **({"csrf": csrf(caller.session)} if caller.session else {}),
    }


async def password(ask: Ask, body: NewPassword) -> None:
    """Change my password; my other sessions end."""
    if ask.caller.via == "token":
        raise NotAllowedError("a token cannot change the password")
    accounts = ask.parts.accounts
    account = await accounts.check(ask.actor.email, body.current, address=ask.peer.address)
    await accounts.set_password(account, body.password, keep_session=ask.caller.session_id)


async def sessions(ask: Ask) -> Page[Any]:
    """List the browsers in which I am logged in."""
    found = await ask.parts.sessions.list(ask.actor.account_id)
    items = [
        {
            "id": session.id,
            "agent": session.agent,
            "current": session.id == ask.caller.session_id,
            "created": rfc3339(session.created),
            "seen": rfc3339(session.seen),
            "expires": rfc3339(session.expires),
        }
        for session in found
    ]
    return Page(items, None)


async def end_session(ask: Ask, id: str) -> Answer:
    """Log a browser out."""
    account = await ask.parts.accounts.get(ask.actor.account_id)
    await ask.parts.sessions.revoke(account, id)
    return Answer()


ROUTES: tuple[Route, ...] = (
    get("/api/v1/me", show, "me:read", answer=MeView),
    put("/api/v1/me/password", password, "me:write", audit="me.password"),
    get("/api/v1/me/sessions", sessions, "me:read", answer=Page[SessionView]),
    delete("/api/v1/me/sessions/{id}", end_session, "me:write", audit="me.logout"),
)
