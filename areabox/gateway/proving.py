"""Is it still the one who signed in? What changes how somebody comes in asks for that again, after 15 minutes.

By the password and, where there is one, a code. A token proves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from areabox.errors import ConflictError, InputError, NotAllowedError, Problem
from areabox.gateway.problems import RefusedError

if TYPE_CHECKING:
    from areabox.gateway.routes import Ask
    from areabox.users.accounts import Account

FRESH_MS: Final = 900_000


class StaleError(RefusedError):
    """Whoever asks must prove again who it is; pages lead to where that is done."""

    def __init__(self) -> None:
        super().__init__(403, "prove again who you are: POST /api/v1/me/prove, or sign in anew")


def is_fresh(ask: Ask) -> bool:
    """Return whether whoever asks has proved within a quarter of an hour who it is."""
    return ask.caller.via == "local" or ask.parts.clock.now_ms() - ask.caller.proved < FRESH_MS


async def proven(ask: Ask) -> Account:
    """Return who asks, if that is beyond doubt; raises ConflictError for tokens, `StaleError`."""
    if ask.caller.via not in ("session", "local") or not ask.actor.account_id:
        raise ConflictError("how somebody signs in is changed in a browser that is signed in, not by a token")
    if not is_fresh(ask):
        raise StaleError
    return await ask.parts.accounts.get(ask.actor.account_id)


async def prove(ask: Ask, password: str, code: str) -> None:
    """Take the password and the code of whoever asks; raises NotAllowedError, InputError, `TooManyTriesError`."""
    if ask.caller.via != "session":
        raise ConflictError("only a browser that is signed in proves anything")
    factors = ask.parts.people.factors
    account = await ask.parts.accounts.check(ask.actor.email, password, address=ask.peer.address)
    standing = await factors.standing(account.id)
    if standing.asks:
        if not code:
            raise InputError("a code is asked for, too", [Problem("/code", "must be given")])
        await take_code(ask, account, code)
    await ask.parts.sessions.prove(ask.caller.session_id)


async def take_code(ask: Ask, account: Account, code: str) -> str:
    """Take a code, counted as a try at the account; return its kind. Raises InputError, `TooManyTriesError`."""
    throttle, key = ask.parts.accounts.throttle, f"code:{account.email}"
    throttle.take(key, ask.peer.address)
    kind = await ask.parts.people.factors.check(account.id, code)
    throttle.forgive(key, ask.peer.address)
    return kind


def refuse_token(ask: Ask, what: str) -> None:
    """Raise NotAllowedError where a token asks for what only its owner does."""
    if ask.caller.via == "token":
        raise NotAllowedError(f"a token cannot {what}")
