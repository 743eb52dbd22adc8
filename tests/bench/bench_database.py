"""What a write costs, alone and in company, on a real file with synchronous=FULL; medians of five rounds.

Run by hand:  python tests/bench/bench_database.py        (TMPDIR chooses the disk)
The goals are 10,000 small Units a second with 64 that wait, below 60 us of CPU each. Measured on 2 shared cores, ext4,
uvloop: 34,000-62,000 small ones at 12 us, 8,000-21,000 of what a webhook writes (event, run, job) at 40-43 us, of which
SQLite itself takes 22. Compare only what ran together: the disk is shared.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from areabox.clock import SystemClock
from areabox.database import Pointer, Unit
from areabox.database.sqlite import SqliteBackend

ROUNDS, UNITS, WAITERS = 5, 20_000, 64
_EVENT = "insert into event (id, owner, action, dedupe, payload, at) values (?, 'o', 'hook.received', ?, ?, ?)"
_RUN = "insert into run (id, owner, area, version, event, trigger, state, started) values (?, 'o', 'a', 1, ?, ?, 'running', ?)"
_JOB = "insert into job (id, run, owner, area, node, path, kind, state, since) values (?, ?, 'o', 'a', 's1', 's1', 'do', 'ready', ?)"
_BEGIN = (
    "update job set attempt = attempt + 1, fence = fence + 1, begun = ? where id = ? and state = 'ready' returning *"
)
_STEP = "insert into step (run, path, attempt, kind, state, input, output, started, ended) values (?, 's1', 1, 'do', 'done', ?, ?, 1, 2)"
_BODY = '{"method":"POST","path":"","body":"' + "x" * 300 + '"}'


class Figure(NamedTuple):
    """One round of one measurement."""

    per_s: float
    cpu_us: float


class Bench:
    """A backend, and what is done to it."""

    def __init__(self, backend: SqliteBackend, clock: SystemClock) -> None:
        self.backend, self.clock = backend, clock
        self.jobs: list[str] = []

    async def small(self) -> None:
        id = self.clock.new_id()
        await self.backend.commit(Unit().do("insert into meta (key, value) values (?, ?)", id, "x" * 100))

    async def event(self) -> None:
        """What a webhook writes: the event, its run and the first job."""
        id, now = self.clock.new_id(), self.clock.now_ms()
        unit = Unit().do(_EVENT, id, id, _BODY, now, expect=1).do(_RUN, id, id, _BODY, now).do(_JOB, id, id, now)
        await self.backend.commit(unit)
        self.jobs.append(id)

    async def begin(self) -> None:
        await self.backend.write(_BEGIN, 1, self.jobs.pop())

    async def advance(self) -> None:
        """What the end of a step writes: the journal, and the run's end."""
        id = self.jobs.pop()
        unit = Unit().do("delete from job where id = ? and fence = 0", id, expect=1)
        unit.do(_STEP, id, _BODY, _BODY)
        unit.do("update run set state = 'done', ended = ?, seq = seq + 1 where id = ? and seq = 0", 3, id, expect=1)
        await self.backend.commit(unit)

    async def guarded(self) -> None:
        """A Unit whose guard fails every sixteenth time: the others of its batch must not pay much."""
        id = self.clock.new_id()
        unit = Unit().do("insert into meta (key, value) values (?, 'x')", id)
        if id[-1] in "01":
            unit.do("delete from meta where key = 'none'", expect=1)
        await self.backend.commit(unit)

    async def read(self) -> None:
        await self.backend.read("select id, state from run where id = ?", "none")

    async def queue(self) -> None:
        done = 0
        everything = asyncio.Event()

        async def handler(job: str) -> None:
            nonlocal done
            done += 1
            if done == UNITS:
                everything.set()

        self.backend.offer(Pointer(f"j{n}", f"o{n % 500}") for n in range(UNITS))
        task = asyncio.create_task(self.backend.consume(handler, slots=64))
        await everything.wait()
        task.cancel()


async def measure(work: Callable[[], Awaitable[None]], waiters: int, units: int) -> Figure:
    left = units

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await work()

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(waiters)))
    return Figure(units / (time.perf_counter() - began), (time.process_time() - cpu) / units * 1e6)


def alone(path: Path) -> Figure:
    """One row to a commit on a bare connection: what the disk can do without company."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript("pragma journal_mode = wal; pragma synchronous = full; create table t (a text, b text)")
    began, cpu = time.perf_counter(), time.process_time()
    for n in range(1_000):
        connection.execute("insert into t values (?, ?)", (str(n), "x" * 100))
    figure = Figure(1_000 / (time.perf_counter() - began), (time.process_time() - cpu) / 1_000 * 1e6)
    connection.close()
    return figure


async def once(path: Path) -> dict[str, Figure]:
    clock = SystemClock()
    backend = SqliteBackend(path, clock, reserve_bytes=0)
    await backend.open()
    bench = Bench(backend, clock)
    found = {
        "bare sqlite3, a commit each": alone(path.with_name("bare.db")),
        f"small unit, {WAITERS} waiters": await measure(bench.small, WAITERS, UNITS),
        "small unit, 1 waiter": await measure(bench.small, 1, 1_000),
        f"event + run + job, {WAITERS} waiters": await measure(bench.event, WAITERS, UNITS),
        "event + run + job, 512 waiters": await measure(bench.event, 512, UNITS),
        f"begin, {WAITERS} waiters": await measure(bench.begin, WAITERS, UNITS // 2),
    }
    bench.jobs.clear()
    await measure(bench.event, WAITERS, UNITS // 2)
    found[f"advance, {WAITERS} waiters"] = await measure(bench.advance, WAITERS, UNITS // 2)
    found["1 of 16 guards fails, 64 waiters"] = await measure(bench.guarded, WAITERS, UNITS // 2)
    found["read one row, 16 waiters"] = await measure(bench.read, 16, 5_000)
    began, cpu = time.perf_counter(), time.process_time()
    await bench.queue()
    found["hot queue, empty handler"] = Figure(
        UNITS / (time.perf_counter() - began), (time.process_time() - cpu) / UNITS * 1e6
    )
    await backend.close()
    return found


def main() -> None:
    try:
        import uvloop

        run = uvloop.run
    except ImportError:
        run = asyncio.run
    rounds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(run(once(Path(folder) / "areabox.db")))
    for name in rounds[0]:
        per_s = statistics.median(r[name].per_s for r in rounds)
        cpu_us = statistics.median(r[name].cpu_us for r in rounds)
        print(f"{name:36} {per_s:9,.0f} /s {cpu_us:8.1f} us CPU")


if __name__ == "__main__":
    main()
