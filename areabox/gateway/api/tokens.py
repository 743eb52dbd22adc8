"""Tokens: how programs come in; a token's text is shown once, when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from areabox.areas.durations import parse_duration, parse_time
from areabox.errors import AreaboxError, InputError, NotAllowedError, Problem
from areabox.gateway.routes import Answer, Ask, Listing, Page, Route, delete, get, page, post, rfc3339
from areabox.gateway.shapes import NewTokenView, TokenView
from areabox.users.policy import check_scopes, may_grant

if TYPE_CHECKING:
    from areabox.users.tokens import Token


class Search(Listing, frozen=True, kw_only=True):
    """Whose tokens; an admin who names nobody gets those of all."""

    user: str = ""


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token for an account, by default mine; it ends after a duration or at a time, by default never."""

    name: str
    scopes: list[str] = msgspec.field(default_factory=lambda: ["all"])
    expires: str | None = None
    user: str | None = None


async def list_(ask: Ask, query: Search) -> Page[Any]:
    """List tokens, without their texts."""
    whose = None if ask.actor.allows("users:read") else ask.actor.account_id
    if query.user:
        whose = (await ask.parts.accounts.get(query.user)).id if whose is None else _mine(ask, query.user)
    found = await ask.parts.tokens.list(whose, limit=query.count, after=query.after)
    return page([view(token) for token in found], query)


async def create(ask: Ask, body: NewToken) -> Answer:
    """Make a token; its text is in this answer, and nowhere else."""
    scopes = check_scopes(body.scopes)
    if ask.caller.via == "local" and body.user:
        account = await ask.parts.accounts.get(body.user)
        account_id, email = account.id, account.email
    else:
        account_id, email = _mine(ask, body.user), ask.actor.email
        if not may_grant(ask.actor, scopes):
            raise NotAllowedError("a token cannot have more rights than who makes it")
    expires = None if body.expires is None else _expiry(ask, body.expires)
    token, text = await ask.parts.tokens.create(account_id, email, body.name, scopes, expires=expires)
    return Answer(value={**view(token), "token": text}, object=f"{email} {token.id}")


async def remove(ask: Ask, id: str) -> Answer:
    """Revoke a token at once."""
    whose = None if ask.actor.allows("users:write") else ask.actor.account_id
    await ask.parts.tokens.delete(whose, id)
    return Answer()


def _mine(ask: Ask, user: str | None) -> str:
    if user and user.strip().lower() not in (ask.actor.email, ask.actor.account_id):
        raise NotAllowedError("tokens for others are made on the machine itself: areabox token add NAME --user EMAIL")
    return ask.actor.account_id


def _expiry(ask: Ask, given: str) -> int:
    now = ask.parts.clock.now_ms()
    try:
        return now + parse_duration(given)
    except (AreaboxError, ValueError):
        pass
    try:
        return int(parse_time(given))
    except (AreaboxError, ValueError):
        detail = "must be a duration such as 90d, or a time such as 2030-01-01T00:00:00Z"
        raise InputError(f"expires {detail}", [Problem("/expires", detail)]) from None


def view(token: Token) -> dict[str, Any]:
    """Return a token as the API shows it."""
    return {
        "id": token.id,
        "name": token.name,
        "user": token.user,
        "scopes": token.scopes,
        "created": rfc3339(token.created),
        "expires": rfc3339(token.expires),
        "used": rfc3339(token.used),
    }


ROUTES: tuple[Route, ...] = (
    get("/api/v1/tokens", list_, "tokens:read", answer=Page[TokenView]),
    post("/api/v1/tokens", create, "tokens:write", answer=NewTokenView, status=201, secret=True, audit="token.create"),
    delete("/api/v1/tokens/{id}", remove, "tokens:write", audit="token.delete"),
)
