"""A real daemon in a process of its own, and a sink that counts from outside what reached it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx2

PASSWORD = "correct horse battery staple"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Daemon:
    """`areabox serve` on a data directory."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = {**os.environ, "AREABOX_EGRESS_ALLOW": "127.0.0.0/8", "AREABOX_RATE_LIMITS": "off", **environ}
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "daemon.log"

    def cli(self, *args: str, input: str = "") -> str:
        command = [sys.executable, "-m", "areabox", *args, "--data-dir", str(self.folder / "data")]
        done = subprocess.run(command, input=input, text=True, capture_output=True, env=self.environ, timeout=60)
        assert done.returncode == 0, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def own(self) -> None:
        self.cli("user", "add", "owner@example.org", "--role", "owner", "--password-stdin", input=PASSWORD)

    def apply(self, *documents: dict[str, Any]) -> dict[str, str]:
        """Apply areas and return the address of each one's hook, on this daemon's port."""
        folder = self.folder / "areas"
        folder.mkdir(exist_ok=True)
        for document in documents:
            (folder / f"{document['area']}.yaml").write_text(json.dumps(document))
        said = json.loads(self.cli("apply", str(folder), "--json"))
        return {
            area["area"]: f"{self.url}/hooks/{found['url'].rsplit('/', 1)[1]}"
            for area in said
            for found in area["subscriptions"]
            if found.get("url")
        }

    def start(self, timeout_s: float = 20.0) -> float:
        """Start it and return after how many seconds it was ready."""
        begin = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "areabox", "serve", "--port", str(self.port), "--data-dir", str(self.folder / "data")],
                stdout=log, stderr=log, env=self.environ, start_new_session=True,
            )  # fmt: skip
        while time.monotonic() - begin < timeout_s:
            if self.process.poll() is not None:
                raise AssertionError(f"it ended with {self.process.returncode}: {self.log.read_text()[-3000:]}")
            with contextlib.suppress(httpx2.HTTPError):
                if httpx2.get(f"{self.url}/ready", timeout=2).status_code == 200:
                    return time.monotonic() - begin
            time.sleep(0.02)
        raise AssertionError(f"not ready after {timeout_s} s: {self.log.read_text()[-3000:]}")

    def kill(self, sig: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(sig)
            self.process.wait(30)
        self.process = None


class Sink:
    """An HTTP server that remembers each body's id with the idempotency keys that it came with."""

    def __init__(self) -> None:
        self.keys: defaultdict[int, list[str]] = defaultdict(list)
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Sink:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
                body = await reader.readexactly(int(fields.get("content-length", "0")))
                self.keys[json.loads(body)["id"]].append(fields.get("idempotency-key", ""))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
        writer.close()
