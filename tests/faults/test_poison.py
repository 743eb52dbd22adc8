"""G7. A job that kills the process is set aside after the third time, and all others get done, also those beside it."""

from __future__ import annotations

import asyncio
import time

import httpx2
import pytest

from tests.faults.cgroup import limited
from tests.faults.conftest import House
from tests.faults.daemon import FULL, Daemon, Sink, hook, send, tell
from tests.support import any_machine

DONE_S = any_machine(60.0)
OTHERS, EACH_S = (200, 1.5) if FULL else (10, 0.3)
POISON = '''
"""It kills."""

import os

from areabox.sdk import Connector, Context

poison = Connector("poison", "Poison")


@poison.reaction("Eat", sentence="eat it", effect="keyed")
async def eat(ctx: Context) -> None:
    """End the whole process at once."""
    os._exit(17)


@poison.reaction("Devour", sentence="devour it", effect="keyed")
async def devour(ctx: Context) -> None:
    """Take all memory there is."""
    taken = []
    while True:
        taken.append(bytearray(64 << 20))
'''


async def supervise(daemon: Daemon, ends: list[int]) -> None:
    """Start it anew whenever it ends, as systemd does."""
    while True:
        process = daemon.process
        assert process is not None
        if process.poll() is not None:
            ends.append(process.returncode)
            daemon.spawn()
        await asyncio.sleep(0.02)


async def test_a_job_that_kills_the_process_is_set_aside_and_all_others_get_done(house: House) -> None:
    assert set(await poisoned(house(), "eat")) == {17}


@pytest.mark.skipif(not FULL, reason="the kernel kills for want of memory in the full form only")
async def test_a_job_that_takes_all_memory_is_set_aside_too(house: House) -> None:
    with limited(300 << 20) as prefix:
        daemon = house(prefix=prefix)
        try:
            assert set(await poisoned(daemon, "devour")) == {-9}
        finally:
            daemon.kill()


async def poisoned(daemon: Daemon, how: str) -> list[int]:
    """Send a job that kills among others, and return how the process ended each time."""
    ends: list[int] = []
    slow: set[int] = set()
    async with Sink(pause_s=EACH_S) as sink:
        daemon.connector("poison", POISON)
        await asyncio.to_thread(daemon.start)
        hooks = await asyncio.to_thread(daemon.apply, hook("bad", {f"poison.{how}": {}}), hook("good", tell(sink.url)))
        async with httpx2.AsyncClient() as client:
            await send(client, hooks["good"], range(OTHERS), slow)
            await asyncio.sleep(EACH_S / 5)  # all of them are under way when it comes
            begin = time.monotonic()
            await send(client, hooks["bad"], [0], set())
            watch = asyncio.create_task(supervise(daemon, ends))
            while time.monotonic() - begin < DONE_S:
                await asyncio.sleep(0.1)
                if len(slow & set(sink.keys)) == OTHERS and not daemon.rows("select 1 from run where ended is null"):
                    break
            took = time.monotonic() - begin
            watch.cancel()
    states = dict(daemon.rows("select area.slug || ' ' || state, count(*) from run join area on area.id = run.area group by 1"))
    print(f"\nG7 ({how}): ended {len(ends)} times ({set(ends)}), {states}, all within {took:.1f} s")
    assert len(slow) == OTHERS
    assert states == {"bad failed": 1, "good done": OTHERS}
    assert len(ends) == 3
    reason = daemon.rows("select reason from run where state = 'failed'")[0][0]
    assert "quarantined" in reason
    return ends
