"""Pages for whoever cannot sign in yet or any more: an invitation, an account of one's own, a forgotten password.

Whether an address has an account is told to nobody: the answer is the same, and the mail goes out afterwards.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from areabox.errors import AreaboxError, ConflictError, InputError, NotFoundError
from areabox.gateway import bodies, entering
from areabox.gateway.api.invitations import address
from areabox.gateway.entering import to
from areabox.gateway.pages.entrance import FORM, FORM_MAX
from areabox.gateway.pages.rendering import render, told
from areabox.gateway.routes import Answer, Ask, Handle, Route, get
from areabox.users.policy import PUBLIC
from areabox.users.throttle import TooManyTriesError

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = logging.getLogger(__name__)

_SENT: Final = "If that fits, a mail is on its way. Its link works once."


async def invitation_form(ask: Ask, token: str) -> Answer:
    """Show the form of an invitation."""
    link = await ask.parts.people.links.find(token)
    return render(ask, "invitation", token=token, link=link, given={}, problem="")


async def invitation(ask: Ask, token: str) -> Answer:
    """Make the account that an invitation is for, and sign in."""
    links, given = ask.parts.people.links, bodies.form(ask.body)
    link = await links.find(token)
    try:
        account = await links.join(token, given.get("email", ""), given.get("password", ""), given.get("name", ""))
    except (InputError, ConflictError) as error:
        return render(ask, "invitation", status=422, token=token, link=link, given=given, problem=told(error))
    await ask.parts.audit.record(account.email, ask.peer.address, "user.join", account.email, role=account.role)
    return await entering.enter(ask, account, "/", link.kind)


async def register_form(ask: Ask) -> Answer:
    """Show the form for an account of one's own, where the settings allow that."""
    _refuse_unless_open(ask)
    return render(ask, "asked", what="register", problem="", sent="")


async def register(ask: Ask) -> Answer:
    """Send a link for a new account to a mail address."""
    _refuse_unless_open(ask)
    return await _asked(ask, "register", _send_registration)


async def reset_form(ask: Ask) -> Answer:
    """Show the form for a forgotten password."""
    if not await ask.parts.accounts.exist():
        return to("/setup")
    return render(ask, "asked", what="reset", problem="", sent="")


async def reset(ask: Ask) -> Answer:
    """Send a link for a new password to a mail address."""
    if not await ask.parts.accounts.exist():
        return to("/setup")
    return await _asked(ask, "reset", _send_reset)


async def renew_form(ask: Ask, token: str) -> Answer:
    """Show the form for a new password."""
    link = await ask.parts.people.links.find(token)
    return render(ask, "renew", token=token, link=link, problem="")


async def renew(ask: Ask, token: str) -> Answer:
    """Give an account a new password; all its sessions end, and whoever has it signs in with it."""
    links = ask.parts.people.links
    link = await links.find(token)
    try:
        account = await links.renew(token, bodies.form(ask.body).get("password", ""))
    except InputError as error:
        return render(ask, "renew", status=422, token=token, link=link, problem=told(error))
    await ask.parts.audit.record(account.email, ask.peer.address, "user.reset", account.email)
    return to("/login")


async def _asked(ask: Ask, what: str, send: Any) -> Answer:
    email = bodies.form(ask.body).get("email", "").strip()
    try:
        ask.parts.accounts.throttle.take(f"{what}:{email.lower()[:254]}", ask.peer.address)
    except TooManyTriesError as error:
        return render(ask, "asked", status=429, what=what, problem=str(error), sent="")
    _later(ask, send(ask, email))
    return render(ask, "asked", what=what, problem="", sent=_SENT)


async def _send_registration(ask: Ask, email: str) -> None:
    people = ask.parts.people
    made = await people.links.register(email)
    if made is not None:
        await people.letter(made.link.email, "Your account", f"Make your account here:\n{address(ask, made)}\n")
    else:
        await people.letter(email, "Your account", f"You have an account already:\n{people.base_url}/login\n")


async def _send_reset(ask: Ask, email: str) -> None:
    people = ask.parts.people
    made = await people.links.reset(email)
    if made is not None:
        where = address(ask, made)
        text = f"Choose a new password within an hour:\n{where}\n\nIf you did not ask for it, do nothing.\n"
        await people.letter(made.link.email, "Your new password", text)


def _later(ask: Ask, sending: Coroutine[Any, Any, None]) -> None:
    """Send after the answer, so that the time it takes tells nothing."""

    async def safely() -> None:
        try:
            await sending
        except AreaboxError as error:
            log.info("no mail was sent: %s", error)

    ask.parts.people.keep(asyncio.create_task(safely()))


def _refuse_unless_open(ask: Ask) -> None:
    if not ask.parts.people.registration:
        raise NotFoundError("accounts are made by invitation here")


def _form(path: str, show: Handle, take: Handle) -> tuple[Route, Route]:
    return (
        get(path, show, PUBLIC, page=True),
        Route("POST", path, take, PUBLIC, page=True, accepts=FORM, body_max=FORM_MAX),
    )


ROUTES: tuple[Route, ...] = (
    *_form("/invite/{token}", invitation_form, invitation),
    *_form("/register", register_form, register),
    *_form("/reset", reset_form, reset),
    *_form("/reset/{token}", renew_form, renew),
)
