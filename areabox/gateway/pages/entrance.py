"""The way in and out: the first account, log in with a password and a second factor, log out."""

from __future__ import annotations

from urllib.parse import quote

from areabox.errors import InputError, NotAllowedError
from areabox.gateway import bodies, entering, proving, security
from areabox.gateway.entering import next_of, to
from areabox.gateway.pages.rendering import render
from areabox.gateway.routes import Answer, Ask, Route, get, post
from areabox.users.policy import PUBLIC
from areabox.users.throttle import TooManyTriesError

FORM = frozenset({"", "application/x-www-form-urlencoded"})
FORM_MAX = 16 * 1024


async def login_form(ask: Ask) -> Answer:
    """Show the log-in form, or the setup while there is no account."""
    if not await ask.parts.accounts.exist():
        return to("/setup")
    return _login(ask, "", "")


async def login(ask: Ask) -> Answer:
    """Log in with an e-mail address and a password."""
    given = bodies.form(ask.body)
    email = given.get("email", "")
    try:
        account = await ask.parts.accounts.check(email, given.get("password", ""), address=ask.peer.address)
    except (NotAllowedError, TooManyTriesError) as error:
        if isinstance(error, TooManyTriesError):
            return _login(ask, email, str(error), 429)
        await entering.failed(ask, email)
        return _login(ask, email, str(error), 422)
    return await entering.after_password(ask, account, next_of(ask))


def _login(ask: Ask, email: str, problem: str, status: int = 200) -> Answer:
    people = ask.parts.people
    return render(
        ask, "login", status=status, next=next_of(ask), email=email, problem=problem, registration=people.registration
    )


async def second_form(ask: Ask) -> Answer:
    """Ask for the second factor."""
    found = await ask.parts.people.pending.look(entering.SECOND, security.step_value(ask.headers, ask.peer))
    if found is None or found.account is None:
        return to("/login")
    return await _second(ask, found.account, "")


async def second(ask: Ask) -> Answer:
    """Take a code of the authenticator or a recovery code, and let in whoever gave the password before."""
    pending, value = ask.parts.people.pending, security.step_value(ask.headers, ask.peer)
    found = await pending.look(entering.SECOND, value)
    if found is None or found.account is None:
        return to("/login")
    account = await ask.parts.accounts.get(found.account)
    try:
        kind = await proving.take_code(ask, account, bodies.form(ask.body).get("code", ""))
    except TooManyTriesError as error:
        return await _second(ask, account.id, str(error), 429)
    except InputError as error:
        await pending.miss(entering.SECOND, value)
        await entering.failed(ask, account.email, "login.second_failed")
        return await _second(ask, account.id, str(error), 422)
    if account.disabled or await pending.take(entering.SECOND, value) is None:
        return to("/login")
    return await entering.enter(ask, account, entering.own_page(found.data["next"]), kind)


async def _second(ask: Ask, account_id: str, problem: str, status: int = 200) -> Answer:
    standing = await ask.parts.people.factors.standing(account_id)
    return render(ask, "second", status=status, standing=standing, problem=problem)


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
    return await entering.enter(ask, account, "/", "password")


def _setup(ask: Ask, given: dict[str, str], problem: str, status: int = 200) -> Answer:
    file = ask.parts.setup.file
    return render(
        ask, "setup", status=status, token=given.get("token", ""), email=given.get("email", ""), problem=problem,
        file=file.name if file else "",
    )  # fmt: skip


def entrance(path: str) -> str:
    """Return the address of the log-in form that leads back to a page."""
    return f"/login?next={quote(path)}" if path != "/" else "/login"


ROUTES: tuple[Route, ...] = (
    get("/login", login_form, PUBLIC, page=True),
    post("/login", login, PUBLIC, page=True, accepts=FORM, body_max=FORM_MAX),
    get("/login/2fa", second_form, PUBLIC, page=True),
    post("/login/2fa", second, PUBLIC, page=True, accepts=FORM, body_max=FORM_MAX),
    post("/logout", logout, PUBLIC, page=True, accepts=FORM, body_max=FORM_MAX),
    get("/setup", setup_form, PUBLIC, page=True),
    post("/setup", setup, PUBLIC, page=True, accepts=FORM, body_max=FORM_MAX),
)
