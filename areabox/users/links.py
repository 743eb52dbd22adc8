"""How does somebody come in who cannot sign in yet, or any more? By a link that works once, of which a hash is kept.

invite     made by an admin, with a role; whoever opens it makes an account
register   asked for by somebody unknown, where the settings allow that; only a mail has it, which proves the address
reset      for an account whose password was forgotten
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from typing import Final, NamedTuple

import msgspec

from areabox.clock import Clock
from areabox.database import Backend, Row, Unit, one
from areabox.errors import ConflictError, InputError, NotFoundError, Problem
from areabox.users.accounts import Account, Accounts, email_of
from areabox.users.policy import check_role

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
INVITE_MS, INVITE_MAX_MS, REGISTER_MS, RESET_MS = 7 * _DAY_MS, 90 * _DAY_MS, _DAY_MS, _HOUR_MS
OPEN_MAX: Final = 1_000  # of invitations and registrations that wait
_BYTES: Final = 32
_INSERT = """
insert into link (id, kind, account, email, role, author, created, expires)
select ?, ?, ?, ?, ?, ?, ?, ? where (select count(*) from link) < ?
"""
_GET = "select id, kind, account, email, role, author, created, expires from link where id = ? and expires > ?"
_LIST = """
select id, kind, account, email, role, author, created, expires from link
 where kind = 'invite' and expires > ? and id > ? order by id limit ?
"""
_TAKE = "delete from link where id = ? and expires > ?"
_NO_OTHERS = "delete from link where kind = ? and email = ?"


class Link(msgspec.Struct, frozen=True):
    """A link that waits; times in UTC milliseconds. `email` is nothing where whoever opens it says its own."""

    id: str
    kind: str
    account: str | None
    email: str
    role: str
    author: str
    created: int
    expires: int


class Made(NamedTuple):
    """A link, and its secret part, which cannot be had again."""

    link: Link
    secret: str


class Links:
    """All links that wait."""

    def __init__(self, backend: Backend, clock: Clock, accounts: Accounts) -> None:
        self._backend, self._clock, self._accounts = backend, clock, accounts

    async def invite(self, author: str, role: str, email: str = "", *, valid_ms: int = INVITE_MS) -> Made:
        """Invite somebody; raises InputError, and ConflictError where the address has an account already."""
        check_role(role)
        if not 0 < valid_ms <= INVITE_MAX_MS:
            raise InputError("an invitation is good for 90 days at most", [Problem("/expires", "at most 90d")])
        address = email_of(email) if email else ""
        if address and await self._known(address):
            raise ConflictError(f"there is an account {address} already")
        return await self._make("invite", address, role, author, valid_ms)

    async def register(self, email: str, role: str = "viewer") -> Made | None:
        """Let somebody have an account once the address is proved; None where it has one already."""
        address = email_of(email)
        if await self._known(address):
            return None
        return await self._make("register", address, role, "", REGISTER_MS)

    async def reset(self, email: str) -> Made | None:
        """Let an account have a new password; None where there is none that has passwords."""
        try:
            account = await self._accounts.get(email)
        except NotFoundError:
            return None
        if account.disabled or account.kind != "person":
            return None
        return await self._make("reset", account.email, account.role, "", RESET_MS, account.id)

    async def find(self, secret: str) -> Link:
        """Return the link that has this secret part; raises NotFoundError."""
        row = await one(self._backend, _GET, _hash(secret), self._clock.now_ms())
        if row is None:
            raise NotFoundError("this link is wrong, has been used or is too old")
        return _link(row)

    async def list(self, *, limit: int = 50, after: str | None = None) -> list[Link]:
        """Return the invitations that wait, by id."""
        return [_link(row) for row in await self._backend.read(_LIST, self._clock.now_ms(), after or "", limit)]

    async def withdraw(self, id: str) -> Link:
        """Take an invitation back; raises NotFoundError."""
        row = await one(self._backend, _GET, id, self._clock.now_ms())
        if row is None or row["kind"] != "invite":
            raise NotFoundError(f"there is no invitation {id[:80]}")
        await self._backend.commit(Unit().do("delete from link where id = ?", id))
        return _link(row)

    async def join(self, secret: str, email: str, password: str | None, name: str = "") -> Account:
        """Make the account that a link is for, which uses it up; raises InputError, ConflictError, NotFoundError."""
        link = await self.find(secret)
        if link.kind == "reset":
            raise NotFoundError("this link is for a new password")
        unit = Unit().do(_TAKE, link.id, self._clock.now_ms(), expect=1)
        return await self._accounts.create(link.email or email, password, link.role, name=name, unit=unit)

    async def renew(self, secret: str, password: str) -> Account:
        """Give the account of a link a new password, which uses it up and ends all sessions; raises as `join`."""
        link = await self.find(secret)
        if link.kind != "reset" or link.account is None:
            raise NotFoundError("this link is an invitation")
        account = await self._accounts.get(link.account)
        taken = Unit().do(_TAKE, link.id, self._clock.now_ms(), expect=1)
        await self._accounts.set_password(account, password, unit=taken)
        return account

    async def prune(self, limit: int = 500) -> int:
        """Delete links that are too old, and return how many."""
        sql = "delete from link where id in (select id from link where expires < ? limit ?) returning id"
        return len(await self._backend.write(sql, self._clock.now_ms(), limit))

    async def _known(self, address: str) -> bool:
        return await one(self._backend, "select 1 from account where email = ?", address) is not None

    async def _make(
        self, kind: str, email: str, role: str, author: str, valid_ms: int, account: str | None = None
    ) -> Made:
        secret = urlsafe_b64encode(self._clock.secret(_BYTES)).rstrip(b"=").decode()
        now = self._clock.now_ms()
        link = Link(_hash(secret), kind, account, email, role, author, now, now + valid_ms)
        unit = Unit().do("delete from link where expires < ?", now)
        if email:
            unit.do(_NO_OTHERS, kind, email)
        unit.do(_INSERT, *msgspec.structs.astuple(link), OPEN_MAX, expect=1)
        if not await self._backend.commit(unit):
            raise ConflictError("too many links wait already; take some back")
        return Made(link, secret)


def _link(row: Row) -> Link:
    return Link(*tuple(row))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
