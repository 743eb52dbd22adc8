"""A real daemon in a process of its own, and a party outside that counts what reached it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx2

from areabox.deployment.sockets import unix_path
from tests.support import FULL

PASSWORD = "correct horse battery staple"

TICKER = '''
"""A list outside that grows."""

from collections.abc import AsyncIterator
from typing import Annotated

from areabox.sdk import Connector, Context, Event, Field, Url

ticker = Connector("ticker", "Ticker")


class Tick(Event):
    n: int


@ticker.action("Tick", poll="1s", sentence="a tick appears", sample=Tick(id="1", n=1))
async def tick(ctx: Context, url: Annotated[Url, Field("Address")]) -> AsyncIterator[Tick]:
    """Fires for each number that is listed."""
    for n in (await ctx.http.get(url)).json():
        yield Tick(id=str(n), n=n)
'''


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def hook(area: str, *then: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the document of an area that a webhook starts."""
    return {"area": area, "name": area, "when": [{"webhook.received": {}}], "then": list(then), **more}


def tell(url: str, json: Any = "{{ trigger.json }}", **more: Any) -> dict[str, Any]:
    """Return a step that sends a request that may be repeated."""
    return {"http.request": {"url": url, "json": json, "keyed": True}, **more}


async def until(condition: Callable[[], Any], timeout_s: float, what: str = "") -> float:
    """Wait until something is true, and return for how long."""
    begin = time.monotonic()
    timeout_s *= 1 if FULL else 3  # the suite runs on any machine
    while not condition():
        assert time.monotonic() - begin < timeout_s, f"not within {timeout_s} s: {what or condition}"
        await asyncio.sleep(0.05)
    return time.monotonic() - begin


class Daemon:
    """`areabox serve` on a data directory."""

    def __init__(self, folder: Path, *, prefix: tuple[str, ...] = (), **environ: str) -> None:
        self.folder, self.port, self.prefix = folder, free_port(), prefix
        self.data = folder / "data"
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = {**os.environ, "AREABOX_EGRESS_ALLOW": "127.0.0.0/8", "AREABOX_RATE_LIMITS": "off", **environ}
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "daemon.log"

    def run(self, *args: str, input: str = "") -> subprocess.CompletedProcess[str]:
        """Run one command of the command line."""
        command = [sys.executable, "-m", "areabox", *args, "--data-dir", str(self.data)]
        environ = {name: value for name, value in self.environ.items() if name != "LD_PRELOAD"}
        return subprocess.run(command, check=False, input=input, text=True, capture_output=True, env=environ, timeout=120)

    def cli(self, *args: str, input: str = "") -> str:
        done = self.run(*args, input=input)
        assert done.returncode == 0, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def own(self) -> None:
        self.cli("user", "add", "owner@example.org", "--role", "owner", "--password-stdin", input=PASSWORD)

    def connector(self, name: str, source: str) -> None:
        """Drop a connector into the data directory."""
        folder = self.data / "connectors"
        folder.mkdir(mode=0o755, exist_ok=True)
        (folder / f"{name}.py").write_text(source)
        (folder / f"{name}.py").chmod(0o644)

    def local(self) -> httpx2.Client:
        """Return a client of the API that is let in as the owner, by the unix socket."""
        transport = httpx2.HTTPTransport(uds=str(unix_path(self.data)))
        return httpx2.Client(base_url="http://localhost/api/v1", transport=transport, timeout=60)

    def apply(self, *documents: dict[str, Any]) -> dict[str, str]:
        """Store areas, the daemon runs, and return the address of each one's hook."""
        hooks = {}
        with self.local() as api:
            for document in documents:
                answer = api.put(f"/areas/{document['area']}", json=document)
                assert answer.is_success, answer.text
                for found in answer.json()["subscriptions"]:
                    if found.get("url"):
                        hooks[document["area"]] = f"{self.url}/hooks/{found['url'].rsplit('/', 1)[1]}"
        return hooks

    def rows(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """Look into the database, beside the daemon."""
        with contextlib.closing(sqlite3.connect(f"file:{self.data}/areabox.db?mode=ro", uri=True, timeout=10)) as db:
            return db.execute(sql, args).fetchall()

    def spawn(self) -> None:
        """Start it and do not wait."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "areabox", "serve", "--port", str(self.port), "--data-dir", str(self.data)],
                stdout=log, stderr=log, env=self.environ, start_new_session=True,
            )  # fmt: skip

    def start(self, timeout_s: float = 30.0) -> float:
        """Start it and return after how many seconds it was ready."""
        begin = time.monotonic()
        self.spawn()
        while time.monotonic() - begin < timeout_s:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"it ended with {self.process.returncode}: {self.log.read_text()[-3000:]}")
            if self.ready():
                return time.monotonic() - begin
            time.sleep(0.02)
        raise AssertionError(f"not ready after {timeout_s} s: {self.log.read_text()[-3000:]}")

    def ready(self) -> bool:
        """Ask it whether it is ready."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def tell(self, sig: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(sig)

    def kill(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """End it, and wait until it is gone."""
        self.tell(sig)
        if self.process is not None:
            self.process.wait(30)
        self.process = None

    def memory_kib(self) -> int:
        """Return the most memory that it ever held."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


class Sink:
    """An HTTP server that remembers each body's id with the idempotency keys that it came with.

    A GET is answered with `listed`, a list that grows.
    """

    def __init__(self, pause_s: float = 0.0, *, keep: bool = True) -> None:
        self.keys: defaultdict[Any, list[str]] = defaultdict(list)
        self.at: defaultdict[Any, list[float]] = defaultdict(list)
        self.listed: list[int] = []
        self.pause_s, self.keep = pause_s, keep
        self.at_once = self.most_at_once = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            more = True
            while more:
                more = self.keep
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
                body = await reader.readexactly(int(fields.get("content-length", "0")))
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    await self._answer(writer, head, fields, body)
                finally:
                    self.at_once -= 1
        self._writers.discard(writer)
        writer.close()

    async def _answer(
        self, writer: asyncio.StreamWriter, head: str, fields: dict[str, str], body: bytes
    ) -> None:
        if head.startswith("get "):
            said = json.dumps(self.listed).encode()
        else:
            id, said = json.loads(body)["id"], b"ok"
            self.keys[id].append(fields.get("idempotency-key", ""))
            self.at[id].append(time.monotonic())
        if self.pause_s:
            await asyncio.sleep(self.pause_s)
        close = b"" if self.keep else b"Connection: close\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(said), close, said))
        await writer.drain()


async def send(client: httpx2.AsyncClient, url: str, ids: Any, acknowledged: set[Any], pause_s: float = 0.0) -> None:
    """Send hooks one after the other until the daemon is gone, and note those it acknowledged."""
    with contextlib.suppress(httpx2.HTTPError):
        for id in ids:
            answer = await client.post(url, json={"id": id}, timeout=30)
            if answer.status_code == 202:
                acknowledged.add(id)
            await asyncio.sleep(pause_s)
