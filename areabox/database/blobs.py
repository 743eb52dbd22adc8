"""Where do large payloads lie? Over 16 KiB they go, compressed, into `blob`, and the column keeps a mark with their id.

So a list of runs or events reads no payloads, and deleting a row with a large one is cheap.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable

from areabox.database import Backend, Unit

INLINE_MAX_BYTES = 16 * 1024
_MARK = "blob:"  # no JSON text begins so
_LEVEL = 1  # of compression: a fifth of the size for a tenth of the time
_AT_ONCE = 100
_INSERT = "insert into blob (id, owner, data) values (?, ?, ?) on conflict (id) do nothing"
_DELETE = "delete from blob where owner = ?"


def pack(unit: Unit, owner: str, value: bytes) -> str:
    """Return what to put into a column for `value`, JSON in UTF-8; a large one becomes a blob of the row `owner`."""
    if len(value) <= INLINE_MAX_BYTES:
        return value.decode()
    id = hashlib.blake2b(owner.encode() + b"\0" + value, digest_size=16).hexdigest()
    unit.do(_INSERT, id, owner, zlib.compress(value, _LEVEL))
    return _MARK + id


def drop(unit: Unit, owner: str) -> None:
    """Delete the blobs that belong to a row."""
    unit.do(_DELETE, owner)


async def unpack(backend: Backend, column: str) -> bytes:
    """Return the value that a column stands for; raises KeyError if its blob is gone."""
    return (await read_blobs(backend, [column]))[0]


async def read_blobs(backend: Backend, columns: Iterable[str]) -> list[bytes]:
    """Return the values that columns stand for, in few reads; raises KeyError if a blob is gone."""
    columns = list(columns)
    ids = list({column.removeprefix(_MARK) for column in columns if column.startswith(_MARK)})
    found: dict[str, bytes] = {}
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        rows = await backend.read(f"select id, data from blob where id in ({marks})", *some)  # noqa: S608 -- only marks
        found.update((row["id"], zlib.decompress(row["data"])) for row in rows)
    return [found[column.removeprefix(_MARK)] if column.startswith(_MARK) else column.encode() for column in columns]
