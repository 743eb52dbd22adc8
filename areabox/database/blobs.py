"""Where large payloads lie: over 16 KiB they go, compressed, into `blob`, and the column keeps a mark with their id."""

from __future__ import annotations

import hashlib
import zlib

from areabox.database import Backend, Unit, one

INLINE_MAX = 16 * 1024
_MARK = "\x00blob:"


def pack(unit: Unit, owner: str, value: bytes) -> str:
    """Return what to put into a column for `value` (UTF-8 JSON); adds a blob that goes with the row `owner`."""
    if len(value) <= INLINE_MAX:
        return value.decode()
    id = hashlib.blake2b(owner.encode() + b"\0" + value, digest_size=16).hexdigest()
    unit.do(
        "insert into blob (id, owner, data) values (?, ?, ?) on conflict (id) do nothing", id, owner, zlib.compress(value, 1)
    )
    return _MARK + id


async def unpack(backend: Backend, column: str) -> bytes:
    """Return the value that a column stands for; raises KeyError if its blob is gone."""
    if not column.startswith(_MARK):
        return column.encode()
    row = await one(backend, "select data from blob where id = ?", column.removeprefix(_MARK))
    if row is None:
        raise KeyError(column.removeprefix(_MARK))
    return zlib.decompress(row["data"])
