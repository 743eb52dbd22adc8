"""Large payloads lie apart; whoever reads a column cannot tell."""

from __future__ import annotations

import pytest

from areabox.database import Backend, Unit
from areabox.database.blobs import INLINE_MAX_BYTES, drop, pack, read_blobs, unpack

SMALL = '{"a":"é"}'.encode()
LARGE = b'"' + b"x" * INLINE_MAX_BYTES + b'"'


async def kept(backend: Backend, owner: str, *values: bytes) -> list[str]:
    unit = Unit()
    columns = [pack(unit, owner, value) for value in values]
    if unit.statements:
        assert await backend.commit(unit)
    return columns


async def test_a_small_value_is_its_own_column(backend: Backend):
    assert await kept(backend, "e1", SMALL) == [SMALL.decode()]
    assert await unpack(backend, SMALL.decode()) == SMALL


async def test_a_large_value_lies_apart_and_compressed(backend: Backend):
    (column,) = await kept(backend, "e1", LARGE)
    assert len(column) < 50
    assert await unpack(backend, column) == LARGE
    rows = await backend.read("select length(data) from blob")
    assert [row[0] for row in rows] < [1000]


async def test_a_value_of_just_the_limit_stays_inline(backend: Backend):
    value = b"x" * INLINE_MAX_BYTES
    assert await kept(backend, "e1", value) == [value.decode()]


async def test_many_columns_are_read_at_once_in_their_order(backend: Backend):
    values = [b"%d" % n if n % 3 else b"%d" % n + LARGE for n in range(350)]
    columns = await kept(backend, "e1", *values)
    assert await read_blobs(backend, [*columns, *columns[:2]]) == [*values, *values[:2]]
    assert await read_blobs(backend, []) == []


async def test_the_same_value_of_the_same_row_is_kept_once(backend: Backend):
    first, second = await kept(backend, "e1", LARGE, LARGE)
    assert first == second
    assert len(await backend.read("select 1 from blob")) == 1


async def test_the_same_value_of_two_rows_is_kept_for_each_and_goes_with_it(backend: Backend):
    (first,) = await kept(backend, "e1", LARGE)
    (second,) = await kept(backend, "e2", LARGE)
    unit = Unit()
    drop(unit, "e1")
    assert await backend.commit(unit)
    assert await unpack(backend, second) == LARGE
    with pytest.raises(KeyError):
        await unpack(backend, first)
