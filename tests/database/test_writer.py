"""The writer answers everyone, whatever fails and whenever, and what it acknowledged is on disk."""

from __future__ import annotations

import asyncio
import logging
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from areabox.database import Unit
from areabox.database.files import LOG_LIMIT_BYTES, connect, connect_reading
from areabox.database.sqlite import IDLE_WAL_BYTES, SqliteBackend, _restart_log
from areabox.database.writer import Call, Writer
from areabox.errors import AreaboxError, ConflictError, StorageFullError

PUT = "insert into t (key, value) values (?, ?)"
META = "insert into meta (key, value) values (?, ?)"


class Faulty:
    """A connection whose n-th statement fails before it does anything."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.fail_at, self.error = 0, sqlite3.OperationalError("unset")
        self.count = 0

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, args=()):
        self.count += 1
        if self.count == self.fail_at:
            raise self.error
        return self._connection.execute(sql, args)


@pytest.fixture
def connection(tmp_path: Path):
    connection = connect(tmp_path / "t.db")
    connection.execute("create table t (key text primary key, value text)")
    yield connection
    connection.close()


@pytest.fixture
async def faulty(connection: sqlite3.Connection) -> Faulty:
    return Faulty(connection)


@pytest.fixture
async def committed() -> list[Unit]:
    return []


@pytest.fixture
async def writer(faulty: Faulty, committed: list[Unit]) -> AsyncIterator[Writer]:
    writer = Writer(faulty, asyncio.get_running_loop(), committed=committed.extend, failed=lambda error: None)
    yield writer
    await writer.close()


def put(key: str) -> Unit:
    return Unit().do(PUT, key, "")


def keys(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("select key from t")}


def failure(code: int, words: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(words)
    error.sqlite_errorcode = code
    return error


# --- what fails -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, StorageFullError),
        (sqlite3.SQLITE_IOERR, StorageFullError),
        (sqlite3.SQLITE_IOERR_FSYNC, StorageFullError),
        (sqlite3.SQLITE_READONLY, StorageFullError),
        (sqlite3.SQLITE_CORRUPT, AreaboxError),
        (sqlite3.SQLITE_NOMEM, AreaboxError),
        (sqlite3.SQLITE_ERROR, AreaboxError),
    ],
)
async def test_a_statement_that_fails_anywhere_answers_everyone_truthfully(
    writer: Writer, faulty: Faulty, committed: list[Unit], code: int, kind: type[Exception], isolated: bool
):
    faulty.error = failure(code, "made to fail")
    kinds: set[type] = set()
    for n in range(1, 60):
        faulty.count, faulty.fail_at = 0, n
        units = [put(f"{n}-{i}") for i in range(4)]
        if isolated:  # a guard that fails, so that the others run apart
            units.insert(2, put(f"{n}-guard").do("delete from t where key = 'none'", expect=1))
        results = await asyncio.gather(
            *(writer.submit(unit) for unit in units), writer.submit(Call("select 1", ())), return_exceptions=True
        )
        reached = faulty.count >= n
        faulty.fail_at = 0
        stored = keys(faulty._connection)
        for unit, result in zip(units, results, strict=False):
            key = unit.statements[0].args[0]
            assert (key in stored) == (result is True), (n, key, result)
            assert (unit in committed) == (result is True)
            assert result in (True, False) or type(result) in (kind, AreaboxError)  # the latter if it was the rollback
        kinds |= {type(result) for result in results}
        assert await writer.submit(put(f"{n}-after")) is True, "and it goes on"
        if not reached:
            break
    assert not reached, "every statement was made to fail once"
    assert kind in kinds


async def test_an_error_that_nobody_thought_of_reaches_the_waiter(writer: Writer, faulty: Faulty):
    for n, error in enumerate((RuntimeError("odd"), MemoryError(), OverflowError("large"), sqlite3.Warning("odd"))):
        for place in (1, 2, 4):
            faulty.count, faulty.fail_at, faulty.error = 0, place, error
            first, second = await asyncio.gather(
                writer.submit(put(f"{n}-{place}-a")), writer.submit(put(f"{n}-{place}-b")), return_exceptions=True
            )
            stored = keys(faulty._connection)
            for name, result in (("a", first), ("b", second)):
                assert (f"{n}-{place}-{name}" in stored) == (result is True)
                assert result is True or type(result) is AreaboxError
            assert await writer.submit(put(f"{n}-{place}-c")) is True


async def test_the_cause_is_kept_for_the_log(writer: Writer):
    with pytest.raises(AreaboxError) as caught:
        await writer.submit(Unit().do("nonsense"))
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)


async def test_a_guard_that_fails_alone_does_not_wait_for_the_disk(writer: Writer, faulty: Faulty):
    assert await writer.submit(put("a").do("delete from t where key = 'none'", expect=1)) is False
    assert faulty.count == 4, "begin, two statements, rollback"


async def test_another_program_that_writes_is_waited_for_and_the_loop_goes_on(tmp_path: Path, writer: Writer):
    with closing(sqlite3.connect(tmp_path / "t.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        commit = writer.submit(put("a"))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not commit.done()
        other.execute("insert into t values ('theirs', '')")
        other.execute("commit")
        assert await commit is True


async def test_another_program_that_never_ends_is_an_error(
    tmp_path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("areabox.database.writer.BUSY_MS", 1)
    with closing(sqlite3.connect(tmp_path / "t.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(AreaboxError, match="another program"):
            await writer.submit(put("a"))
    assert await writer.submit(put("b")) is True


# --- alone with the connection ----------------------------------------------------------------------------------------


async def test_whoever_wants_the_connection_alone_gets_it_between_two_commits(writer: Writer):
    async def load() -> None:
        for n in range(100):
            assert await writer.submit(put(f"{id(asyncio.current_task())}-{n}"))

    def work(connection) -> int:
        assert not connection.in_transaction
        return connection.execute("select count(*) from t").fetchone()[0]

    loads = [asyncio.create_task(load()) for _ in range(4)]
    seen = [await writer.run(work) for _ in range(10)]
    assert seen == sorted(seen)
    assert seen[-1] < 400, "it had its turn while the others went on"
    await asyncio.gather(*loads)


async def test_many_who_want_it_alone_do_not_hold_up_commits(writer: Writer):
    order: list[str] = []
    alone = [writer.run(lambda connection, n=n: order.append(f"alone{n}")) for n in range(10)]
    commits = [writer.submit(put("a"))]
    commits[0].add_done_callback(lambda _: order.append("commit"))
    await asyncio.gather(*alone, *commits)
    assert [name for name in order if name != "commit"] == [f"alone{n}" for n in range(10)]
    assert order.index("commit") <= 3


async def test_what_fails_alone_leaves_no_transaction_behind(writer: Writer, faulty: Faulty):
    def work(connection) -> None:
        connection.execute("begin")
        connection.execute("insert into t values ('x', '')")
        connection.execute("insert into t values ('x', '')")

    with pytest.raises(ConflictError):
        await writer.run(work)
    with pytest.raises(AreaboxError, match="a bug"):
        await writer.run(lambda connection: (_ for _ in ()).throw(ValueError("a bug")))
    assert await writer.submit(put("a")) is True
    assert keys(faulty._connection) == {"a"}


async def test_a_writer_with_nothing_to_do_does_nothing(writer: Writer):
    await writer.submit(put("a"))
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    assert not [handle for handle in loop._ready if not handle._cancelled and "Writer" in repr(handle)]
    assert not loop._scheduled


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_closing_waits_for_all_that_was_accepted(connection: sqlite3.Connection):
    writer = Writer(connection, asyncio.get_running_loop(), committed=lambda units: None, failed=lambda error: None)
    commits = [writer.submit(put(str(n))) for n in range(1500)]
    alone = writer.run(lambda connection: "alone")
    await writer.close()
    assert all(commit.done() and commit.result() for commit in commits)
    assert alone.result() == "alone"
    for late in (lambda: writer.submit(put("late")), lambda: writer.run(lambda connection: None)):
        with pytest.raises(AreaboxError, match="closed"):
            late()


def test_a_loop_that_ends_first_loses_no_commit(connection: sqlite3.Connection, caplog: pytest.LogCaptureFixture):
    """The thread finishes the commit, and nobody is left to be told."""
    loop = asyncio.new_event_loop()
    writer = Writer(connection, loop, committed=lambda units: None, failed=lambda error: None)

    async def submit() -> None:
        writer.submit(put("a"))
        await asyncio.sleep(0)  # the batch is with the thread now

    loop.run_until_complete(submit())
    loop.close()
    writer._jobs.put(None)
    writer._thread.join(10)
    assert not connection.in_transaction
    assert keys(connection) == {"a"}


ENDLESS = """
import asyncio, sys
from pathlib import Path
from areabox.clock import SystemClock
from areabox.database import Unit
from areabox.database.sqlite import SqliteBackend

