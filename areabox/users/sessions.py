"""Who is this browser? A random value in its cookie, of which only the hash is stored."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import Final, NamedTuple

import msgspec

from areabox.clock import Clock
from areabox.database import Backend, Unit, one
from areabox.errors import NotFoundError
from areabox.users.accounts import Account, account_of

_DAY_MS: Final = 86_400_000
IDLE_MS: Final = 14 * _DAY_MS
ABSOLUTE_MS: Final = 90 * _DAY_MS
SEEN_EVERY_MS: Final = 300_000  # how exact `seen` is, so that reading a page costs no write
AGENT_MAX: Final = 200
_VALUE_BYTES: Final = 32

_FIND = """
select s.id, s.created, s.seen, s.expires, s.agent, s.address, s.how,
       a.id, a.email, a.role, a.disabled, a.created, a.seen, a.name, a.language, a.timezone, a.kind
  from session s join account a on a.id = s.account where s.id = ?
"""
_PRUNE = "delete from session where id in (select id from session where expires < ? or seen < ? limit ?) returning id"
_LIST = """
select id, created, seen, expires, agent, address, how from session
 where account = ? and expires > ? order by seen desc
"""
_INSERT = """
insert into session (id, account, created, seen, expires, agent, address, how)
values (?, ?, ?, ?, ?, ?, ?, ?)
"""


class Session(msgspec.Struct, frozen=True):
    """One browser that is logged in; times in UTC milliseconds. `expires` is when it ends at the latest."""

    id: str
    created: int
    seen: int
    expires: int
    agent: str
    address: str = ""
    how: str = "password"  # by which way it came in


class Entered(NamedTuple):
    """A session and whose it is."""

    session: Session
    account: Account


class Sessions:
    """All browsers that are logged in."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend, self._clock = backend, clock

    async def start(
        self, account: Account, agent: str = "", *, address: str = "", how: str = "password", instead_of: str = ""
    ) -> str:
        """Start a session and return the value for its cookie; the one of the cookie `instead_of` ends."""
        value = urlsafe_b64encode(self._clock.secret(_VALUE_BYTES)).rstrip(b"=").decode()
        now = self._clock.now_ms()
        unit = Unit().do(
            _INSERT, _hash(value), account.id, now, now, now + ABSOLUTE_MS, agent[:AGENT_MAX], address, how
        )
        if instead_of:
            unit.do("delete from session where id = ?", _hash(instead_of))
        await self._backend.commit(unit)
        return value

    async def find(self, value: str) -> Entered | None:
        """Return whose session a cookie's value stands for; None if it is over, or its account is disabled."""
        row = await one(self._backend, _FIND, _hash(value))
        if row is None:
            return None
        columns = tuple(row)
        session, account = Session(*columns[:7]), account_of(columns[7:])
        now = self._clock.now_ms()
        if account.disabled or now >= min(session.expires, session.seen + IDLE_MS):
            return None
        if now - session.seen >= SEEN_EVERY_MS:
            await self._backend.commit(Unit().do("update session set seen = ? where id = ?", now, session.id))
        return Entered(session, account)

    async def end(self, value: str) -> None:
        """End the session of a cookie's value."""
        await self._backend.commit(Unit().do("delete from session where id = ?", _hash(value)))

    async def end_others(self, account: Account, keep: str = "") -> None:
        """End all of an account's sessions but the one with the id `keep`."""
        await self._backend.commit(Unit().do("delete from session where account = ? and id <> ?", account.id, keep))

    async def revoke(self, account: Account, session_id: str) -> None:
        """End one of an account's sessions; raises NotFoundError."""
        unit = Unit().do("delete from session where id = ? and account = ?", session_id, account.id, expect=1)
        if not await self._backend.commit(unit):
            raise NotFoundError(f"there is no session {session_id}")

    async def list(self, account_id: str) -> list[Session]:
        """Return an account's sessions, the one used last first."""
        now = self._clock.now_ms()
        rows = await self._backend.read(_LIST, account_id, now)
        return [found for found in (Session(*row) for row in rows) if found.seen + IDLE_MS > now]

    async def prune(self, limit: int = 500) -> int:
        """Delete sessions that are over, and return how many."""
        now = self._clock.now_ms()
        return len(await self._backend.write(_PRUNE, now, now - IDLE_MS, limit))


def csrf(value: str) -> str:
    """Return what a form of this session carries, so that only our own pages can send it."""
    return hmac.new(value.encode(), b"areabox form", hashlib.sha256).hexdigest()


def is_csrf(value: str, given: str) -> bool:
    """Return whether a form's token is that of the session."""
    return hmac.compare_digest(csrf(value).encode(), given.encode())


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
