"""Me: who asks and what it may do, my password, the browsers in which I am logged in."""

from __future__ import annotations

from typing import Any

import msgspec

from areabox.errors import NotAllowedError
from areabox.gateway import leaving, security
from areabox.gateway.routes import Answer, Ask, Page, Route, delete, get, patch, post, put, rfc3339
from areabox.gateway.shapes import MeView, SessionView
from areabox.users.policy import ALL
from areabox.users.sessions import csrf


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password that I have, and the one that I want."""

    current: str
    password: str


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How I am called, in which language areabox speaks to me, in which zone my times are; what is not given stays."""

    name: str | None = None
    language: str | None = None
    timezone: str | None = None


class Leave(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """My password, and whether my areas and connections go, too; without that I must have none."""

    password: str
    everything: bool = False


async def show(ask: Ask) -> dict[str, Any]:
    """Show who asks, and what it may do."""
    actor, caller = ask.actor, ask.caller
    account = await ask.parts.accounts.get(actor.account_id) if actor.account_id else None
    return {
        "id": actor.account_id,
        "email": actor.email,
        "name": account.name if account else "",
        "language": account.language if account else "",
        "timezone": account.timezone if account else "",
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


async def profile(ask: Ask, body: Profile) -> dict[str, Any]:
    """Change my name, language or time zone."""
    account = await ask.parts.accounts.get(ask.actor.account_id)
    await ask.parts.accounts.set_profile(
        account,
        name=account.name if body.name is None else body.name,
        language=account.language if body.language is None else body.language,
        timezone=account.timezone if body.timezone is None else body.timezone,
    )
    return await show(ask)


async def export(ask: Ask) -> Answer:
    """Take along my profile, areas, connections, tokens, sessions and notices, without secrets."""
    if ask.actor.scopes != ALL:  # a token that may do less must not read the rest by this
        raise NotAllowedError("only a session, or a token that may do everything, takes its account along")
    account = await ask.parts.accounts.get(ask.actor.account_id)
    headers = {"content-disposition": 'attachment; filename="areabox-me.json"'}
    return Answer(value=await leaving.belongings(ask.parts, account), headers=headers)


async def leave(ask: Ask, body: Leave) -> Answer:
    """Remove my account; with `everything` my areas and connections, too."""
    if ask.caller.via == "token":
        raise NotAllowedError("a token cannot remove its account")
    account = await ask.parts.accounts.check(ask.actor.email, body.password, address=ask.peer.address)
    if body.everything:
        await leaving.clear(ask.parts, account)
    else:
        await ask.parts.accounts.delete(account)
    headers = {"set-cookie": security.cookie("", ask.peer)}
    return Answer(value=None, status=204, headers=headers, object=account.email)


async def end_sessions(ask: Ask) -> Answer:
    """Log all browsers out but this one."""
    account = await ask.parts.accounts.get(ask.actor.account_id)
    await ask.parts.sessions.end_others(account, ask.caller.session_id)
    return Answer()


async def sessions(ask: Ask) -> Page[Any]:
    """List the browsers in which I am logged in."""
    found = await ask.parts.sessions.list(ask.actor.account_id)
    items = [
        {
            "id": session.id,
            "agent": session.agent,
            "address": session.address,
            "how": session.how,
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
    patch("/api/v1/me", profile, "me:write", answer=MeView, audit="me.profile"),
    get("/api/v1/me/export", export, "me:read", answer=dict[str, Any]),
    post("/api/v1/me/delete", leave, "me:write", status=204, audit="user.delete"),
    put("/api/v1/me/password", password, "me:write", audit="me.password"),
    get("/api/v1/me/sessions", sessions, "me:read", answer=Page[SessionView]),
    delete("/api/v1/me/sessions", end_sessions, "me:write", audit="me.logout"),
    delete("/api/v1/me/sessions/{id}", end_session, "me:write", audit="me.logout"),
)
