"""Invitations: links by which somebody makes an account with the role that was chosen; each works once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from areabox.areas.durations import parse_duration
from areabox.errors import AreaboxError, InputError, NotAllowedError, Problem
from areabox.gateway.routes import Answer, Ask, Listing, Page, Route, delete, get, page, post, rfc3339
from areabox.gateway.shapes import InvitationView, NewInvitationView
from areabox.users.links import INVITE_MS
from areabox.users.policy import may_change

if TYPE_CHECKING:
    from areabox.users.links import Link, Made


class NewInvitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may come, and as what; it is sent by mail where there is an address, a way to send it, and `mail` is true."""

    role: str
    email: str = ""
    expires: str = "7d"
    mail: bool = True


async def list_(ask: Ask, query: Listing) -> Page[Any]:
    """List the invitations that wait."""
    return page([view(link) for link in await ask.parts.people.links.list(limit=query.count, after=query.after)], query)


async def create(ask: Ask, body: NewInvitation) -> Answer:
    """Invite somebody; the link is in this answer, and nowhere else but in the mail."""
    made, mailed = await invite(ask, body)
    value = {**view(made.link), "link": address(ask, made), "mailed": mailed}
    return Answer(value=value, object=made.link.email or made.link.id[:8])


async def remove(ask: Ask, id: str) -> Answer:
    """Take an invitation back."""
    link = await ask.parts.people.links.withdraw(id)
    return Answer(object=link.email or link.id[:8])


async def invite(ask: Ask, body: NewInvitation) -> tuple[Made, bool]:
    """Make an invitation, and tell whether a mail with it went out."""
    if not may_change(ask.actor, role=body.role):
        raise NotAllowedError("only an owner can change an owner, or make somebody one")
    people = ask.parts.people
    made = await people.links.invite(ask.actor.account_id, body.role, body.email, valid_ms=_valid_ms(body.expires))
    mailed = False
    if body.mail and made.link.email:
        who = ask.actor.email
        text = f"{who} invites you to areabox.\n\nMake your account here:\n{address(ask, made)}\n"
        mailed = await people.letter(made.link.email, "Your invitation to areabox", text)
    return made, mailed


def address(ask: Ask, made: Made) -> str:
    """Return where a link leads: below the configured address, never below one that a request brought along."""
    place = "reset" if made.link.kind == "reset" else "invite"
    return f"{ask.parts.people.base_url}/{place}/{made.secret}"


def _valid_ms(given: str) -> int:
    try:
        return int(parse_duration(given)) if given else INVITE_MS
    except (AreaboxError, ValueError):
        raise InputError("no duration", [Problem("/expires", "must be a duration such as 7d")]) from None


def view(link: Link) -> dict[str, Any]:
    """Return an invitation as the API shows it."""
    return {
        "id": link.id,
        "email": link.email,
        "role": link.role,
        "created": rfc3339(link.created),
        "expires": rfc3339(link.expires),
    }


ROUTES: tuple[Route, ...] = (
    get("/api/v1/invitations", list_, "users:read", answer=Page[InvitationView]),
    post(
        "/api/v1/invitations", create, "users:write", answer=NewInvitationView, status=201, secret=True,
        audit="user.invite",
    ),
    delete("/api/v1/invitations/{id}", remove, "users:write", audit="user.uninvite"),
)  # fmt: skip
