"""Tokens: how programs come in; a token's text is shown once, when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from areabox.areas.durations import parse_duration, parse_time
from areabox.errors import AreaboxError, InputError, NotAllowedError, NotFoundError, Problem
from areabox.gateway.routes import Answer, Ask, Listing, Page, Route, delete, get, page, post, rfc3339
from areabox.gateway.shapes import NewTokenView, TokenView
from areabox.users.policy import check_scopes, may_change, may_grant

if TYPE_CHECKING:
    from areabox.users.tokens import Token


OVERLAP_MAX_MS = 7 * 86_400_000


class Search(Listing, frozen=True, kw_only=True):
    """Whose tokens; an admin who names nobody gets those of all."""

    user: str = ""


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token for an account, by default mine; it ends after a duration or at a time, by default never."""

    name: str
    scopes: list[str] = msgspec.field(default_factory=lambda: ["all"])
    expires: str | None = None
    user: str | None = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old token is still good, at most a week: time to put the new one everywhere."""

    overlap: str = "0s"


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
    account_id, email = await _whose(ask, body.user, scopes)
    expires = None if body.expires is None else _expiry(ask, body.expires)
    token, text = await ask.parts.tokens.create(account_id, email, body.name, scopes, expires=expires)
    return Answer(value={**view(token), "token": text}, object=f"{email} {token.id}")


async def _whose(ask: Ask, user: str | None, scopes: list[str]) -> tuple[str, str]:
    """Return the account for which the actor may make a token: its own, a service account, on the machine any."""
    account = await ask.parts.accounts.get(user) if user and _manages(ask) else None
    if ask.caller.via == "local" and account is not None:
        return account.id, account.email
    if not may_grant(ask.actor, scopes):
        raise NotAllowedError("a token cannot have more rights than who makes it")
    if account is not None and account.kind == "service" and may_change(ask.actor, role=account.role):
        return account.id, account.email
    return _mine(ask, user), ask.actor.email


def _manages(ask: Ask) -> bool:
    return ask.caller.via == "local" or ask.actor.allows("users:write")


async def rotate(ask: Ask, id: str, body: Rotation) -> Answer:
    """Replace a token by one with another text; the old one ends, at once or after a while."""
    old, _ = await ask.parts.tokens.get(id)
    try:
        await _whose(ask, old.user, old.scopes)
    except NotAllowedError:
        raise NotFoundError(f"there is no token {id}") from None
    overlap_ms = int(parse_duration(body.overlap))
    if not 0 <= overlap_ms <= OVERLAP_MAX_MS:
        raise InputError("too long", [Problem("/overlap", "at most 7d")])
    token, text = await ask.parts.tokens.rotate(id, overlap_ms=overlap_ms)
    return Answer(value={**view(token), "token": text}, object=f"{token.user} {id} {token.id}")


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
    post(
        "/api/v1/tokens/{id}/rotate", rotate, "tokens:write", answer=NewTokenView, status=201, secret=True,
        audit="token.rotate",
    ),
    delete("/api/v1/tokens/{id}", remove, "tokens:write", audit="token.delete"),
)  # fmt: skip
