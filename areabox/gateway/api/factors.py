"""Second factors: an authenticator for my account, and the recovery codes for its loss."""

from __future__ import annotations

from typing import Any

import msgspec

from areabox.gateway import proving
from areabox.gateway.routes import Answer, Ask, Route, get, post
from areabox.gateway.shapes import Authenticator, FactorsView, RecoveryCodes
from areabox.users import codes


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """My password and, once there is a second factor, a code of it."""

    password: str
    code: str = ""


class Code(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The six digits that the new authenticator shows."""

    code: str


async def show(ask: Ask) -> dict[str, Any]:
    """Show what is asked for beside my password."""
    standing = await ask.parts.people.factors.standing(ask.actor.account_id)
    return {"totp": standing.totp, "recovery": standing.recovery}


async def begin(ask: Ask, body: Proof) -> dict[str, Any]:
    """Begin with an authenticator: it counts once its first code is confirmed."""
    account = await proving.again(ask, body.password, body.code)
    secret = await ask.parts.people.factors.begin(account.id)
    return {"secret": codes.as_text(secret), "uri": codes.address(secret, account.email)}


async def confirm(ask: Ask, body: Code) -> dict[str, Any]:
    """Let the new authenticator count, and return the recovery codes, which are shown only now."""
    proving.refuse_token(ask, "change how somebody signs in")
    return {"codes": await ask.parts.people.factors.confirm(ask.actor.account_id, body.code)}


async def renew(ask: Ask, body: Proof) -> dict[str, Any]:
    """Return new recovery codes, instead of all older ones."""
    account = await proving.again(ask, body.password, body.code)
    return {"codes": await ask.parts.people.factors.renew_recovery(account.id)}


async def remove(ask: Ask, body: Proof) -> Answer:
    """Remove my authenticator and its recovery codes."""
    account = await proving.again(ask, body.password, body.code)
    await ask.parts.people.factors.remove_totp(account.id)
    return Answer(status=204)


ROUTES: tuple[Route, ...] = (
    get("/api/v1/me/factors", show, "me:read", answer=FactorsView),
    post("/api/v1/me/totp", begin, "me:write", answer=Authenticator, secret=True, audit="me.totp.begin"),
    post("/api/v1/me/totp/confirm", confirm, "me:write", answer=RecoveryCodes, secret=True, audit="me.totp.confirm"),
    post("/api/v1/me/totp/remove", remove, "me:write", status=204, audit="me.totp.remove"),
    post("/api/v1/me/recovery", renew, "me:write", answer=RecoveryCodes, secret=True, audit="me.recovery"),
)
