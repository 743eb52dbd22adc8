"""How do programs come in? With a token `abx_<8>_<43><6>`: its id, 256 random bits, a checksum.

Only its hash is stored, so its text can be shown once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from areabox.clock import Clock
from areabox.database import Backend, Row, Unit, one
from areabox.errors import InputError, NotFoundError, Problem
from areabox.users.accounts import Account, account_of
from areabox.users.policy import Actor, check_scopes

NAME_MAX: Final = 80
USED_EVERY_MS: Final = 300_000  # how exact `used` is, so that a request costs no write
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID, _SECRET, _SUM = 8, 43, 6
_FORM: Final = re.compile(rf"abx_([0-9A-Za-z]{{{_ID}}})_([0-9A-Za-z]{{{_SECRET}}})([0-9A-Za-z]{{{_SUM}}})")

_FIND = """
select t.id, t.name, a.email, t.scopes, t.created, t.expires, t.used, t.hash,
       a.id, a.email, a.role, a.disabled, a.created, a.seen, a.name, a.language, a.timezone, a.kind
  from token t join account a on a.id = t.account where t.id = ?
"""
_LIST = """
select t.id, t.name, a.email, t.scopes, t.created, t.expires, t.used from token t join account a on a.id = t.account
 where (? = '' or t.account = ?) and t.id > ? order by t.id limit ?
"""
_GET = """
select t.id, t.name, a.email, t.scopes, t.created, t.expires, t.used, t.account
  from token t join account a on a.id = t.account where t.id = ?
"""
_DELETE = "delete from token where id = ? and (? = '' or account = ?)"


class Token(msgspec.Struct, frozen=True):
    """What is known of a token but its text; times in UTC milliseconds."""

    id: str
    name: str
    user: str  # the account's e-mail address
    scopes: list[str]
    created: int
    expires: int | None
    used: int | None


class Presented(NamedTuple):
    """A token that was shown, and whose it is."""

    token: Token
    account: Account

    def actor(self) -> Actor:
        """Return the account with what the token's scopes leave of its rights."""
        return Actor(self.account.id, self.account.email, self.account.role, frozenset(self.token.scopes))


class Tokens:
    """All API tokens."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend, self._clock = backend, clock

    async def create(
        self, account_id: str, email: str, name: str, scopes: Iterable[str], *, expires: int | None = None
    ) -> tuple[Token, str]:
        """Make a token and return it with its text, which cannot be had again. Raises InputError."""
        label, now = name.strip(), self._clock.now_ms()
        if not label or len(label) > NAME_MAX:
            detail = f"a token needs a name of at most {NAME_MAX} characters"
            raise InputError(detail, [Problem("/name", detail)])
        if expires is not None and expires <= now:
            raise InputError("the token would have expired already", [Problem("/expires", "must lie in the future")])
        id, secret = self._random(_ID), self._random(_SECRET)
        text = f"abx_{id}_{secret}{_checksum(id + secret)}"
        token = Token(id, label, email, check_scopes(scopes), now, expires, None)
        await self._backend.commit(
            Unit().do(
                "insert into token (id, account, name, hash, scopes, created, expires) values (?, ?, ?, ?, ?, ?, ?)",
                id, account_id, label, _hash(text), msgspec.json.encode(token.scopes).decode(), now, expires, expect=1,
            )
        )  # fmt: skip
        return token, text

    async def get(self, token_id: str) -> tuple[Token, str]:
        """Return a token and the id of its account; raises NotFoundError."""
        row = await one(self._backend, _GET, token_id)
        if row is None:
            raise NotFoundError(f"there is no token {token_id}")
        return _token(tuple(row)[:7]), row["account"]

    async def rotate(self, token_id: str, *, overlap_ms: int = 0) -> tuple[Token, str]:
        """Make a token with the name, scopes and end of another, which ends, at the latest after `overlap_ms`.

        Raises NotFoundError.
        """
        old, account_id = await self.get(token_id)
        made = await self.create(account_id, old.user, old.name, old.scopes, expires=old.expires)
        end = self._clock.now_ms() + overlap_ms
        await self._backend.commit(
            Unit().do("update token set expires = min(coalesce(expires, ?), ?) where id = ?", end, end, token_id)
        )
        return made

    def _random(self, length: int) -> str:
        number = int.from_bytes(self._clock.secret(length), "big")
        return _base62(number, length)

    async def find(self, text: str) -> Presented | None:
        """Return whose token this is; None if there is none such, it has expired, or its account is disabled."""
        match = _FORM.fullmatch(text)
        if match is None or _checksum(match[1] + match[2]) != match[3]:
            return None
        row = await one(self._backend, _FIND, match[1])
        if row is None or not hmac.compare_digest(row["hash"], _hash(text)):
            return None
        columns, now = tuple(row), self._clock.now_ms()
        token, account = _token(columns[:7]), account_of(columns[8:])
        if account.disabled or (token.expires is not None and now >= token.expires):
            return None
        if token.used is None or now - token.used >= USED_EVERY_MS:
            await self._backend.commit(Unit().do("update token set used = ? where id = ?", now, token.id))
        return Presented(token, account)

    async def list(self, account_id: str | None, *, limit: int = 50, after: str | None = None) -> list[Token]:
        """Return tokens by id, those behind the id `after`; of an account, or None for all."""
        whose = account_id or ""
        return [_token(row) for row in await self._backend.read(_LIST, whose, whose, after or "", limit)]

    async def delete(self, account_id: str | None, token_id: str) -> None:
        """Revoke a token at once, of an account or None for any; raises NotFoundError."""
        whose = account_id or ""
        if not await self._backend.commit(Unit().do(_DELETE, token_id, whose, whose, expect=1)):
            raise NotFoundError(f"there is no token {token_id}")


def _token(row: Row) -> Token:
    id, name, user, scopes, created, expires, used = tuple(row)
    return Token(id, name, user, msgspec.json.decode(scopes, type=list[str]), created, expires, used)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(text: str) -> str:
    """Return the checksum that tells a mistyped token, and helps scanners that look for leaked ones."""
    return _base62(zlib.crc32(text.encode()), _SUM)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
