"""A small HTTP server on the loopback that answers what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec


class Request(msgspec.Struct):
    """One request as the server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Server:
    """A small HTTP server; `answer` is a response in bytes, or a function of the request that gives one or None."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: bytes | Callable[[Request], bytes | None] = reply(200, {"ok": True})

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        self._server.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await self._read(reader)
                self.requests.append(request)
                answer = self.answer if isinstance(self.answer, bytes) else self.answer(request)
                if answer is None:
                    await reader.read()  # nothing, until the client has enough of it
                    return
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Request:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines if line}
        method, path, _ = first.split(" ")
        return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


def reply(status: int, body: Any = b"", **headers: str) -> bytes:
    """Return a response; what is no bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    kind = {} if isinstance(body, bytes) else {"content-type": "application/json"}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in (kind | headers).items()]
    head = "\r\n".join([f"HTTP/1.1 {status} X", f"content-length: {len(data)}", *lines])
    return f"{head}\r\n\r\n".encode() + data
