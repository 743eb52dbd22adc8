"""My security: the password, an authenticator with its recovery codes, the browsers in which I am signed in."""

from __future__ import annotations

import base64
import io

from areabox.errors import ConflictError, InputError, NotAllowedError
from areabox.gateway import bodies, proving
from areabox.gateway.api import me
from areabox.gateway.entering import to
from areabox.gateway.pages.entrance import FORM, FORM_MAX
from areabox.gateway.pages.rendering import render, told
from areabox.gateway.routes import Answer, Ask, Handle, Route, get
from areabox.users import codes
from areabox.users.throttle import TooManyTriesError

HERE = "/me/security"
_TOLD = (InputError, ConflictError, NotAllowedError, TooManyTriesError)


async def show(ask: Ask) -> Answer:
    """Show what there is."""
    return await _page(ask)


async def begin(ask: Ask) -> Answer:
    """Begin with an authenticator."""
    form = bodies.form(ask.body)
    try:
        account = await proving.again(ask, form.get("password", ""), form.get("code", ""))
        await ask.parts.people.factors.begin(account.id)
    except _TOLD as error:
        return await _page(ask, "totp", error)
    return to(f"{HERE}#totp")


async def confirm(ask: Ask) -> Answer:
    """Let the new authenticator count, and show the recovery codes once."""
    proving.refuse_token(ask, "change how somebody signs in")
    code = bodies.form(ask.body).get("code", "")
    try:
        shown = await ask.parts.people.factors.confirm(ask.actor.account_id, code)
    except _TOLD as error:
        return await _page(ask, "totp", error)
    return await _page(ask, recovery=shown)


async def renew(ask: Ask) -> Answer:
    """Show new recovery codes once, instead of all older ones."""
    form = bodies.form(ask.body)
    try:
        account = await proving.again(ask, form.get("password", ""), form.get("code", ""))
    except _TOLD as error:
        return await _page(ask, "totp", error)
    return await _page(ask, recovery=await ask.parts.people.factors.renew_recovery(account.id))


async def remove(ask: Ask) -> Answer:
    """Remove the authenticator and its recovery codes."""
    form = bodies.form(ask.body)
    try:
        account = await proving.again(ask, form.get("password", ""), form.get("code", ""))
    except _TOLD as error:
        return await _page(ask, "totp", error)
    await ask.parts.people.factors.remove_totp(account.id)
    return to(f"{HERE}?said=deleted")


async def password(ask: Ask) -> Answer:
    """Change the password; the other sessions end."""
    form = bodies.form(ask.body)
    try:
        await me.password(ask, me.NewPassword(form.get("current", ""), form.get("password", "")))
    except _TOLD as error:
        return await _page(ask, "password", error)
    return to(f"{HERE}?said=saved")


async def end_session(ask: Ask, id: str) -> Answer:
    """Log a browser out."""
    await me.end_session(ask, id)
    return to(HERE)


async def end_sessions(ask: Ask) -> Answer:
    """Log all browsers out but this one."""
    await me.end_sessions(ask)
    return to(HERE)


async def _page(ask: Ask, place: str = "", error: Exception | None = None, recovery: list[str] | None = None) -> Answer:
    factors = ask.parts.people.factors
    account = await ask.parts.accounts.get(ask.actor.account_id)
    begun = await factors.begun(account.id)
    return render(
        ask,
        "safety",
        status=200 if error is None else 429 if isinstance(error, TooManyTriesError) else 422,
        problems={place: told(error)} if error is not None else {},
        standing=await factors.standing(account.id),
        secret=codes.as_text(begun) if begun else "",
        picture=_picture(codes.address(begun, account.email)) if begun else "",
        recovery=recovery or [],
        sessions=(await me.sessions(ask)).items,
    )


def _picture(text: str) -> str:
    """Return a QR code as the address of an image."""
    import segno

    out = io.BytesIO()
    segno.make(text, error="m").save(out, kind="svg", scale=5, border=2, light="#fff", xmldecl=False)
    return "data:image/svg+xml;base64," + base64.b64encode(out.getvalue()).decode()


def _button(path: str, handle: Handle, audit: str) -> Route:
    return Route("POST", HERE + path, handle, "me:write", audit=audit, page=True, accepts=FORM, body_max=FORM_MAX)


ROUTES: tuple[Route, ...] = (
    get(HERE, show, "me:read", page=True),
    _button("/totp", begin, "me.totp.begin"),
    _button("/totp/confirm", confirm, "me.totp.confirm"),
    _button("/totp/remove", remove, "me.totp.remove"),
    _button("/recovery", renew, "me.recovery"),
    _button("/password", password, "me.password"),
    _button("/sessions/end", end_sessions, "me.logout"),
    _button("/sessions/{id}/end", end_session, "me.logout"),
)
