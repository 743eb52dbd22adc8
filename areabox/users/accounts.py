"""Who has an account, and who comes in with a password."""

from __future__ import annotations

import re

import msgspec

from areabox.clock import Clock
from areabox.database import Backend, Row, Unit, one
from areabox.errors import ConflictError, InputError, NotAllowedError, NotFoundError, Problem
from areabox.users import passwords
from areabox.users.passwords import Passwords
from areabox.users.policy import Actor, check_role, may_change
from areabox.users.throttle import Throttle

EMAIL_MAX = 254
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,255}")
_GET = "select id, email, role, disabled, created, seen from account where id = ? or email = ?"
_LOGIN = "select id, email, role, disabled, created, seen, password from account where email = ?"
_LIST = "select id, email, role, disabled, created, seen from account where id > ? order by id limit ?"
_FIRST_OWNER = """
select id, email, role, disabled, created, seen from account
 where role = 'owner' and disabled = 0 order by created, id limit 1
"""
_INSERT = """
insert into account (id, email, role, password, created)
select ?, ?, ?, ?, ? where ? = 0 or not exists (select 1 from account)
"""
# Each of these leaves an enabled owner.
_DISABLE = """
update account set disabled = 1 where id = ? and (role <> 'owner' or exists (select 1 from account other
 where other.role = 'owner' and other.disabled = 0 and other.id <> account.id))
"""
_DEMOTE = """
update account set role = ? where id = ? and (role <> 'owner' or exists (select 1 from account other
 where other.role = 'owner' and other.disabled = 0 and other.id <> account.id))
"""
_REMOVE = """
delete from account where id = ? and (role <> 'owner' or exists (select 1 from account other
 where other.role = 'owner' and other.disabled = 0 and other.id <> account.id))
"""


class Account(msgspec.Struct, frozen=True):
    """A person, or a program that has an account of its own; times in UTC milliseconds."""

    id: str
    email: str
    role: str
    disabled: bool
    created: int
    seen: int | None

    def actor(self) -> Actor:
        """Return this account with all of its rights."""
        return Actor(self.id, self.email, self.role)


