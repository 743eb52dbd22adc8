"""G1. Ended without warning, again and again, under load: what was acknowledged is done, and a repeat has the same key."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path

import httpx2

from tests.faults.conftest import House
from tests.faults.daemon import FULL, TICKER, Daemon, Sink, hook, send, tell, until
from tests.support import any_machine

KILLS = int(os.environ.get("AREABOX_KILLS", "200" if FULL else "5"))
READY_S = any_machine(5.0)
FROZEN_S = 60.0 if FULL else 1.0


def end(daemon: Daemon, chance: random.Random, kill: int) -> None:
    """End it in one of the ways in which a process ends."""
    match kill % 5:
        case 1:  # told to stop, many times; the second time it ends at once
            for _ in range(20):
                daemon.tell(signal.SIGTERM)
                time.sleep(chance.uniform(0, 0.005))
            daemon.kill()
        case 2:  # told to stop, and killed while it does
            daemon.tell(signal.SIGTERM)
            time.sleep(chance.uniform(0, 0.5))
            daemon.kill()
        case 3:  # killed, and killed again while it starts
            daemon.kill()
            daemon.spawn()
            time.sleep(chance.uniform(0.05, 1.5))
            daemon.kill()
        case _:
            daemon.kill()


async def test_nothing_acknowledged_is_lost_however_often_and_however_the_process_ends(house: House) -> None:
    chance = random.Random(7)
    acknowledged: set[int] = set()
    starts: list[float] = []
    frozen_in_all = 0
    async with Sink() as sink:
        daemon = house()
        daemon.connector("ticker", TICKER)
        starts.append(await asyncio.to_thread(daemon.start))
        documents = (
            hook("late", {"wait": "500ms"}, tell(sink.url)),
            hook("now", tell(sink.url)),
            {
                "area": "polled", "name": "Polled", "when": [{"ticker.tick": {"url": sink.url}, "every": "1s"}],
                "then": [tell(sink.url, {"id": "tick-{{ trigger.n }}"})],
            },
        )  # fmt: skip
        hooks = await asyncio.to_thread(daemon.apply, *documents)
        await until(lambda: daemon.rows("select 1 from subscription where kind = 'poll' and baseline = 0"), 20, "a baseline")
        for kill in range(KILLS):
            if daemon.process is None:
                starts.append(await asyncio.to_thread(daemon.start))
            async with httpx2.AsyncClient() as client:
                first = kill * 100_000
                senders = [
                    asyncio.create_task(send(client, hooks["late" if i % 2 else "now"], range(first + i, first + 99_000, 8), acknowledged))
                    for i in range(8)
                ]  # fmt: skip
                sink.listed += range(len(sink.listed), len(sink.listed) + chance.randrange(1, 20))
                await asyncio.sleep(chance.uniform(0.1, 1.0 if FULL else 0.5))
                if kill % 50 == 4:
                    daemon.tell(signal.SIGSTOP)
                    await asyncio.sleep(FROZEN_S)
                    frozen_in_all += 1
                    if frozen_in_all % 2:
                        daemon.tell(signal.SIGCONT)  # it goes on, and is killed while it catches up
                        await asyncio.sleep(chance.uniform(0, 0.3))
                await asyncio.to_thread(end, daemon, chance, kill)
                await asyncio.gather(*senders)
        starts.append(await asyncio.to_thread(daemon.start))
        ticks = {f"tick-{n}" for n in sink.listed}
        expected = acknowledged | ticks
        await until(lambda: expected <= set(sink.keys), 60, "everything is done")
    lost = expected - set(sink.keys)
    repeated = [keys for keys in sink.keys.values() if len(keys) > 1]
    print(
        f"\nG1: {KILLS} kills ({frozen_in_all} frozen for {FROZEN_S:g} s): {len(acknowledged)} hooks acknowledged, {len(ticks)} items polled, "
        f"{len(lost)} lost, {len(repeated)} repeated with the same key, ready within {max(starts):.2f} s"
    )
    assert len(acknowledged) > KILLS
    assert not lost
    assert all(len(set(keys)) == 1 and keys[0] for keys in repeated), "a repeat came with another key"
    assert max(starts) <= READY_S


def test_a_first_start_that_is_killed_anywhere_leaves_nothing_that_the_next_cannot_use(tmp_path: Path) -> None:
    chance = random.Random(3)
    daemon = Daemon(tmp_path)
    for _ in range(30 if FULL else 2):
        daemon.spawn()
        time.sleep(chance.uniform(0.2, 1.2))
        daemon.kill()
    try:
        daemon.start()
        assert daemon.rows("pragma integrity_check") == [("ok",)]
    finally:
        daemon.kill()
