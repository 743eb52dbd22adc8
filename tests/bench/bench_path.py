"""The whole path in one process: a webhook's delivery → event, run and job on disk → one HTTP POST → the run is done.

    python tests/bench/bench_path.py [events]

Everything is real but the HTTP server in front, which `wrk` or a load generator would be needed for: SQLite with FULL,
templates, journal, telemetry, the guarded client, and a sink on another socket of this process' machine. It prints the
median of three rounds: events per second, and CPU ms an event of this process (the sink's own CPU is not in it).
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path

from areabox.app import App, open_app
from areabox.deployment.settings import load

ROUNDS, AT_ONCE = 3, 32
HEADERS = [(b"content-type", b"application/json"), (b"host", b"127.0.0.1"), (b"user-agent", b"bench")]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def sink(port: multiprocessing.Queue[int]) -> None:
    """Answer every POST; runs in a process of its own."""

    async def serve() -> None:
        server = await asyncio.start_server(_answer, "127.0.0.1", 0)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


def areas(port: int) -> list[tuple[str, str]]:
    """Return the two areas: one that posts what came in, one that only takes it."""
    post = {"http.request": {"url": f"http://127.0.0.1:{port}/", "json": "{{ trigger.json }}", "keyed": True}}
    flows = {"hit": [post], "ingest": [{"set": {"seen": 1}}]}
    when = [{"webhook.received": {}}]
    return [(name, json.dumps({"area": name, "when": when, "then": steps})) for name, steps in flows.items()]


async def measure(app: App, key: str, events: int) -> tuple[float, float]:
    """Deliver `events` webhooks, `AT_ONCE` at a time, and return events per second and CPU ms an event."""
    left = iter(range(events))

    async def send() -> None:
        for number in left:
            await app.actions.hooks.receive(key, "POST", "", b"", HEADERS, b'{"id":%d}' % number)

    begin, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(send() for _ in range(AT_ONCE)))
    while (stats := app.backend.stats()).ready or stats.executing:
        await asyncio.sleep(0.005)
    return events / (time.perf_counter() - begin), (time.process_time() - cpu) / events * 1000


async def main(events: int, port: int) -> None:
    """Measure both areas and print a line each."""
    environ = {"AREABOX_EGRESS_ALLOW": "127.0.0.0/8", "AREABOX_RATE_LIMITS": "off"}
    with tempfile.TemporaryDirectory() as folder:
        settings = load({"data_dir": str(Path(folder) / "data")}, environ=environ)
        async with open_app(settings, role="serve") as app:
            account = await app.accounts.create("owner@example.org", None, "owner", first=True)
            for change in await app.areas.apply(account.actor(), areas(port)):
                key = change.subscriptions[0]["url"].rsplit("/", 1)[1]
                rounds = [await measure(app, key, events) for _ in range(ROUNDS)]
                rate, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
                print(f"{change.area:8} {rate:8,.0f} events/s   {cpu:.3f} CPU ms an event")


if __name__ == "__main__":
    ports: multiprocessing.Queue[int] = multiprocessing.Queue()
    process = multiprocessing.Process(target=sink, args=(ports,), daemon=True)
    process.start()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    try:
        import uvloop

        uvloop.run(main(count, ports.get()))
    except ImportError:
        asyncio.run(main(count, ports.get()))