class Accounts:
    """All accounts."""

    def __init__(self, backend: Backend, clock: Clock, hasher: Passwords, throttle: Throttle) -> None:
        self._backend, self._clock, self._passwords, self._throttle = backend, clock, hasher, throttle

    # --- look ---------------------------------------------------------------------------------------------------------

    async def exist(self) -> bool:
        """Return whether there is any account."""
        return await one(self._backend, "select 1 from account limit 1") is not None

    async def get(self, name: str) -> Account:
        """Return the account with this id or e-mail address; raises NotFoundError."""
        row = await one(self._backend, _GET, name, name.strip().lower())
        if row is None:
            raise NotFoundError(f"there is no account {name}")
        return account_of(row)

    async def first_owner(self) -> Account | None:
        """Return the oldest enabled owner, None before the setup."""
        row = await one(self._backend, _FIRST_OWNER)
        return None if row is None else account_of(row)

    async def list(self, *, limit: int = 50, after: str | None = None) -> list[Account]:
        """Return accounts, oldest first, those behind the id `after`."""
        return [account_of(row) for row in await self._backend.read(_LIST, after or "", limit)]

    # --- come in ------------------------------------------------------------------------------------------------------

    async def check(self, email: str, password: str, *, address: str) -> Account:
        """Return the account that this e-mail address and password open.

        Raises `TooManyTriesError`, and `NotAllowedError` with the same text after the same time otherwise.
        """
        name = email.strip().lower()[:EMAIL_MAX]
        self._throttle.take(name, address)
        row = await one(self._backend, _LOGIN, name)
        fits = await self._passwords.verify(None if row is None else row["password"], password)
        if row is None or not fits or row["disabled"]:
            raise NotAllowedError("the e-mail address or the password is wrong")
        self._throttle.forgive(name, address)
        unit = Unit().do("update account set seen = ? where id = ?", self._clock.now_ms(), row["id"])
        if self._passwords.outdated(row["password"]):
            encoded = await self._passwords.hash(password)
            unit.do(
                "update account set password = ? where id = ? and password = ?", encoded, row["id"], row["password"]
            )
        await self._backend.commit(unit)
        return account_of(row)

    # --- change -------------------------------------------------------------------------------------------------------

    async def create(self, email: str, password: str | None, role: str, *, first: bool = False) -> Account:
        """Create an account; without a password nobody can log in to it.

        With `first` it is only created if there is none yet. Raises InputError, ConflictError.
        """
        address = _email(email)
        check_role(role)
        if password is not None:
            passwords.check(password, address)
        encoded = None if password is None else await self._passwords.hash(password)
        account = Account(self._clock.new_id(), address, role, False, self._clock.now_ms(), None)
        unit = Unit().do(_INSERT, account.id, address, role, encoded, account.created, int(first), expect=1)
        try:
            written = await self._backend.commit(unit)
        except ConflictError:
            raise ConflictError(f"there is an account {address} already") from None
        if not written:
            raise ConflictError("there is an account already; log in with it")
        return account

    async def set_password(self, account: Account, password: str, *, keep_session: str = "") -> None:
        """Give an account a new password and end its sessions but `keep_session`."""
        passwords.check(password, account.email)
        encoded = await self._passwords.hash(password)
        unit = Unit().do("update account set password = ? where id = ?", encoded, account.id, expect=1)
        unit.do("delete from session where account = ? and id <> ?", account.id, keep_session)
        await self._write(unit, account)

    async def set_role(self, account: Account, role: str) -> None:
        """Give an account another role and end its sessions; the last owner stays one."""
        check_role(role)
        unit = Unit()
        if account.role == "owner" and role != "owner":
            unit.do(_DEMOTE, role, account.id, expect=1)
        else:
            unit.do("update account set role = ? where id = ?", role, account.id, expect=1)
        unit.publish("account", id=account.id, role=role)
        await self._write(unit.do("delete from session where account = ?", account.id), account)

    async def set_email(self, account: Account, email: str) -> None:
        """Give an account another e-mail address."""
        address = _email(email)
        try:
            await self._write(
                Unit().do("update account set email = ? where id = ?", address, account.id, expect=1), account
            )
        except ConflictError:
            raise ConflictError(f"there is an account {address} already") from None

    async def disable(self, account: Account, *, disabled: bool = True) -> None:
        """Shut an account out, or let it in again; the last owner cannot be shut out."""
        if disabled:
            unit = Unit().do(_DISABLE, account.id, expect=1)
            unit.do("delete from session where account = ?", account.id)
        else:
            unit = Unit().do("update account set disabled = 0 where id = ?", account.id, expect=1)
        await self._write(unit, account)

    async def delete(self, account: Account) -> None:
        """Remove an account with its sessions and tokens; raises ConflictError while it owns areas or connections."""
        for sql in ("select count(*) from area where owner = ?", "select count(*) from connection where owner = ?"):
            (count,) = (await self._backend.read(sql, account.id))[0]
            if count:
                raise ConflictError(
                    f"{account.email} still has areas or connections; remove them, or disable the account"
                )
        await self._write(Unit().do(_REMOVE, account.id, expect=1), account)

    async def _write(self, unit: Unit, account: Account) -> None:
        if await self._backend.commit(unit):
            return
        await self.get(account.id)
        raise ConflictError(f"{account.email} is the last owner; make another one first")


def check_change(actor: Actor, account: Account, *, role: str | None = None) -> None:
    """Raise NotAllowedError unless the actor may change this account, or give it `role`."""
    if not may_change(actor, role=account.role, to=role):
        raise NotAllowedError("only an owner can change an owner, or make somebody one")


def _email(given: str) -> str:
    address = given.strip().lower()
    if len(address) > EMAIL_MAX or not _EMAIL.fullmatch(address):
        raise InputError(f"{given[:80]!r} is no e-mail address", [Problem("/email", "must be an e-mail address")])
    return address


def account_of(columns: Row) -> Account:
    """Return the account in the first six columns: id, email, role, disabled, created, seen."""
    id, email, role, disabled, created, seen, *_ = tuple(columns)
    return Account(id, email, role, bool(disabled), created, seen)
