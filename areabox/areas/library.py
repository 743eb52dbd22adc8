"""The rows of `area` and `area_version`: documents, never changed once written, and which one is the head."""

from __future__ import annotations

from typing import Any

import msgspec

from areabox.areas.answers import at
from areabox.areas.registry import HEADS, Head, head_of
from areabox.database import Backend, Unit, one

KEPT_VERSIONS = 50  # of each area, however old
_PRUNE = """
delete from area_version where (area, version) in (
  select v.area, v.version from area_version v left join area a on a.id = v.area
   where v.created < ? and (a.id is null or v.version <= a.head - ?)
     and not exists (select 1 from run where run.area = v.area and run.version = v.version)
   limit ?)
returning version
"""


def write(unit: Unit, head: Head, before: Head | None, *, source: str | None, author: str, now: int) -> None:
    """Add a version of an area and make it the head, unless another was faster."""
    if before is None:
        unit.do(
            "insert into area (id, owner, slug, name, head, enabled, created, updated) values (?, ?, ?, ?, ?, ?, ?, ?)",
            head.id, head.owner, head.slug, head.name, head.version, int(head.enabled), now, now,
        )  # fmt: skip
    else:
        unit.do(
            "update area set name = ?, head = ?, enabled = ?, updated = ? where id = ? and head = ?",
            head.name, head.version, int(head.enabled), now, head.id, before.version,
            expect=1,
        )  # fmt: skip
    unit.do(
        "insert into area_version (area, version, document, source, created, author) values (?, ?, ?, ?, ?, ?)",
        head.id, head.version, head.document.decode(), source, now, author,
    )  # fmt: skip
    unit.publish("area", id=head.slug, owner=head.owner, version=head.version)


def delete(unit: Unit, head: Head) -> None:
    """Remove an area and its versions, unless another was faster."""
    unit.do("delete from area where id = ? and head = ?", head.id, head.version, expect=1)
    unit.do(
        "delete from area_version where area = ? and not exists (select 1 from run where area = ? and ended is null)",
        head.id, head.id,
    )  # fmt: skip
    unit.do("delete from once where area = ?", head.id)
    unit.publish("area", id=head.slug, owner=head.owner, version=None)


async def load(backend: Backend, owner: str, slug: str) -> Head | None:
    """Return an area as the database has it."""
    row = await one(backend, HEADS + " where a.owner = ? and a.slug = ?", owner, slug)
    return None if row is None else head_of(row)


async def times(backend: Backend, area: str) -> dict[str, int | None]:
    """Return when an area was created and last updated."""
    row = await one(backend, "select created, updated from area where id = ?", area)
    return {"created": row["created"], "updated": row["updated"]} if row else {"created": None, "updated": None}


async def versions(backend: Backend, area: str) -> list[dict[str, Any]]:
    """Return an area's versions, newest first."""
    rows = await backend.read(
        """
        select v.version, v.created, coalesce(u.email, v.author) as author from area_version v
          left join account u on u.id = v.author where v.area = ? order by v.version desc
        """,
        area,
    )
    return [{"version": row["version"], "created": at(row["created"]), "author": row["author"]} for row in rows]


async def prune(backend: Backend, before_ms: int, limit: int = 500) -> int:
    """Delete versions from before a time that are no area's newest ones and that no run used; return how many."""
    rows = await backend.write(_PRUNE, before_ms, KEPT_VERSIONS, limit)
    return len(rows)


async def prune_once(backend: Backend, now_ms: int, limit: int = 500) -> int:
    """Forget keys of `once` whose time is over, and return how many."""
    rows = await backend.write(
        "delete from once where (area, key) in (select area, key from once where expires < ? limit ?) returning key",
        now_ms, limit,
    )  # fmt: skip
    return len(rows)


async def version(backend: Backend, area: str, number: int) -> dict[str, Any] | None:
    """Return a version with its document."""
    row = await one(backend, "select * from area_version where area = ? and version = ?", area, number)
    if row is None:
        return None
    return {
        "version": row["version"],
        "created": at(row["created"]),
        "document": msgspec.json.decode(row["document"]),
    }
