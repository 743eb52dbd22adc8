"""The audit log."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from areabox.database import Backend, Unit
from areabox.errors import ConflictError
from areabox.users import audit as module
from areabox.users.audit import Audit, Filter
from tests.support import FakeClock

COLUMNS = ("seq", "id", "at", "actor", "address", "verb", "object", "detail", "chain")


@pytest.fixture
def audit(backend: Backend, clock: FakeClock) -> Audit:
    return Audit(backend, clock)


async def fill(audit: Audit, count: int = 5) -> None:
    for n in range(count):
        await audit.record("a", "b", "verb", str(n), changes={"n": [n, n + 1]})


async def unguarded(backend: Backend, sql: str, *args: Any) -> None:
    """Do what somebody does who may write the file, and whom no trigger keeps off."""
    names = [row[0] for row in await backend.read("select name from sqlite_master where type = 'trigger' and name like 'audit%'")]
    for name in names:
        await backend.commit(Unit().do(f"drop trigger {name}"))
    await backend.commit(Unit().do(sql, *args, expect=1))


async def test_entries_are_listed_newest_first(audit: Audit) -> None:
    for n in range(5):
        await audit.record("owner@example.org", "127.0.0.1", "area.create", f"area-{n}", via="token")
    first = await audit.list(limit=3)
    rest = await audit.list(limit=3, after=first[-1].id)
    assert [entry.object for entry in first + rest] == [f"area-{n}" for n in (4, 3, 2, 1, 0)]
    assert first[0].detail == {"via": "token"}
    assert await audit.list(after="unknown") == []


async def test_entries_are_found_by_all_that_they_say(audit: Audit, clock: FakeClock) -> None:
    await audit.record("a@example.org", "192.0.2.1", "area.create", "one")
    clock.advance(1_000)
    await audit.record("b@example.org", "192.0.2.2", "area", "two", changes={"Name": ["Old", "new"]})
    clock.advance(1_000)
    await audit.record("b@example.org", "192.0.2.1", "areas.other", "one")

    async def found(**wanted: Any) -> list[str]:
        return [entry.verb for entry in await audit.list(Filter(**wanted))]

    assert await found(actor="b@example.org") == ["areas.other", "area"]
    assert await found(address="192.0.2.1", object="one") == ["areas.other", "area.create"]
    assert await found(verb="area") == ["area", "area.create"]
    assert await found(text="OLD") == ["area"]
    assert await found(since=clock.start + 1_000, until=clock.start + 2_000) == ["area"]
    assert await found(text="%") == []


async def test_an_untouched_log_is_whole_over_restarts(audit: Audit, backend: Backend, clock: FakeClock) -> None:
    await asyncio.gather(*(audit.record("a", "b", "verb", str(n)) for n in range(20)))
    await Audit(backend, clock).record("a", "b", "verb", "after a restart")
    verdict = await audit.verify()
    assert (verdict.entries, verdict.broken, verdict.because) == (21, None, None)


async def test_a_clock_that_was_set_back_does_not_reorder_the_log(audit: Audit, backend: Backend, clock: FakeClock) -> None:
    await fill(audit, 2)
    clock.advance(-86_400_000)
    later = Audit(backend, clock)
    await later.record("a", "b", "verb", "yesterday")
    assert (await later.list())[0].object == "yesterday"
    assert (await later.verify()).broken is None


@pytest.mark.parametrize("sql", ["update audit set object = 'x'", "update audit set chain = chain", "delete from audit", "delete from audit_anchor", "update audit_anchor set seq = 0", "insert into audit select seq + 2, id || 'x', at, actor, address, verb, object, detail, chain from audit where seq = 5"])
async def test_the_schema_itself_refuses_to_change_the_log(sql: str, audit: Audit, backend: Backend, clock: FakeClock) -> None:
    await fill(audit)
    clock.advance(1)
    assert await audit.prune(clock.now, 2) == 2
    with pytest.raises(ConflictError, match="audit"):
        await backend.commit(Unit().do(sql))
    assert len(await audit.list()) == 3


@pytest.mark.parametrize("column", COLUMNS)
async def test_one_changed_byte_is_named(column: str, audit: Audit, backend: Backend) -> None:
    await fill(audit)
    entry = (await audit.list())[2]
    if column in ("seq", "at"):
        changed: Any = getattr(entry, column) + (1 if column == "at" else 100)
    else:
        [[text]] = await backend.read(f"select {column} from audit where seq = 3")
        changed = ("1" if text[0] != "1" else "2") + text[1:]
    await unguarded(backend, f"update audit set {column} = ? where seq = 3", changed)
    verdict = await audit.verify()
    assert verdict.broken == (changed if column == "id" else (await audit.list())[2].id if column == "seq" else entry.id)
    assert verdict.because == ("entry 3 is missing" if column == "seq" else "entry 3 was changed")
    assert verdict.entries == 2


async def test_every_byte_of_the_table_counts(audit: Audit, backend: Backend, tmp_path: Path) -> None:
    """Whatever byte of an entry is another in the file itself, the walk ends there."""
    await fill(audit, 3)
    [[length]] = await backend.read("select sum(length(id || at || actor || address || verb || object || detail || chain)) from audit where seq = 2")
    rows = [tuple(row) for row in await backend.read("select * from audit order by seq")]
    before, seen = rows[0][-1], 0
    _, *columns, chain = rows[1]
    for place, value in enumerate(columns):
        for at in range(len(str(value))):
            text = str(value)
            other = text[:at] + ("7" if text[at] != "7" else "8") + text[at + 1 :]
            forged = [*columns[:place], type(value)(other), *columns[place + 1 :]]
            assert module._fault(1, before, 2, tuple(forged), chain)
            seen += 1
    for at in range(len(chain)):
        assert module._fault(1, before, 2, tuple(columns), chain[:at] + ("g" if chain[at] != "g" else "h") + chain[at + 1 :])
        seen += 1
    assert seen == length


@pytest.mark.parametrize("value", [b"\xff\xfe", None, 1.5])
def test_what_is_no_text_any_more_is_no_failure(value: Any) -> None:
    assert module._fault(0, "", 1, ("id", 1, value, "", "", "", "{}"), "0" * 64)


async def test_an_entry_that_was_taken_out_is_missed(audit: Audit, backend: Backend) -> None:
    await fill(audit)
    await unguarded(backend, "delete from audit where seq = 3")
    assert (await audit.verify()).because == "entry 3 is missing"


async def test_an_end_that_was_cut_off_is_missed_by_who_knows_the_head(audit: Audit, backend: Backend) -> None:
    await fill(audit)
    head = (await audit.verify()).head
    await fill(audit, 1)
    assert (await audit.verify(head)).broken is None
    await unguarded(backend, "delete from audit where seq = 6")
    assert (await audit.verify(head)).broken is None
    await backend.commit(Unit().do("delete from audit where seq = 5"))
    assert (await audit.verify()).broken is None
    verdict = await audit.verify(head)
    assert (verdict.broken, verdict.because) == (head, f"the entry {head} is not there any more")


async def test_a_moved_anchor_is_seen(audit: Audit, backend: Backend, clock: FakeClock) -> None:
    await fill(audit)
    clock.advance(1)
    await audit.prune(clock.now, 2)
    head = (await audit.verify()).head
    await unguarded(backend, "update audit_anchor set chain = 'x'")
    assert (await audit.verify(head)).because == "entry 3 was changed"


async def test_a_pruned_log_is_whole_from_its_anchor(audit: Audit, backend: Backend, clock: FakeClock) -> None:
    for n in range(5):
        await audit.record("a", "b", "verb", str(n))
        clock.advance(1_000)
    assert await audit.prune(clock.start + 2_000) == 2
    assert (await audit.verify()).broken is None
    assert len(await audit.list()) == 3
    assert await audit.prune(clock.start + 2_000) == 0


async def test_all_but_the_last_entry_may_go_and_the_numbers_go_on(audit: Audit, backend: Backend, clock: FakeClock) -> None:
    await fill(audit)
    clock.advance(1)
    assert [await audit.prune(clock.now, 3), await audit.prune(clock.now, 3), await audit.prune(clock.now, 3)] == [3, 1, 0]
    await Audit(backend, clock).record("a", "b", "verb", "later")
    assert [entry.seq for entry in await audit.list()] == [6, 5]
    assert (await audit.verify()).broken is None


async def test_there_are_never_more_than_the_most(audit: Audit, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_MAX", 4)
    await fill(audit, 10)
    assert [await audit.prune(0, 4), await audit.prune(0, 4), await audit.prune(0, 4)] == [4, 2, 0]
    assert len(await audit.list()) == 4


async def test_the_export_is_all_of_it(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    await fill(audit)
    assert [entry.seq async for entry in audit.export()] == [5, 4, 3, 2, 1]
    assert [entry.seq async for entry in audit.export(Filter(object="3"))] == [4]


async def test_after_a_refused_write_the_log_goes_on(audit: Audit, backend: Backend) -> None:
    await fill(audit, 1)
    await backend.commit(Unit().do("create trigger no before insert on audit begin select raise(abort, 'no'); end"))
    with pytest.raises(ConflictError):
        await audit.record("a", "b", "verb", "refused")
    await backend.commit(Unit().do("drop trigger no"))
    await fill(audit, 1)
    assert (await audit.verify()).entries == 2


async def test_too_much_detail_is_left_out(audit: Audit) -> None:
    await audit.record("a", "b", "verb", "x" * 1_000, changes={"text": ["", "y" * 10_000]})
    [entry] = await audit.list()
    assert entry.detail == {"cut": True}
    assert len(entry.object) == 200


def test_an_older_log_keeps_its_entries_and_its_chain(tmp_path: Path) -> None:
    from areabox.database import migrate

    connection, steps = sqlite3.connect(tmp_path / "old.db", isolation_level=None), migrate.known()
    migrate.migrate(connection, tmp_path / "old.db", 0, [step for step in steps if step.number < 4])
    chain = ""
    for n in range(3):
        columns = (f"0{n}", n, "a", "b", "verb", str(n), "{}")
        chain = module._link(chain, columns)
        connection.execute("insert into audit values (?, ?, ?, ?, ?, ?, ?, ?)", (*columns, chain))
    migrate.migrate(connection, tmp_path / "old.db", 0, steps)
    found = connection.execute("select seq, id, chain from audit order by seq").fetchall()
    assert [row[:2] for row in found] == [(1, "00"), (2, "01"), (3, "02")]
    assert found[-1][2] == chain
    connection.close()
