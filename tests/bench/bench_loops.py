"""What does an iteration of a loop cost beside a run? A thousand of each, one after the other and many at once.

    python tests/bench/bench_loops.py [count]

The step is `store.set`, which writes in the same database. It prints wall and CPU time in ms, medians of three rounds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from areabox.app import App, open_app
from areabox.deployment.settings import load
from areabox.users.policy import Actor

ROUNDS, AT_ONCE = 3, 20
STEP = {"store.set": {"key": "k", "value": "{{ trigger.n }}"}}


def areas(count: int) -> dict[str, object]:
    """Return the steps of each area by its name."""
    loop = {"each": f"range({count})", "then": [STEP]}
    return {"run": [STEP], "loop": [loop], "wide": [{**loop, "at_once": AT_ONCE}]}


async def runs(app: App, actor: Actor, count: int, at_once: int) -> None:
    """Start runs of one step; each is over before its starter begins the next."""
    left = iter(range(count))

    async def start() -> None:
        for n in left:
            id = await app.runs.start(actor, "run", {"n": n})
            await app.runs.wait(id, 60)

    await asyncio.gather(*(start() for _ in range(at_once)))


async def loop(app: App, actor: Actor, name: str) -> None:
    await app.runs.wait(await app.runs.start(actor, name, {"n": 1}), 60)


async def timed(what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do it some times and print the medians."""
    found = []
    for _ in range(ROUNDS):
        begin, cpu = time.perf_counter(), time.process_time()
        await work()
        found.append(((time.perf_counter() - begin) * 1000, (time.process_time() - cpu) * 1000))
    wall, cpu = (statistics.median(column) for column in zip(*found, strict=True))
    print(f"{what:44} {wall:8,.0f} ms   {cpu:8,.0f} ms of CPU")


async def main(count: int) -> None:
    """Measure all of them."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_app(load({"data_dir": folder}, environ={}), role="serve") as app:
            actor = (await app.accounts.create("owner@example.org", None, "owner", first=True)).actor()
            when = [{"webhook.received": {}}]
            documents = areas(count).items()
            await app.areas.apply(
                actor, [(name, json.dumps({"area": name, "when": when, "then": then})) for name, then in documents]
            )
            gc.collect()
            gc.freeze()
            await timed(f"{count:,} runs, one after the other", lambda: runs(app, actor, count, 1))
            await timed(f"{count:,} iterations, one after the other", lambda: loop(app, actor, "loop"))
            await timed(f"{count:,} runs, {AT_ONCE} at once", lambda: runs(app, actor, count, AT_ONCE))
            await timed(f"{count:,} iterations, {AT_ONCE} at once", lambda: loop(app, actor, "wide"))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
