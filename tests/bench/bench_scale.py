"""Does an event cost the same once millions are stored? The path of `bench_path.py` on a fresh and on a full database.

    python tests/bench/bench_scale.py [stored] [events]

`stored` events, each with a run and a step (1,000,000 if not said; 10,000,000 take 12 GB and some minutes to make), are
written straight into the file; then webhooks are delivered. It prints a line for each size: events per second, CPU ms
an event of this process, and the file's size.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from areabox.app import open_app
from areabox.clock import encode_id
from areabox.deployment.settings import load
from tests.bench.bench_path import ROUNDS, areas, measure, sink

CHUNK = 50_000
BODY = '{"method":"POST","path":"/","query":{},"headers":{"host":"127.0.0.1"},"body":"{}","json":{"id":1}}'
_EVENT = "insert into event (id, owner, subscription, action, dedupe, payload, at) values (?, ?, 'past', 'webhook.received', ?, ?, ?)"
_RUN = (
    "insert into run (id, owner, area, version, event, trigger, place, state, started, deadline, ended) "
    "values (?, ?, ?, 1, ?, '', 'received', 'done', ?, ?, ?)"
)
_STEP = (
    "insert into step (run, path, attempt, kind, state, input, output, started, ended) "
    "values (?, 's1', 1, 'do', 'done', ?, ?, ?, ?)"
)


def fill(path: Path, owner: str, area: str, count: int) -> None:
    """Write what `count` events of the last month would have left behind."""
    begin_ms = int(time.time() * 1000) - 28 * 86_400_000
    step_ms = 27 * 86_400_000 / max(count, 1)
    with sqlite3.connect(path) as db:
        db.executescript("pragma synchronous = off; pragma cache_size = -200000;")
        for start in range(0, count, CHUNK):
            times = [begin_ms + int(number * step_ms) for number in range(start, min(start + CHUNK, count))]
            ids = [encode_id((at << 80) | (start + number)) for number, at in enumerate(times)]
            db.executemany(_EVENT, [(id, owner, id, BODY, at) for id, at in zip(ids, times, strict=True)])
            db.executemany(_RUN, [(id, owner, area, id, at, at, at + 5) for id, at in zip(ids, times, strict=True)])
            db.executemany(_STEP, [(id, BODY, BODY, at, at + 5) for id, at in zip(ids, times, strict=True)])
            db.commit()


async def figures(folder: Path, port: int, stored: int, events: int) -> None:
    """Measure on a database with so many events, and print a line."""
    environ = {"AREABOX_EGRESS_ALLOW": "127.0.0.0/8", "AREABOX_RATE_LIMITS": "off"}
    settings = load({"data_dir": str(folder)}, environ=environ)
    async with open_app(settings, role="serve") as app:
        account = await app.accounts.create("owner@example.org", None, "owner", first=True)
        found = {change.area: change for change in await app.areas.apply(account.actor(), areas(port))}
        head = (await app.backend.read("select id, owner from area where slug = 'hit'"))[0]
    database = next(folder.glob("*.db"))
    fill(database, head["owner"], head["id"], stored)
    async with open_app(settings, role="serve") as app:
        key = found["hit"].subscriptions[0]["url"].rsplit("/", 1)[1]
        await measure(app, key, 500)
        rounds = [await measure(app, key, events) for _ in range(ROUNDS)]
    rate, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"{stored:>12,} stored {rate:8,.0f} events/s   {cpu:.3f} CPU ms an event   {database.stat().st_size / 1e6:,.0f} MB")


if __name__ == "__main__":
    ports: multiprocessing.Queue[int] = multiprocessing.Queue()
    process = multiprocessing.Process(target=sink, args=(ports,), daemon=True)
    process.start()
    most, events = (int(given) for given in (*sys.argv[1:3], *("1000000", "5000")[len(sys.argv) - 1 :]))
    port = ports.get()
    for stored in (10_000, most):
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(figures(Path(folder), port, stored, events))
