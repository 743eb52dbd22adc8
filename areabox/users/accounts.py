"""Who has an account, and who comes in with a password."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from areabox.clock import Clock
from areabox.database import Backend, Row, Unit, one
from areabox.errors import ConflictError, InputError, NotAllowedError, NotFoundError, Problem
from areabox.users import passwords
from areabox.users.passwords import Cost, Passwords
from areabox.users.policy import Actor, check_role
from areabox.users.throttle import Throttle

EMAIL_MAX, NAME_MAX = 254, 80
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}")
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,255}")
_GET = """
select id, email, role, disabled, created, seen, name, language, timezone, kind from account where id = ? or email = ?
"""
_LOGIN = """
select id, email, role, disabled, created, seen, name, language, timezone, kind, password from account where email = ?
"""
_LIST = """
select id, email, role, disabled, created, seen, name, language, timezone, kind from account
 where id > ? order by id limit ?
"""
_FIRST_OWNER = """
select id, email, role, disabled, created, seen, name, language, timezone, kind from account
 where role = 'owner' and disabled = 0 order by created, id limit 1
"""
_INSERT = """
insert into account (id, email, role, password, created, name, kind)
select ?, ?, ?, ?, ?, ?, ? where ? = 0 or not exists (select 1 from account)
"""
_COST = """
insert into meta (key, value) values ('argon2', ?) on conflict (key) do update set value = excluded.value
"""
_OTHER_OWNER = "select 1 from account where role = 'owner' and disabled = 0 and id <> ? limit 1"
_PROFILE = "update account set name = ?, language = ?, timezone = ? where id = ?"
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
    name: str = ""
    language: str = ""
    timezone: str = ""
    kind: str = "person"  # or `service`: a program's, which comes in with tokens alone

    def actor(self) -> Actor:
        """Return this account with all of its rights."""
        return Actor(self.id, self.email, self.role)


class Accounts:
    """All accounts."""

    def __init__(self, backend: Backend, clock: Clock, hasher: Passwords, throttle: Throttle) -> None:
        self._backend, self._clock, self._passwords = backend, clock, hasher
        self.throttle = throttle

    async def settle(self) -> None:
        """Use what the setup found this machine to afford for a hash."""
        row = await one(self._backend, "select value from meta where key = 'argon2'")
        if row is not None:
            self._passwords.use(Cost(*msgspec.json.decode(row["value"], type=tuple[int, int])))

    async def calibrate(self) -> None:
        """Find out what this machine affords for a hash, once, before there is any account."""
        cost = await self._passwords.calibrate(self._clock)
        await self._backend.commit(Unit().do(_COST, msgspec.json.encode(cost).decode()))

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
        self.throttle.take(name, address)
        row = await one(self._backend, _LOGIN, name)
        fits = await self._passwords.verify(None if row is None else row["password"], password)
        if row is None or not fits or row["disabled"]:
            raise NotAllowedError("the e-mail address or the password is wrong")
        self.throttle.forgive(name, address)
        unit = Unit().do("update account set seen = ? where id = ?", self._clock.now_ms(), row["id"])
        if self._passwords.outdated(row["password"]):
            encoded = await self._passwords.hash(password)
            unit.do(
                "update account set password = ? where id = ? and password = ?", encoded, row["id"], row["password"]
            )
        await self._backend.commit(unit)
        return account_of(row)

    # --- change -------------------------------------------------------------------------------------------------------

    async def create(
        self, email: str, password: str | None, role: str, *, first: bool = False, name: str = "", kind: str = "person",
        unit: Unit | None = None,
    ) -> Account:  # fmt: skip
        """Create an account; without a password nobody can log in to it, nor to one of kind `service`.

        With `first` it is only created if there is none yet, and with a `unit` if all of that can be written, too.
        Raises InputError, ConflictError.
        """
        address = email_of(email)
        check_role(role)
        if password is not None:
            passwords.check(password, address)
        if kind == "service" and password is not None:
            raise InputError("a service account has no password", [Problem("/password", "leave it out")])
        if password is not None and not await self.exist():
            await self.calibrate()
        encoded = None if password is None else await self._passwords.hash(password)
        account = Account(
            self._clock.new_id(), address, role, False, self._clock.now_ms(), None, name=_short(name), kind=kind
        )
        unit = (unit or Unit()).do(
            _INSERT, account.id, address, role, encoded, account.created, account.name, kind, int(first), expect=1
        )
        try:
            written = await self._backend.commit(unit)
        except ConflictError:
            raise ConflictError(f"there is an account {address} already") from None
        if not written:
            raise ConflictError("there is an account already; log in with it")
        return account

    async def set_profile(self, account: Account, *, name: str, language: str, timezone: str) -> None:
        """Say how a person is called, in which language areabox speaks to it, and in which zone its times are."""
        if language and not _LANGUAGE.fullmatch(language):
            raise InputError("no language", [Problem("/language", "must be a code such as en or de-CH")])
        if timezone and not _is_zone(timezone):
            raise InputError("no time zone", [Problem("/timezone", "must be a zone such as Europe/Paris")])
        unit = Unit().do(_PROFILE, _short(name), language, timezone, account.id, expect=1)
        await self._write(unit, account)

    async def set_password(
        self, account: Account, password: str, *, keep_session: str = "", unit: Unit | None = None
    ) -> None:
        """Give an account a new password and end its sessions but `keep_session`; with a `unit` only if all of it fits.

        Links that were to reset the password end, too.
        """
        if account.kind == "service":
            raise ConflictError(f"{account.email} is a service account, which has tokens and no password")
        passwords.check(password, account.email)
        encoded = await self._passwords.hash(password)
        unit = (unit or Unit()).do("update account set password = ? where id = ?", encoded, account.id, expect=1)
        unit.do("delete from link where account = ?", account.id)
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
        unit.do("delete from link where author = ?", account.id)  # it may not invite so any more
        unit.publish("account", id=account.id, role=role)
        await self._write(unit.do("delete from session where account = ?", account.id), account)

    async def set_email(self, account: Account, email: str) -> None:
        """Give an account another e-mail address; links that were sent to the old one end."""
        address = email_of(email)
        unit = Unit().do("update account set email = ? where id = ?", address, account.id, expect=1)
        try:
            await self._write(unit.do("delete from link where account = ?", account.id), account)
        except ConflictError:
            raise ConflictError(f"there is an account {address} already") from None

    async def disable(self, account: Account, *, disabled: bool = True) -> None:
        """Shut an account out, or let it in again; the last owner cannot be shut out."""
        if disabled:
            unit = Unit().do(_DISABLE, account.id, expect=1)
            unit.do("delete from link where author = ?", account.id)
            unit.do("delete from session where account = ?", account.id)
        else:
            unit = Unit().do("update account set disabled = 0 where id = ?", account.id, expect=1)
        await self._write(unit, account)

    async def refuse_last(self, account: Account) -> None:
        """Raise ConflictError for the last owner, before anything is done that only makes sense without it."""
        if account.role == "owner" and await one(self._backend, _OTHER_OWNER, account.id) is None:
            raise ConflictError(f"{account.email} is the last owner; make another one first")

    async def delete(self, account: Account) -> None:
        """Remove an account with its sessions and tokens; raises ConflictError while it owns areas or connections."""
        for sql in ("select count(*) from area where owner = ?", "select count(*) from connection where owner = ?"):
            (count,) = (await self._backend.read(sql, account.id))[0]
            if count:
                raise ConflictError(
                    f"{account.email} still has areas or connections; remove them, or disable the account"
                )
        unit = Unit().do(_REMOVE, account.id, expect=1)
        await self._write(unit.do("delete from link where author = ?", account.id), account)

    async def _write(self, unit: Unit, account: Account) -> None:
        if await self._backend.commit(unit):
            return
        await self.get(account.id)
        raise ConflictError(f"{account.email} is the last owner; make another one first")


def email_of(given: str) -> str:
    """Return an e-mail address as it is stored; raises InputError for what is none."""
    address = given.strip().lower()
    if len(address) > EMAIL_MAX or not _EMAIL.fullmatch(address):
        raise InputError(f"{given[:80]!r} is no e-mail address", [Problem("/email", "must be an e-mail address")])
    return address


def account_of(columns: Row) -> Account:
    """Return the account in the first ten columns, in the order of its fields."""
    id, email, role, disabled, created, seen, name, language, timezone, kind, *_ = tuple(columns)
    return Account(id, email, role, bool(disabled), created, seen, name, language, timezone, kind)


def _short(name: str) -> str:
    text = " ".join(name.split())
    if len(text) > NAME_MAX or not text.isprintable():
        raise InputError("no name", [Problem("/name", f"may have at most {NAME_MAX} characters")])
    return text


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
