"""A third party that is slow, lies, breaks off or is not there: each fault has a port of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Self

from tests.faults.daemon import free_port

Answer = Callable[["Fault"], Awaitable[None]]


class Fault:
    """One request as the faulty party sees it: `n` counts the requests that came to this port, from 1."""

    def __init__(self, n: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n, self.reader, self.writer = n, reader, writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: str = "200 OK", headers: str = "", body: bytes = b"ok") -> None:
        await self.say(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)


async def hang(fault: Fault) -> None:
    await asyncio.sleep(600)


async def drip(fault: Fault) -> None:
    await fault.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await fault.say(b".")
        await asyncio.sleep(0.1)


async def drip_head(fault: Fault) -> None:
    await fault.say(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        await fault.say(b".")
        await asyncio.sleep(0.1)


async def reset(fault: Fault) -> None:
    await fault.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    linger = struct.pack("ii", 1, 0)
    fault.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    fault.writer.transport.abort()


async def half_close(fault: Fault) -> None:
    """Say no more, but keep the line open."""
    await fault.say(b"HTTP/1.1 200 OK\r\nContent-")
    fault.writer.write_eof()
    await asyncio.sleep(600)


async def wrong_length(fault: Fault) -> None:
    await fault.say(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\nConnection: close\r\n\r\nshort")
    fault.writer.close()


async def truncated_gzip(fault: Fault) -> None:
    body = gzip.compress(b"0123456789" * 1_000)[:-20]
    await fault.answer(headers="Content-Encoding: gzip\r\n", body=body)


async def burst(fault: Fault) -> None:
    await fault.answer("200 OK" if fault.n > 3 else ("500 Oops", "502 Bad Gateway", "503 Unavailable")[fault.n - 1])


async def not_tls(fault: Fault) -> None:
    await fault.say(b"HTTP/1.1 400 this is plain http\r\n\r\n")
    fault.writer.close()


def too_many(retry_after: str | Callable[[], str] | None) -> Answer:
    """Answer the first request by 429 and this Retry-After, all others well."""

    async def answer(fault: Fault) -> None:
        said = retry_after() if callable(retry_after) else retry_after
        header = "" if said is None else f"Retry-After: {said}\r\n"
        await (fault.answer() if fault.n > 1 else fault.answer("429 Too Many Requests", header))

    return answer


FAULTS: dict[str, Answer | None] = {
    "refuse": None,
    "hang": hang,
    "drip": drip,
    "drip-head": drip_head,
    "reset": reset,
    "half-close": half_close,
    "wrong-length": wrong_length,
    "truncated-gzip": truncated_gzip,
    "not-tls": not_tls,
    "burst": burst,
    "429": too_many("3"),
    "429-date": too_many(lambda: formatdate(time.time() + 4, usegmt=True)),
    "429-absurd": too_many("1000000000"),
    "429-negative": too_many("-100"),
    "429-past": too_many("Wed, 21 Oct 2015 07:28:00 GMT"),
    "429-silent": too_many(None),
}


class Party:
    """All faults at once, and when they were asked."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self.asked: dict[str, list[float]] = {name: [] for name in FAULTS}
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, name: str) -> str:
        return f"{'https' if name == 'not-tls' else 'http'}://127.0.0.1:{self.ports[name]}/"

    async def __aenter__(self) -> Self:
        for name, answer in FAULTS.items():
            if answer is None:
                self.ports[name] = free_port()
                continue
            server = await asyncio.start_server(self._serving(name, answer), "127.0.0.1", 0)
            self.ports[name] = server.sockets[0].getsockname()[1]
            self._servers.append(server)
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _serving(self, name: str, answer: Answer) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            try:
                with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                    while True:
                        await self._read(name, reader)
                        self.asked[name].append(time.monotonic())
                        await answer(Fault(len(self.asked[name]), reader, writer))
                        if writer.is_closing():
                            return
            finally:
                writer.close()

        return serve

    @staticmethod
    async def _read(name: str, reader: asyncio.StreamReader) -> None:
        if name == "not-tls":
            await reader.readexactly(1)
            return
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next((line[15:] for line in head.split("\r\n") if line.startswith("content-length:")), "0")
        await reader.readexactly(int(length))
