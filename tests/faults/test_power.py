"""G2. The power is cut at any moment: what was acknowledged is on the disk, whole, whatever else got there."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from areabox.areas.reacting import key_of
from areabox.database import migrate
from areabox.database.files import connect
from tests.faults import replay
from tests.faults.conftest import House
from tests.faults.daemon import FULL, Daemon, Sink, hook, send, tell, until

CUTS = 3_000 if FULL else 100
LOAD_S = 8.0 if FULL else 1.0
EVENT = re.compile(rb'\{"event":"(\w{26})"\}')
SENT = re.compile(rb"^POST / .*idempotency-key: (\w{32})", re.IGNORECASE | re.DOTALL)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        pytest.skip("there is no C compiler to build shim.c with")
    built = tmp_path_factory.mktemp("shim") / "shim.so"
    source = Path(__file__).with_name("shim.c")
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(built), str(source), "-ldl", "-lpthread"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.skip(f"shim.c is for Linux; it could not be built here: {done.stderr.splitlines()[:1]}")
    return built


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder that costs no disk."""
    fast = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=fast if fast.is_dir() else None) as folder:
        yield Path(folder)


def recording(daemon: Daemon, shim: Path) -> Path:
    log = daemon.folder / "storage.log"
    daemon.environ |= {"LD_PRELOAD": str(shim), "CRASH_PREFIX": str(daemon.data / "areabox.db"), "CRASH_LOG": str(log)}
    return log


class Found(NamedTuple):
    """What a power cut left."""

    sound: bool
    events: set[str]
    keys: set[str]
    orphans: int


def look(folder: Path) -> Found:
    """Open what a power cut left, as the next start would."""
    try:
        with contextlib.closing(sqlite3.connect(folder / "areabox.db")) as db:
            sound = db.execute("pragma integrity_check").fetchall() == [("ok",)]
            events = {id for (id,) in db.execute("select id from event")}
            tried = "select run, path from step union select run, path from job where begun is not null"
            keys = {key_of(run, path) for run, path in db.execute(tried)}
            orphans = "select count(*) from event where reason is null and id not in (select event from run)"
            return Found(sound, events, keys, db.execute(orphans).fetchone()[0])
    except sqlite3.DatabaseError:
        return Found(False, set(), set(), 0)


def count(ops: list[replay.Op], files: dict[str, bytes], number: int, folder: Path, *, honest: bool = True) -> dict[str, int]:
    """Return how many cuts lost something that had been acknowledged, or left something broken."""
    bad = {"corrupt": 0, "lost": 0, "forgotten": 0, "halves": 0}
    for said in replay.cuts(ops, files, number, folder, seed=11, honest=honest):
        left = look(folder)
        acknowledged = {match[1].decode() for text in said for match in EVENT.finditer(text)}
        sent = {match[1].decode() for text in said if (match := SENT.match(text))}
        bad["corrupt"] += not left.sound
        bad["lost"] += not acknowledged <= left.events
        bad["forgotten"] += not sent <= left.keys
        bad["halves"] += left.orphans > 0
    return bad


async def test_a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged(house: House, shim: Path, memory: Path) -> None:
    daemon = house()
    log = recording(daemon, shim)
    acknowledged: set[int] = set()
    async with Sink() as sink:
        files = {"areabox.db": (daemon.data / "areabox.db").read_bytes()}
        await asyncio.to_thread(daemon.start)
        hooks = await asyncio.to_thread(daemon.apply, hook("a", tell(sink.url)), hook("b", {"wait": "300ms"}, tell(sink.url)))
        async with httpx2.AsyncClient() as client:
            senders = [
                asyncio.create_task(send(client, hooks["ab"[i % 2]], range(i, 10**6, 8), acknowledged, 0.01 * FULL))
                for i in range(8)
            ]
            await asyncio.sleep(LOAD_S)
            await asyncio.to_thread(daemon.kill, signal.SIGTERM)  # it also ends in order here: the log of that is cut, too
            await asyncio.gather(*senders)
        ops = await asyncio.to_thread(replay.read, log)
        if not any(op.op == "W" for op in ops):
            pytest.skip("this Python's SQLite does not call the C library's pwrite, so nothing can be recorded")
        said = [op.data for op in ops if op.op == "M"]
        events = sum(len(EVENT.findall(text)) for text in said)
        requests = sum(SENT.match(text) is not None for text in said)
        assert events >= len(acknowledged) > 50
        assert requests >= len(sink.keys) > 50
        bad = await asyncio.to_thread(count, ops, files, CUTS, memory)
        lying = await asyncio.to_thread(count, ops, files, 30, memory, honest=False)
        print(f"\nG2: {CUTS} power cuts in {len(ops)} operations, {events} acknowledged, {requests} sent: {bad}; on a disk that lies: {lying}")
        assert bad == {"corrupt": 0, "lost": 0, "forgotten": 0, "halves": 0}
        assert lying["lost"] > 0, "the proof would not see a loss"

        for _ in replay.cuts(ops, files, 1, memory, seed=5):  # and a daemon goes on with what is left
            left = look(memory)
        for name in ("areabox.db", "areabox.db-wal", "areabox.db-shm"):
            (daemon.data / name).unlink(missing_ok=True)
        shutil.copytree(memory, daemon.data, dirs_exist_ok=True)
        del daemon.environ["LD_PRELOAD"]
        await asyncio.to_thread(daemon.start)
        await until(lambda: not daemon.rows("select 1 from run where ended is null limit 1"), 30, "all runs end")
        assert left.events <= {id for (id,) in daemon.rows("select id from event")}


def test_a_power_cut_in_the_first_start_leaves_no_schema_or_the_whole(tmp_path: Path, shim: Path, memory: Path) -> None:
    daemon = Daemon(tmp_path)
    log = recording(daemon, shim)
    try:
        daemon.start()
    finally:
        daemon.kill()
    ops = replay.read(log)
    if not any(op.op == "W" for op in ops):
        pytest.skip("this Python's SQLite does not call the C library's pwrite, so nothing can be recorded")
    for _ in replay.cuts(ops, {}, 300 if FULL else 20, memory, seed=2):
        path = memory / "areabox.db"
        with contextlib.closing(connect(path)) as db:
            migrate.migrate(db, path, 0)
            assert db.execute("pragma integrity_check").fetchone()[0] == "ok"
            assert db.execute("select count(*) from migration").fetchone()[0] == len(migrate.known())
