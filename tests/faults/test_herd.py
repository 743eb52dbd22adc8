"""G8. Everything is due at once after a week: memory, hosts and people at the pages hardly notice."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time

import httpx2

from areabox.deployment.sockets import unix_path
from tests.faults.cgroup import limited
from tests.faults.conftest import House
from tests.faults.daemon import FULL, Daemon, Sink, hook, send, tell, until
from tests.support import any_machine

WAITING = 9_800 if FULL else 300
SCHEDULES = 200 if FULL else 10
LIMIT_MIB = 512
MEMORY_MIB = 200
PAGE_S = any_machine(0.5)
WEEK_MS = 7 * 86_400_000


def let_a_week_pass(daemon: Daemon) -> None:
    """Move every time in the database back, which is as good as waiting."""
    with contextlib.closing(sqlite3.connect(daemon.data / "areabox.db")) as db, db:
        db.execute("update job set due = due - ?, since = since - ?", (WEEK_MS, WEEK_MS))
        db.execute("update run set started = started - ?, deadline = deadline - ?", (WEEK_MS, WEEK_MS))
        db.execute("update subscription set next = next - ? where kind = 'schedule'", (WEEK_MS,))


async def look(daemon: Daemon, took: list[float]) -> None:
    """Look at pages, as a person who wonders what is going on."""
    transport = httpx2.AsyncHTTPTransport(uds=str(unix_path(daemon.data)))
    async with httpx2.AsyncClient(base_url="http://localhost", transport=transport, timeout=30) as client:
        while True:
            for path in ("/api/v1/runs?limit=50", "/api/v1/areas", "/api/v1/summary"):
                begin = time.monotonic()
                answer = await client.get(path)
                took.append(time.monotonic() - begin)
                assert answer.status_code == 200, answer.text
            await asyncio.sleep(0.05)


async def test_thousands_that_are_due_at_once_after_a_week_are_done_without_harm(house: House) -> None:
    pages: list[float] = []
    sent: set[int] = set()
    with limited(LIMIT_MIB << 20) as prefix:
        async with Sink(pause_s=0.003) as sink:
            daemon = house(prefix=prefix)
            await asyncio.to_thread(daemon.start)
            schedules = [
                {
                    "area": f"daily-{n}", "name": f"Daily {n}", "when": [{"schedule.cron": {"cron": "0 7 * * *"}}],
                    "then": [tell(sink.url, {"id": f"daily-{n}"})],
                } for n in range(SCHEDULES)
            ]  # fmt: skip
            url = (await asyncio.to_thread(daemon.apply, hook("later", {"wait": "7d"}, tell(sink.url)), *schedules))["later"]
            async with httpx2.AsyncClient() as client:
                await asyncio.gather(*(send(client, url, range(i, WAITING, 16), sent) for i in range(16)))
            await asyncio.to_thread(daemon.kill)
            let_a_week_pass(daemon)
            daemon.environ["AREABOX_RATE_LIMITS"] = "on"
            begin = time.monotonic()
            ready = await asyncio.to_thread(daemon.start)
            looking = asyncio.create_task(look(daemon, pages))
            expected = set(range(WAITING)) | {f"daily-{n}" for n in range(SCHEDULES)}
            await until(lambda: expected <= set(sink.keys) or looking.done(), 300 if FULL else 60, "all is done")
            took = time.monotonic() - begin
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            memory = daemon.memory_kib() / 1024
            twice = [id for id, keys in sink.keys.items() if len(keys) > 1]
            await asyncio.to_thread(daemon.kill)
    pages.sort()
    slowest = pages[int(len(pages) * 0.99)]
    print(
        f"\nG8: {len(expected)} due at once in {LIMIT_MIB} MiB: ready after {ready:.1f} s, done within {took:.1f} s, {memory:.0f} MiB at most, "
        f"{sink.most_at_once} requests at once, p99 of {len(pages)} pages {slowest * 1000:.0f} ms"
    )
    assert len(sent) == WAITING
    assert not looking.cancelled() or expected <= set(sink.keys)
    assert not twice
    assert sink.most_at_once <= 4
    assert memory <= MEMORY_MIB
    assert slowest <= PAGE_S
