"""Killed without warning, again and again, under load: what was acknowledged is done, and a repeat has the same key."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from pathlib import Path

import httpx2

from tests.faults.daemon import Daemon, Sink

KILLS = int(os.environ.get("AREABOX_KILLS", "25"))
READY_S = 5.0


async def send(client: httpx2.AsyncClient, url: str, first: int, acknowledged: set[int]) -> None:
    """Send hooks one after the other until the daemon is gone, and note those it acknowledged."""
    with contextlib.suppress(httpx2.HTTPError):
        for id in range(first, first + 10_000, 8):
            answer = await client.post(url, json={"id": id}, timeout=10)
            if answer.status_code == 202:
                acknowledged.add(id)


async def test_nothing_acknowledged_is_lost_however_often_the_process_is_killed(tmp_path: Path) -> None:
    chance = random.Random(7)
    acknowledged: set[int] = set()
    slowest = 0.0
    async with Sink() as sink:
        daemon = Daemon(tmp_path)
        await asyncio.to_thread(daemon.own)
        then = [{"wait": "500ms"}, {"http.request": {"url": f"{sink.url}/", "json": "{{ trigger.json }}", "keyed": True}}]
        document = {"area": "late", "name": "Late", "when": [{"webhook.received": {}}], "then": then}
        hooks = await asyncio.to_thread(daemon.apply, document)
        for kill in range(KILLS):
            slowest = max(slowest, await asyncio.to_thread(daemon.start))
            async with httpx2.AsyncClient() as client:
                first = kill * 10_000
                senders = [asyncio.create_task(send(client, hooks["late"], first + i, acknowledged)) for i in range(8)]
                await asyncio.sleep(chance.uniform(0.1, 1.0))
                await asyncio.to_thread(daemon.kill)
                await asyncio.gather(*senders)
        slowest = max(slowest, await asyncio.to_thread(daemon.start))
        for _ in range(600):
            if acknowledged <= set(sink.keys):
                break
            await asyncio.sleep(0.1)
        await asyncio.to_thread(daemon.kill)
    lost = acknowledged - set(sink.keys)
    repeated = [keys for keys in sink.keys.values() if len(keys) > 1]
    print(f"{KILLS} kills: {len(acknowledged)} acknowledged, {len(lost)} lost, {len(repeated)} repeated, ready ≤ {slowest:.2f} s")
    assert len(acknowledged) > KILLS
    assert not lost
    assert all(len(set(keys)) == 1 and keys[0] for keys in repeated), "a repeat came with another key"
    assert slowest <= READY_S
