"""Who changed what, and has anybody changed this log since? Rows, each with a hash over itself and the one before.

    chain = hex(SHA-256(chain of the entry before + JSON [id, at, actor, address, verb, object, detail]))

The first has nothing before it; once retention has deleted the oldest, the anchor holds the value that was there last.
The schema refuses to change an entry, and to delete one that the anchor does not stand behind.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from areabox.clock import Clock
from areabox.database import Backend, Row, Unit, one

OBJECT_MAX: Final = 200
DETAIL_MAX_BYTES: Final = 8_192
PAGE: Final = 500
KEPT_MAX: Final = 1_000_000  # entries, however young
EVER: Final = 1 << 62  # later than any time
_INSERT = """
insert into audit (seq, id, at, actor, address, verb, object, detail, chain) values (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_LAST = """
select seq, chain from audit where seq = (select max(seq) from audit)
union all select seq, chain from audit_anchor order by seq desc limit 1
"""
_LIST = """
select seq, id, at, actor, address, verb, object, detail, chain from audit
 where seq < case when ? = '' then 9223372036854775807 else (select seq from audit where id = ?) end
   and at >= ? and at < ?
   and (? = '' or actor = ?) and (? = '' or address = ?) and (? = '' or object = ?)
   and (? = '' or verb = ? or substr(verb, 1, length(?) + 1) = ? || '.')
   and (? = '' or instr(lower(actor || ' ' || address || ' ' || verb || ' ' || object || ' ' || detail), lower(?)) > 0)
 order by seq desc limit ?
"""
_WALK = "select seq, id, at, actor, address, verb, object, detail, chain from audit where seq > ? order by seq limit ?"
_ENDS = "select coalesce(min(seq), 1), coalesce(max(seq), 0) from audit"
_YOUNG = "select min(seq) from audit where at >= ? and seq < ?"
_ANCHOR = """
insert into audit_anchor (only, seq, chain, at) values (1, ?, ?, ?)
on conflict (only) do update set seq = excluded.seq, chain = excluded.chain, at = excluded.at
"""


class Entry(msgspec.Struct, frozen=True):
    """One line of the log; `at` in UTC milliseconds, `detail` without secrets."""

    seq: int
    id: str
    at: int
    actor: str
    address: str
    verb: str
    object: str
    detail: dict[str, Any]
    chain: str


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: a verb also names those behind its dot (`area`: `area.create`); times in UTC milliseconds."""

    actor: str = ""
    address: str = ""
    object: str = ""
    verb: str = ""
    text: str = ""
    since: int = 0
    until: int = EVER


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the log is whole: `broken` names the first entry that does not follow, `because` says in what.

    `head` is `seq:chain` of the last entry; who keeps it elsewhere also notices if the end was cut off.
    """

    entries: int
    head: str
    broken: str | None = None
    because: str | None = None


class Audit:
    """The log. Only this process writes it, one entry after the other."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend, self._clock = backend, clock
        self._lock = asyncio.Lock()
        self._last: tuple[int, str] | None = None

    async def record(self, actor: str, address: str, verb: str, object: str, **detail: Any) -> None:
        """Write an entry, on disk when this returns."""
        async with self._lock:
            seq, before = self._last or await self._end()
            columns = (
                self._clock.new_id(), self._clock.now_ms(), actor, address, verb, object[:OBJECT_MAX], _text(detail),
            )  # fmt: skip
            chain = _link(before, columns)
            self._last = (seq + 1, chain)
            try:
                await self._backend.commit(Unit().do(_INSERT, seq + 1, *columns, chain, expect=1))
            except Exception:
                self._last = None  # the table says where the log ends; it does not if whoever waits is only cancelled
                raise

    async def _end(self) -> tuple[int, str]:
        row = await one(self._backend, _LAST)
        return (0, "") if row is None else (int(row["seq"]), str(row["chain"]))

    async def list(self, wanted: Filter | None = None, *, limit: int = 50, after: str | None = None) -> list[Entry]:
        """Return entries, newest first, those before the id `after`."""
        f = wanted or Filter()
        rows = await self._backend.read(
            _LIST, after or "", after or "", f.since, f.until, f.actor, f.actor, f.address, f.address, f.object,
            f.object, f.verb, f.verb, f.verb, f.verb, f.text, f.text, limit,
        )  # fmt: skip
        return [_entry(row) for row in rows]

    async def export(self, wanted: Filter | None = None) -> AsyncIterator[Entry]:
        """Yield entries, newest first, read page after page."""
        after: str | None = None
        while found := await self.list(wanted, limit=PAGE, after=after):
            for entry in found:
                yield entry
            after = found[-1].id

    async def verify(self, head: str = "") -> Verdict:
        """Walk the whole log; `head` is what an earlier verdict said, which must still stand in it."""
        anchor = await one(self._backend, "select seq, chain from audit_anchor")
        seq, before = (0, "") if anchor is None else (int(anchor["seq"]), str(anchor["chain"]))
        missing, count = head, 0
        while rows := await self._backend.read(_WALK, seq, PAGE):
            for row in rows:
                number, *columns, chain = tuple(row)
                if because := _fault(seq, before, number, tuple(columns), chain):
                    return Verdict(entries=count, head=f"{seq}:{before}", broken=columns[0], because=because)
                seq, before, count = number, chain, count + 1
                missing = "" if missing == f"{seq}:{before}" else missing
        if missing and (anchor is None or _number(missing) > anchor["seq"]):
            because = f"the entry {missing} is not there any more"
            return Verdict(entries=count, head=f"{seq}:{before}", broken=missing, because=because)
        return Verdict(entries=count, head=f"{seq}:{before}")

    async def prune(self, before_ms: int, limit: int = PAGE) -> int:
        """Delete the oldest entries from before a time, and all but the last `KEPT_MAX`; return how many.

        The last entry stays, so that it is known where the log ends.
        """
        async with self._lock:
            [(first, last)] = await self._backend.read(_ENDS)
            [(young,)] = await self._backend.read(_YOUNG, before_ms, first + limit)
            upto = first + limit - 1 if young is None else young - 1
            upto = min(max(upto, min(last - KEPT_MAX, first + limit - 1)), last - 1)
            if upto < first:
                return 0
            [(chain,)] = await self._backend.read("select chain from audit where seq = ?", upto)
            unit = Unit().do(_ANCHOR, upto, chain, self._clock.now_ms())
            await self._backend.commit(unit.do("delete from audit where seq <= ?", upto))
            return int(upto - first + 1)


def _text(detail: dict[str, Any]) -> str:
    text = msgspec.json.encode(detail)
    return text.decode() if len(text) <= DETAIL_MAX_BYTES else '{"cut":true}'


def _fault(seq: int, before: str, number: int, columns: tuple[Any, ...], chain: str) -> str:
    """Return in what an entry does not follow from the one before; nothing if it does."""
    if number != seq + 1:
        return f"entry {seq + 1} is missing"
    try:
        fits = _link(before, columns) == chain
    except (TypeError, ValueError, UnicodeError):  # bytes that are no text, or no value that an entry has
        fits = False
    return "" if fits else f"entry {number} was changed"


def _number(head: str) -> int:
    number = head.partition(":")[0]
    return int(number) if number.isdecimal() else EVER


def _link(before: str, columns: tuple[Any, ...]) -> str:
    return hashlib.sha256(before.encode() + msgspec.json.encode(columns)).hexdigest()


def _entry(row: Row) -> Entry:
    seq, id, at, actor, address, verb, object, detail, chain = tuple(row)
    return Entry(seq, id, at, actor, address, verb, object, msgspec.json.decode(detail, type=dict[str, Any]), chain)
