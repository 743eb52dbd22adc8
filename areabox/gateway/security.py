"""Who asks, and may this request be served at all? Authentication, Host and origin checks, headers of every answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from areabox.errors import NotAllowedError
from areabox.gateway.parts import Parts
from areabox.gateway.peers import Peer, is_own_host
from areabox.gateway.problems import RefusedError
from areabox.users.policy import SETUP, Actor
from areabox.users.sessions import is_csrf

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
COOKIE_MAX_AGE_S: Final = 90 * 86_400
STEP_MAX_AGE_S: Final = 600
_COOKIE, _SECURE_COOKIE = "areabox", "__Host-areabox"
_STEP, _SECURE_STEP = "areabox-step", "__Host-areabox-step"

_CONTENT_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"font-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
)
HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", _CONTENT_POLICY),
)


class Caller(msgspec.Struct, frozen=True):
    """Who asks: `actor` is None for somebody unknown. `via` is local, token, session or nothing."""

    actor: Actor | None = None
    via: str = ""
    session: str = ""  # the cookie's value
    session_id: str = ""
    token_id: str = ""


async def identify(parts: Parts, peer: Peer, headers: Mapping[str, str]) -> Caller:
    """Return who asks; raises `RefusedError` (401) for a token that is none, NotFoundError for an unknown name."""
    if peer.local:
        return await _local(parts, headers.get("x-areabox-as", ""))
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if scheme:
        found = await parts.tokens.find(text.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise unauthenticated("the token is wrong, has expired or was revoked")
        return Caller(found.actor(), "token", token_id=found.token.id)
    value = session_value(headers, peer)
    entered = await parts.sessions.find(value) if value else None
    if entered is None:
        return Caller()
    session = entered.session
    return Caller(entered.account.actor(), "session", value, session.id)


async def _local(parts: Parts, name: str) -> Caller:
    if name:
        return Caller((await parts.accounts.get(name)).actor(), "local")
    owner = await parts.accounts.first_owner()
    return Caller(SETUP if owner is None else owner.actor(), "local")


def authorise(caller: Caller, permission: str) -> Actor:
    """Return the actor; raises `RefusedError` (401) for somebody unknown, NotAllowedError if it may not."""
    if caller.actor is None:
        raise unauthenticated("log in, or send a token: Authorization: Bearer abx_…")
    if caller.actor is SETUP and not SETUP.allows(permission):
        raise NotAllowedError("there is no account yet; make one: areabox user add EMAIL --role owner")
    caller.actor.require(permission)
    return caller.actor


def unauthenticated(message: str) -> RefusedError:
    """Return the refusal of a request by somebody unknown."""
    return RefusedError(401, message, {"www-authenticate": 'Bearer realm="areabox"'})


def check_host(peer: Peer, headers: Mapping[str, str], parts: Parts) -> None:
    """Raise `RefusedError` (421) for a Host that is not ours, which may be a page that rebinds its own name to us.

    Browsers never add a bearer token by themselves, so that whoever sends one may use any name.
    """
    if peer.local or "authorization" in headers or is_own_host(peer.host, parts.site):
        return
    name = peer.host[:100] or "this name"
    raise RefusedError(421, f"areabox does not answer as {name}; add it to AREABOX_ALLOWED_HOSTS if it should")


def check_origin(method: str, peer: Peer, headers: Mapping[str, str], caller: Caller, given: str = "") -> None:
    """Raise NotAllowedError for a change that a page elsewhere made a logged-in browser send.

    `given` is the session's token out of a form; scripts send it as X-CSRF-Token.
    """
    if method in SAFE_METHODS or caller.via not in ("session", ""):
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        fits = site == "same-origin"
    elif origin is not None:
        fits = origin.lower() == peer.origin
    else:  # no browser of today; without a session there is nothing to abuse
        fits = caller.via == "" or is_csrf(caller.session, given or headers.get("x-csrf-token", ""))
    if not fits:
        raise NotAllowedError("this request did not come from areabox's own pages")


def session_value(headers: Mapping[str, str], peer: Peer) -> str:
    """Return the value of the session's cookie, or nothing."""
    return _value(headers, _SECURE_COOKIE if peer.secure else _COOKIE)


def step_value(headers: Mapping[str, str], peer: Peer) -> str:
    """Return the value of the cookie of a sign-in that is half done, or nothing."""
    return _value(headers, _SECURE_STEP if peer.secure else _STEP)


def _value(headers: Mapping[str, str], name: str) -> str:
    for pair in headers.get("cookie", "").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value
    return ""


def step_cookie(value: str, peer: Peer) -> str:
    """Return the Set-Cookie header for a sign-in that is half done."""
    age = STEP_MAX_AGE_S if value else 0
    if peer.secure:
        return f"{_SECURE_STEP}={value}; Path=/; Max-Age={age}; Secure; HttpOnly; SameSite=Strict"
    return f"{_STEP}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict"


def cookie(value: str, peer: Peer) -> str:
    """Return the Set-Cookie header that keeps a session, or with no value ends it."""
    age = COOKIE_MAX_AGE_S if value else 0
    if peer.secure:
        return f"{_SECURE_COOKIE}={value}; Path=/; Max-Age={age}; Secure; HttpOnly; SameSite=Lax"
    return f"{_COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict"
