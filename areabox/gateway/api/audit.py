"""The audit log: who changed what, from where, whether the log is whole, and all of it as JSON lines."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from areabox.areas.durations import parse_duration, parse_time
from areabox.errors import AreaboxError, InputError, Problem
from areabox.gateway.routes import LIMIT, Answer, Ask, Listing, Page, Route, get, page, rfc3339
from areabox.gateway.shapes import AuditCheck, AuditView
from areabox.users.audit import EVER, Filter

if TYPE_CHECKING:
    from areabox.users.audit import Entry

NDJSON = "application/x-ndjson"
_PIECE = 100  # entries that go out together


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries; `verb` also names those behind its dot, times are RFC 3339 or how long ago (`7d`)."""

    actor: str = ""
    address: str = ""
    verb: str = ""
    object: str = ""
    q: str = ""
    since: str = ""
    until: str = ""


class Search(Wanted, frozen=True, kw_only=True):
    """Which entries, and which part of them."""

    limit: int = LIMIT
    after: str | None = None

    @property
    def part(self) -> Listing:
        """Return which part."""
        return Listing(limit=self.limit, after=self.after)


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The head that an earlier check told, which must still stand in the log."""

    head: str = ""


async def list_(ask: Ask, query: Search) -> Page[Any]:
    """List entries, newest first."""
    found = await ask.parts.audit.list(filter_of(ask, query), limit=query.part.count, after=query.after)
    return page([view(entry) for entry in found], query.part)


async def export(ask: Ask, query: Wanted) -> Answer:
    """Send all entries that are asked for, newest first, one JSON object a line."""
    lines = _lines(ask, filter_of(ask, query))
    name = 'attachment; filename="areabox-audit.jsonl"'
    return Answer(value=lines, media_type=NDJSON, headers={"content-disposition": name})


async def _lines(ask: Ask, wanted: Filter) -> AsyncIterator[bytes]:
    piece: list[bytes] = []
    async for entry in ask.parts.audit.export(wanted):
        piece.append(msgspec.json.encode(view(entry)) + b"\n")
        if len(piece) == _PIECE:
            yield b"".join(piece)
            piece.clear()
    yield b"".join(piece)


async def check(ask: Ask, query: Known) -> dict[str, Any]:
    """Check that every entry follows from the one before; `broken` names the first that does not."""
    verdict = await ask.parts.audit.verify(query.head)
    return {"ok": verdict.broken is None, **msgspec.to_builtins(verdict)}


def filter_of(ask: Ask, query: Wanted) -> Filter:
    """Return what a query asks for; raises InputError for a time that is none."""
    return Filter(
        actor=query.actor.strip().lower(), address=query.address.strip(), verb=query.verb.strip(),
        object=query.object.strip(), text=query.q, since=_time(ask, "since", query.since, 0),
        until=_time(ask, "until", query.until, EVER),
    )  # fmt: skip


def _time(ask: Ask, name: str, given: str, otherwise: int) -> int:
    if not given:
        return otherwise
    with contextlib.suppress(AreaboxError, ValueError, OverflowError):
        return ask.parts.clock.now_ms() - int(parse_duration(given))
    with contextlib.suppress(AreaboxError, ValueError, OverflowError):
        return min(int(parse_time(given)), EVER)
    detail = "must be a time such as 2030-01-01T00:00:00Z, or how long ago, such as 7d"
    raise InputError(f"{name} {detail}", [Problem(f"?/{name}", detail)])


def view(entry: Entry) -> dict[str, Any]:
    """Return an entry as the API shows it."""
    return {**msgspec.to_builtins(entry), "at": rfc3339(entry.at)}


ROUTES: tuple[Route, ...] = (
    get("/api/v1/audit", list_, "audit:read", answer=Page[AuditView]),
    get("/api/v1/audit/check", check, "audit:read", answer=AuditCheck),
    get("/api/v1/audit/export", export, "audit:read", answer=str, audit="audit.export", media_types=(NDJSON,)),
)
