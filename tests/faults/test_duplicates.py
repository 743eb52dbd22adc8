"""G5. However often and in whatever order something is delivered or listed, also over a kill: one run for each id."""

from __future__ import annotations

import asyncio
import random

import httpx2

from tests.faults.conftest import House
from tests.faults.daemon import FULL, TICKER, Sink, hook, tell, until

DELIVERIES = 10_000 if FULL else 600
LISTED = 5_000 if FULL else 200
SENDERS = 8


async def deliver(url: str, ids: list[int], done: list[int]) -> None:
    """Deliver all, each again until it is acknowledged, as a service does."""
    async with httpx2.AsyncClient() as client:
        while ids:
            id = ids[-1]
            try:
                answer = await client.post(url, json={"id": id}, headers={"X-GitHub-Delivery": str(id)}, timeout=10)
            except httpx2.HTTPError:
                await asyncio.sleep(0.1)
                continue
            assert answer.status_code == 202, answer.text
            done.append(ids.pop())


async def test_one_run_for_each_id_however_often_it_comes(house: House) -> None:
    chance = random.Random(9)
    unique = int(DELIVERIES / 1.3)
    deliveries = list(range(unique)) + chance.choices(range(unique), k=DELIVERIES - unique)
    chance.shuffle(deliveries)
    done: list[int] = []
    async with Sink() as sink:
        daemon = house()
        daemon.connector("ticker", TICKER)
        await asyncio.to_thread(daemon.start)
        polled = {
            "area": "polled", "name": "Polled", "when": [{"ticker.tick": {"url": sink.url}, "every": "1s"}],
            "then": [tell(sink.url, {"id": "tick-{{ trigger.n }}"})],
        }  # fmt: skip
        url = (await asyncio.to_thread(daemon.apply, hook("hooked", tell(sink.url)), polled))["hooked"]
        await until(lambda: daemon.rows("select 1 from subscription where kind = 'poll' and baseline = 0"), 20, "a baseline")
        senders = [asyncio.create_task(deliver(url, deliveries[i::SENDERS], done)) for i in range(SENDERS)]
        items = list(range(LISTED))
        chance.shuffle(items)
        for quarter in range(1, 5):
            shown = items[: quarter * LISTED // 4]
            listed = shown + chance.choices(shown, k=len(shown) * 3 // 10)
            chance.shuffle(listed)
            sink.listed = listed
            enough = quarter * DELIVERIES // 5
            await until(lambda enough=enough: len(done) >= enough, 120, "hooks are taken")  # type: ignore[misc]
            if quarter == 2:
                await asyncio.to_thread(daemon.kill)  # and what was under way is delivered again
                await asyncio.to_thread(daemon.start)
            await asyncio.sleep(0.3)
        await asyncio.gather(*senders)
        expected = set(range(unique)) | {f"tick-{n}" for n in items}
        await until(lambda: expected <= set(sink.keys), 120, "all is done")
        await until(lambda: not daemon.rows("select 1 from run where ended is null limit 1"), 60, "all runs end")
        runs = dict(daemon.rows("select slug, count(*) from run join area on area.id = run.area group by 1"))
    repeats = sum(len(keys) - 1 for keys in sink.keys.values())
    print(f"\nG5: {DELIVERIES} deliveries of {unique} ids, {LISTED} items listed in any order and some twice: runs {runs}, {repeats} repeats of the kill")
    assert runs == {"hooked": unique, "polled": LISTED}
    assert set(sink.keys) == expected
    assert all(len(set(keys)) == 1 for keys in sink.keys.values()), "a repeat came with another key"
