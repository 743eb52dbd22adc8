"""The way in and out: the first account, log in, log out."""

from __future__ import annotations

from urllib.parse import quote

from areabox.errors import AreaboxError, InputError, NotAllowedError
from areabox.gateway import bodies, security
from areabox.gateway.pages.rendering import render
from areabox.gateway.routes import Answer, Ask, Route, get, post
from areabox.users.accounts import Account
from areabox.users.policy import PUBLIC
from areabox.users.throttle import TooManyTriesError

FORM = frozenset({"", "application/x-www-form-urlencoded"})
FORM_MAX = 16 * 1024


async def login_form(ask: Ask) -> Answer:
    """Show the log-in form, or the setup while there is no account."""
    if not await ask.parts.accounts.exist():
        return to("/setup")
    return render(ask, "login", next=_next(ask), email="", problem="")


async def login(ask: Ask) -> Answer:
    """Log in with an e-mail address and a password."""
    given = bodies.form(ask.body)
    email = given.get("email", "")
    try:
        account = await ask.parts.accounts.check(email, given.get("password", ""), address=ask.peer.address)
    except (NotAllowedError, TooManyTriesError) as error:
        await _failed(ask, email, error)
        status = 429 if isinstance(error, TooManyTriesError) else 422
        return render(ask, "login", status=status, next=_next(ask), email=email, problem=str(error))
    return await _enter(ask, account, _next(ask))


async def _failed(ask: Ask, email: str, error: AreaboxError) -> None:
    if isinstance(error, NotAllowedError):  # at most ten in a quarter of an hour, so that the log cannot be flooded
        await ask.parts.audit.record(email[:80], ask.peer.address, "login.failed", "")


async def logout(ask: Ask) -> Answer:
    """Log out."""
    if ask.caller.session:
        await ask.parts.sessions.end(ask.caller.session)
    return to("/login", {"set-cookie": security.cookie("", ask.peer)})


async def setup_form(ask: Ask) -> Answer:
    """Show the form for the first account, only while there is none."""
    if await ask.parts.setup.issue() is None:
        return to("/login")
    return _setup(ask, {}, "")


async def setup(ask: Ask) -> Answer:
    """Make the first account with the one-time token, and log in."""
    given = bodies.form(ask.body)
    if await ask.parts.accounts.exist():
        return to("/login")
    try:
        account = await ask.parts.setup.create_owner(
            given.get("token", ""), given.get("email", ""), given.get("password", "")
        )
    except (NotAllowedError, InputError) as error:
        return _setup(ask, given, str(error), status=422)
    await ask.parts.audit.record(account.email, ask.peer.address, "user.setup", account.email)
    return await _enter(ask, account, "/")


def _setup(ask: Ask, given: dict[str, str], problem: str, status: int = 200) -> Answer:
    file = ask.parts.setup.file
    return render(
        ask, "setup", status=status, token=given.get("token", ""), email=given.get("email", ""), problem=problem,
        file=file.name if file else "",
    )  # fmt: skip


async def _enter(ask: Ask, account: Account, where: str) -> Answer:
    old = security.session_value(ask.headers, ask.peer)
    value = await ask.parts.sessions.start(account, ask.headers.get("user-agent", ""), instead_of=old)
    await ask.parts.audit.record(account.email, ask.peer.address, "login", "")
    return to(where, {"set-cookie": security.cookie(value, ask.peer)})


def to(path: str, headers: dict[str, str] | None = None) -> Answer:
    """Return a redirection, after which the browser reads."""
    return Answer(value=b"", status=303, media_type="text/plain", headers={"location": path, **(headers or {})})


def entrance(path: str) -> str:
    """Return the address of the log-in form that leads back to a page."""
    return f"/login?next={quote(path)}" if path != "/" else "/login"


def _next(ask: Ask) -> str:
    """Return the page to show after the log-in: one of ours, whatever the address says."""
    given = bodies.form(ask.query_string).get("next", "/")
    return given if given.startswith("/") and not given.startswith(("//", "/\\")) and given.isprintable() else "/"


ROUTES: tuple[Route, ...] = (
    get("/login", login_form, PUBLIC, page=True),
    post("/login", login, PUBLIC, page=True, accepts=FORM, body_max=FORM_MAX),
    post("/logout", logout, PUBLIC, page=True, accepts=FORM, body_max=FORM_MAX),
    get("/setup", setup_form, PUBLIC, page=True),
    post("/setup", setup, PUBLIC, page=True, accepts=FORM, body_max=FORM_MAX),
)
