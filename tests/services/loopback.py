"""A scriptable HTTP server on the loopback, for the tests of the outgoing client: it can lie, hang, drip and reset."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from areabox.clock import Clock
from areabox.services.egress import Egress

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Connection:
    """One connection as the server sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        self.reader, self.writer, self.server = reader, writer, server

    async def read(self) -> Request:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        line, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = line.split(" ")
        request = Request(method, path, headers, body)
        self.server.requests.append(request)
        return request

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"ok", status: str = "200 OK", headers: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        await self.send(head.encode() + body)

    async def hang(self) -> None:
        await asyncio.Event().wait()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Connection], Awaitable[None]]


@dataclass
class Server:
    port: int = 0
    connections: int = 0
    closed: int = 0
    requests: list[Request] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # set whenever a connection has ended

    def url(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


@contextlib.asynccontextmanager
async def serving(
    script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Server]:
    """Serve on a free port; the script runs once for every connection, which is closed when it ends."""
    server = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        tasks.add(task := asyncio.current_task())  # type: ignore[arg-type]
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await script(Connection(reader, writer, server))
        finally:
            tasks.discard(task)
            writer.close()
            server.closed += 1
            server.gone.set()

    listener = await asyncio.start_server(accept, host, 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


async def echo(connection: Connection) -> None:
    """Answer every request with its method, path and body."""
    while True:
        request = await connection.read()
        await connection.answer(f"{request.method} {request.path} ".encode() + request.body)


def raw(*answers: bytes) -> Script:
    """Answer the requests of a connection with these bytes, one after the other, then close."""

    async def script(connection: Connection) -> None:
        for data in answers:
            await connection.read()
            await connection.send(data)

    return script


@contextlib.asynccontextmanager
async def opened(clock: Clock, **options: object) -> AsyncIterator[Egress]:
    """Open a client that may reach the loopback."""
    egress = Egress(clock, **{"allow": LOOPBACK, **options})  # type: ignore[arg-type]
    try:
        yield egress
    finally:
        egress.close()


def names(table: dict[str, list[str]]) -> Callable[[str, int], Awaitable[list[str]]]:
    """Return a resolver that knows these names only; a list that is used up keeps its last answer."""

    async def resolve(host: str, port: int) -> list[str]:
        if host in table:
            return table[host]
        return [str(ipaddress.ip_address(host))]

    return resolve
