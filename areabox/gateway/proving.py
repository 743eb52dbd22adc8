"""Is it still the one who signed in? What changes how somebody comes in asks for the password again, and for a code.

A token proves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from areabox.errors import InputError, NotAllowedError, Problem

if TYPE_CHECKING:
    from areabox.gateway.routes import Ask
    from areabox.users.accounts import Account


async def again(ask: Ask, password: str, code: str) -> Account:
    """Return who asks, by the password and, where there is a second factor, a code of it.

    Raises NotAllowedError, InputError, `TooManyTriesError`.
    """
    refuse_token(ask, "change how somebody signs in")
    account = await ask.parts.accounts.check(ask.actor.email, password, address=ask.peer.address)
    if (await ask.parts.people.factors.standing(account.id)).asks:
        if not code:
            raise InputError("a code is asked for, too", [Problem("/code", "must be given")])
        await take_code(ask, account, code)
    return account


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