async def main():
    backend = SqliteBackend(Path(sys.argv[1]), SystemClock(), reserve_bytes=0)
    await backend.open()
    async def writer(n):
        i = 0
        while True:
            assert await backend.commit(Unit().do("insert into meta (key, value) values (?, ?)", f"{n}-{i}", "x" * 500))
            print(f"{n}-{i}", flush=True)
            i += 1
    await asyncio.gather(*(writer(n) for n in range(16)))

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 100, 1000, 5000])
async def test_what_was_acknowledged_before_a_kill_is_there(tmp_path: Path, lines: int):
    path = tmp_path / "areabox.db"
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)], cwd=root, stdout=subprocess.PIPE, text=True)
    told = [process.stdout.readline().strip() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    told += process.stdout.read().split("\n")[:-1]
    process.stdout.close()
    process.wait(10)
    with closing(sqlite3.connect(path)) as connection:
        stored = {row[0] for row in connection.execute("select key from meta")}
        assert connection.execute("pragma integrity_check").fetchone()[0] == "ok"
    assert set(told) <= stored


# --- the log ----------------------------------------------------------------------------------------------------------


async def write_megabytes(backend: SqliteBackend, megabytes: int, prefix: str = "") -> int:
    """Write by four at a time, and return how large the log became."""
    largest = 0

    async def write(n: int) -> None:
        nonlocal largest
        for i in range(megabytes * 10):
            await backend.commit(Unit().do(META, f"{prefix}{n}-{i}", "x" * 25_000))
            largest = max(largest, backend.space.wal_bytes())

    await asyncio.gather(*(write(n) for n in range(4)))
    return largest


async def test_the_log_stays_small_under_constant_load_and_constant_reading(sqlite: SqliteBackend):
    stop = asyncio.Event()

    async def read() -> None:
        while not stop.is_set():
            await sqlite.read("select key from meta order by key limit 20")

    readers = [asyncio.create_task(read()) for _ in range(4)]
    largest = await write_megabytes(sqlite, 50)
    stop.set()
    await asyncio.gather(*readers)
    assert sqlite.path.stat().st_size > 2 * LOG_LIMIT_BYTES
    assert largest < 1.3 * LOG_LIMIT_BYTES


async def test_a_long_reader_lets_the_log_grow_and_is_waited_for_seldom(
    sqlite: SqliteBackend, monkeypatch: pytest.MonkeyPatch
):
    sizes: list[int] = []

    def restart(connection: sqlite3.Connection) -> None:
        sizes.append(sqlite.space.wal_bytes())
        _restart_log(connection)

    monkeypatch.setattr("areabox.database.sqlite._restart_log", restart)
    monkeypatch.setattr("areabox.database.sqlite.READERS_MS", 1)
    with closing(connect_reading(sqlite.path)) as reader:
        reader.execute("begin")
        reader.execute("select * from meta").fetchall()
        assert await write_megabytes(sqlite, 50) > 50_000_000
        assert reader.execute("select count(*) from meta").fetchone()[0] == 0, "it sees what it saw"
    assert len(sizes) == 2
    assert sizes[1] > 2 * sizes[0] > 2 * LOG_LIMIT_BYTES
    await write_megabytes(sqlite, 1, "after")
    assert sqlite.space.wal_bytes() <= LOG_LIMIT_BYTES, "once it is gone, the log begins anew and is cut"


async def test_the_log_is_copied_back_once_nobody_writes_and_then_nothing_wakes(sqlite: SqliteBackend):
    assert sqlite._care is None, "nothing was written yet"
    for n in range(20):
        await sqlite.commit(Unit().do(META, str(n), "x" * 100_000))
    assert sqlite._care is not None
    assert sqlite.space.wal_bytes() >= IDLE_WAL_BYTES
    sqlite._care.cancel()
    sqlite._look_after()
    assert sqlite._care is not None, "something was written since the last look: later"
    sqlite._care.cancel()
    sqlite._look_after()
    assert sqlite._care is None
    await sqlite._writer.run(lambda connection: None)
    assert sqlite.space.wal_bytes() == 0


async def test_a_few_rows_are_left_in_the_log(sqlite: SqliteBackend):
    await sqlite.commit(Unit().do(META, "a", ""))
    for _ in range(2):
        sqlite._care.cancel()
        sqlite._look_after()
    assert sqlite._care is None
    assert 0 < sqlite.space.wal_bytes() < IDLE_WAL_BYTES


async def test_closing_leaves_one_file(sqlite: SqliteBackend):
    await sqlite.commit(Unit().do(META, "a", ""))
    await sqlite.close()
    assert {file.name for file in sqlite.path.parent.iterdir()} == {
        "areabox.db",
        "areabox.db.lock",
        "areabox.db.reserve",
    }


async def test_the_writing_connection_is_as_safe_as_it_should_be(sqlite: SqliteBackend):
    def pragma(name: str):
        return sqlite._connection.execute(f"pragma {name}").fetchone()[0]

    assert pragma("journal_mode") == "wal"
    assert pragma("synchronous") == 2
    assert pragma("fullfsync") == pragma("checkpoint_fullfsync") == 1, "what fsync does not do on macOS"
    assert pragma("foreign_keys") == 1
    assert pragma("trusted_schema") == 0
    assert pragma("auto_vacuum") == 2
    assert pragma("mmap_size") == 0


async def test_an_unlucky_checkpoint_is_logged(sqlite: SqliteBackend, caplog: pytest.LogCaptureFixture):
    await sqlite.commit(Unit().do(META, "a", "x" * 2_000_000))
    sqlite._care.cancel()
    sqlite._look_after()
    sqlite._care.cancel()

    def fail(connection) -> None:
        raise failure(sqlite3.SQLITE_IOERR, "disk I/O error")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("areabox.database.sqlite._checkpoint", fail)
        sqlite._look_after()
    await sqlite._writer.run(lambda connection: None)
    assert any(
        record.levelno == logging.WARNING and "could not be copied back" in record.message for record in caplog.records
    )
