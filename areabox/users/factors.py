"""What else does an account ask for beside its password? Codes of an authenticator, and recovery codes for its loss."""

from __future__ import annotations

from typing import Protocol

import msgspec

from areabox.clock import Clock
from areabox.database import Backend, Unit, one
from areabox.errors import ConflictError, InputError, Problem
from areabox.users import codes

_TOTP = "select secret, confirmed, step from totp where account = ?"
_BEGIN = """
insert into totp (account, secret) values (?, ?)
on conflict (account) do update set secret = excluded.secret, step = 0 where confirmed is null
"""
_CONFIRM = "update totp set confirmed = ?, step = ? where account = ? and confirmed is null"
_TAKE_STEP = "update totp set step = ? where account = ? and confirmed is not null and step < ?"
_TAKE_CODE = "update recovery set used = ? where account = ? and hash = ? and used is null"
_HAS = """
select (select count(*) from totp where account = ? and confirmed is not null),
       (select count(*) from recovery where account = ? and used is null)
"""


class Sealing(Protocol):
    """Encrypts what must not lie open in the database."""

    def seal(self, purpose: str, data: bytes, /) -> bytes:
        """Encrypt for one purpose, which must be given again to open it."""
        ...

    def open(self, purpose: str, data: bytes, /) -> bytes:
        """Decrypt what `seal` gave."""
        ...


class Standing(msgspec.Struct, frozen=True):
    """What an account has beside its password; `recovery` counts the codes that are left."""

    totp: bool
    recovery: int

    @property
    def asks(self) -> bool:
        """Return whether a password alone does not do."""
        return self.totp


class Factors:
    """The second factors of all accounts."""

    def __init__(self, backend: Backend, clock: Clock, vault: Sealing) -> None:
        self._backend, self._clock, self._vault = backend, clock, vault

    async def standing(self, account_id: str) -> Standing:
        """Return what an account has."""
        (totp, recovery) = (await self._backend.read(_HAS, account_id, account_id))[0]
        return Standing(bool(totp), recovery)

    async def begin(self, account_id: str) -> bytes:
        """Return the secret for a new authenticator, which counts once it gave a code; raises ConflictError."""
        secret = self._clock.secret(codes.SECRET_BYTES)
        sealed = self._vault.seal(_purpose(account_id), secret)
        if not await self._backend.commit(Unit().do(_BEGIN, account_id, sealed, expect=1)):
            raise ConflictError("there is an authenticator already; remove it first")
        return secret

    async def begun(self, account_id: str) -> bytes | None:
        """Return the secret of an authenticator that has not given a code yet, None if there is none."""
        row = await one(self._backend, _TOTP, account_id)
        return self._secret(account_id, row["secret"]) if row is not None and row["confirmed"] is None else None

    async def confirm(self, account_id: str, given: str) -> list[str]:
        """Let a new authenticator count, by its first code, and return the recovery codes; raises InputError."""
        row = await one(self._backend, _TOTP, account_id)
        if row is None or row["confirmed"] is not None:
            raise ConflictError("there is no new authenticator; begin again")
        step = codes.fitting_step(self._secret(account_id, row["secret"]), given, self._clock.now_ms())
        if step is None:
            raise _wrong()
        unit = Unit().do(_CONFIRM, self._clock.now_ms(), step, account_id, expect=1)
        texts = self._renew(unit, account_id)
        if not await self._backend.commit(unit):
            raise ConflictError("there is no new authenticator; begin again")
        return texts

    async def check(self, account_id: str, given: str) -> str:
        """Take a code, each once, and return of what kind it was: totp or recovery; raises InputError."""
        row = await one(self._backend, _TOTP, account_id)
        if row is not None and row["confirmed"] is not None:
            secret = self._secret(account_id, row["secret"])
            step = codes.fitting_step(secret, given, self._clock.now_ms(), after=row["step"])
            if step is not None:
                if await self._backend.commit(Unit().do(_TAKE_STEP, step, account_id, step, expect=1)):
                    return "totp"
                raise _wrong()
        hashed, now = codes.recovery_hash(given), self._clock.now_ms()
        if await self._backend.commit(Unit().do(_TAKE_CODE, now, account_id, hashed, expect=1)):
            return "recovery"
        raise _wrong()

    async def renew_recovery(self, account_id: str) -> list[str]:
        """Return new recovery codes, instead of all older ones."""
        unit = Unit()
        texts = self._renew(unit, account_id)
        await self._backend.commit(unit)
        return texts

    async def remove_totp(self, account_id: str) -> None:
        """Forget the authenticator and its recovery codes."""
        unit = Unit().do("delete from totp where account = ?", account_id)
        unit.do("delete from recovery where account = ?", account_id)
        await self._backend.commit(unit)

    async def reset(self, account_id: str) -> bool:
        """Forget all second factors and end all sessions, for somebody who lost them; False if there were none."""
        if not (await self.standing(account_id)).asks:
            return False
        unit = Unit().do("delete from totp where account = ?", account_id)
        unit.do("delete from recovery where account = ?", account_id)
        await self._backend.commit(unit.do("delete from session where account = ?", account_id))
        return True

    def _renew(self, unit: Unit, account_id: str) -> list[str]:
        texts = [codes.recovery_code(self._clock.secret(codes.RECOVERY_BYTES)) for _ in range(codes.RECOVERY_CODES)]
        unit.do("delete from recovery where account = ?", account_id)
        for text in texts:
            unit.do("insert into recovery (account, hash) values (?, ?)", account_id, codes.recovery_hash(text))
        return texts

    def _secret(self, account_id: str, sealed: bytes) -> bytes:
        return self._vault.open(_purpose(account_id), sealed)


def _purpose(account_id: str) -> str:
    return f"totp|secret|{account_id}"


def _wrong() -> InputError:
    detail = "the code is wrong, too old or was used before"
    return InputError(detail, [Problem("/code", detail)])
