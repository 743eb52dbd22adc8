"""What happens once somebody proved who it is? A second factor is asked for, then a session begins, then it is told.

Every way in ends here, so that none of them forgets anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from areabox.database import Unit
from areabox.gateway import bodies, security
from areabox.gateway.routes import Answer, Ask

if TYPE_CHECKING:
    from areabox.users.accounts import Account

SECOND: Final = "second"
_AGENT_SHOWN: Final = 80


async def after_password(ask: Ask, account: Account, where: str) -> Answer:
    """Ask for the second factor of an account that has one; else let it in."""
    people = ask.parts.people
    if not (await people.factors.standing(account.id)).asks:
        return await enter(ask, account, where, "password")
    value = await people.pending.put(SECOND, account.id, {"next": where})
    return to("/login/2fa", {"set-cookie": security.step_cookie(value, ask.peer)})


async def enter(ask: Ask, account: Account, where: str, how: str) -> Answer:
    """Begin a session and lead to a page of ours."""
    return to(where, {"set-cookie": await begin(ask, account, how)})


async def begin(ask: Ask, account: Account, how: str) -> str:
    """Begin a session, write and tell that, and return the header that sets its cookie."""
    agent, address = ask.headers.get("user-agent", ""), ask.peer.address
    old = security.session_value(ask.headers, ask.peer)
    value = await ask.parts.sessions.start(account, agent, address=address, how=how, instead_of=old)
    await ask.parts.audit.record(account.email, address, "login", "", how=how)
    if await ask.parts.people.devices.note(account.id, agent, address):
        await _tell(ask, account, agent, address)
    return security.cookie(value, ask.peer)


async def _tell(ask: Ask, account: Account, agent: str, address: str) -> None:
    unit = Unit()
    text = f"From {address}, with {agent[:_AGENT_SHOWN] or 'an unnamed program'}. Was it not you? End that session."
    ask.parts.notices.put(
        unit, owner=account.id, kind="new_device", title="Signed in from a new browser", body=text, link="/me/security"
    )
    await ask.parts.backend.commit(unit)


async def failed(ask: Ask, who: str, verb: str = "login.failed") -> None:
    """Write that somebody was not let in; at most ten in a quarter of an hour, so that the log cannot be flooded."""
    await ask.parts.audit.record(who[:80], ask.peer.address, verb, "")


def to(path: str, headers: dict[str, str] | None = None) -> Answer:
    """Return a redirection, after which the browser reads."""
    return Answer(value=b"", status=303, media_type="text/plain", headers={"location": path, **(headers or {})})


def next_of(ask: Ask) -> str:
    """Return the page to show afterwards: one of ours, whatever the address says."""
    return own_page(bodies.form(ask.query_string).get("next", "/"))


def own_page(given: str) -> str:
    """Return a page of ours: the one given, or home where that leads elsewhere."""
    fits = given.startswith("/") and not given.startswith(("//", "/\\")) and given.isprintable()
    return given if fits else "/"
