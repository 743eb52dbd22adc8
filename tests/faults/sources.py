"""A source whose messages come while it is restarted and areabox is killed: each is stored, and acted on.

For whoever adds a source: one class as `sources_amqp.py` has it, and one line in a test. It was written here since
`test_sources.py` was not there yet; that may use it or take its place.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Protocol

from tests.faults.conftest import House
from tests.faults.daemon import Sink, tell, until
from tests.support import FULL

COUNT = 1_000 if FULL else 100
BATCH = 10


class Source(Protocol):
    """A server, the connection to it, and how somebody else sends to it."""

    service: str
    auth: dict[str, Any]
    secrets: Sequence[str]
    trigger: dict[str, Any]
    id: str  # the expression that gives a message's number
    path: str  # where the number stands in the event, as SQLite says it
    doubles: int  # how many messages may be stored twice when areabox is killed, as the protocol says

    def start(self) -> None: ...

    def stop(self) -> None: ...

    async def send(self, numbers: Sequence[int]) -> None:
        """Send messages; raises where the server is away, and then all of them are sent again."""
        ...


async def sent(source: Source, numbers: Sequence[int]) -> None:
    """Send numbers some at a time, each until the server has it."""
    for first in range(0, len(numbers), BATCH):
        for _ in range(300):
            try:
                await source.send(numbers[first : first + BATCH])
                break
            except (OSError, RuntimeError):
                await asyncio.sleep(0.1)
        else:
            raise AssertionError("the server did not come back")


async def lost(house: House, source: Source) -> tuple[set[int], dict[int, int]]:
    """Send while the source is restarted and areabox is killed; return what was lost, and what was stored how often."""
    daemon = house()
    flags = [part for name, value in source.auth.items() for part in ("--set", f"{name}={value}")]
    daemon.cli("connection", "add", "source", source.service, *flags, "--secrets-stdin", input="\n".join(source.secrets) + "\n")
    await asyncio.to_thread(daemon.start)
    third = COUNT // 3
    async with Sink() as sink:
        document = {"area": "source", "name": "Source", "when": [source.trigger], "then": [tell(sink.url, {"id": source.id})]}
        await asyncio.to_thread(daemon.apply, document)
        for probe in range(-1, -300, -1):
            await source.send([probe])
            with contextlib.suppress(AssertionError):
                await until(lambda probe=probe: str(probe) in heard(sink), 1, "the first message")
                break
        await sent(source, range(third))
        restarting = asyncio.create_task(asyncio.to_thread(_restart, source))
        await sent(source, range(third, 2 * third))
        await restarting
        sending = asyncio.create_task(sent(source, range(2 * third, COUNT)))
        await until(lambda: len(heard(sink)) > third, 60, "it goes on after the restart")
        await asyncio.to_thread(daemon.kill)
        await sending
        await asyncio.to_thread(daemon.start)
        wanted = {str(number) for number in range(COUNT)}
        with contextlib.suppress(AssertionError):
            await until(lambda: wanted <= heard(sink), 120, "everything is done")
        acted = heard(sink)
    rows = daemon.rows("select json_extract(payload, ?), count(*) from event where action = ? group by 1", source.path, next(iter(source.trigger)))
    return {int(number) for number in wanted - acted}, {int(number): count for number, count in rows}


def heard(sink: Sink) -> set[str]:
    return {str(id) for id in sink.keys}


def _restart(source: Source) -> None:
    source.stop()
    source.start()


async def check(house: House, source: Source) -> None:
    """Say that nothing was lost, and that nothing was stored more often than the protocol allows."""
    missing, stored = await lost(house, source)
    twice = sum(count - 1 for number, count in stored.items() if number >= 0)
    print(f"\n{source.service}: {COUNT} messages, a restart and a kill: {len(missing)} lost, {twice} stored twice")
    assert not missing
    assert {number for number in stored if number >= 0} == set(range(COUNT))
    assert twice <= source.doubles
