"""The audit log."""

from __future__ import annotations

import asyncio

import pytest

from areabox.database import Backend, Unit
from areabox.users.audit import Audit
from tests.support import FakeClock


@pytest.fixture
def audit(backend: Backend, clock: FakeClock) -> Audit:
    return Audit(backend, clock)


async def test_entries_are_listed_newest_first(audit: Audit) -> None:
    for n in range(5):
        await audit.record("owner@example.org", "127.0.0.1", "area.create", f"area-{n}", via="token")
    first = await audit.list(limit=3)
    rest = await audit.list(limit=3, after=first[-1].id)
    assert [entry.object for entry in first + rest] == [f"area-{n}" for n in (4, 3, 2, 1, 0)]
    assert first[0].detail == {"via": "token"}


async def test_an_untouched_log_is_whole_over_restarts(audit: Audit, backend: Backend, clock: FakeClock) -> None:
    await asyncio.gather(*(audit.record("a", "b", "verb", str(n)) for n in range(20)))
    await Audit(backend, clock).record("a", "b", "verb", "after a restart")
    assert await audit.verify() is None


@pytest.mark.parametrize(
    "tampering",
    [
        "update audit set object = 'x' where id = ?",
        "update audit set at = at + 1 where id = ?",
        "delete from audit where id = ?",
    ],
)
async def test_an_entry_that_was_changed_or_taken_out_is_seen(audit: Audit, backend: Backend, tampering: str) -> None:
    for n in range(5):
        await audit.record("a", "b", "verb", str(n))
    entries = await audit.list()
    await backend.commit(Unit().do(tampering, entries[2].id))
    broken = await audit.verify()
    assert broken in (entries[2].id, entries[1].id)


async def test_a_pruned_log_is_whole_from_its_oldest_entry(audit: Audit, clock: FakeClock) -> None:
    for n in range(5):
        await audit.record("a", "b", "verb", str(n))
        clock.advance(1_000)
    assert await audit.prune(clock.start + 2_000) == 2
    assert await audit.verify() is None
    assert len(await audit.list()) == 3
