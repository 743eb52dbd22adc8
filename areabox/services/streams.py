"""How is an answer without an end read? As pieces, lines (ndjson) or server-sent events, each with a bound.

Who reads slowly slows the sender down: nothing piles up here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import msgspec

from areabox.errors import Permanent, Transient
from areabox.services.bodies import Decoder, size
from areabox.services.targets import Target, value_of
from areabox.services.wire import NoAnswer, Wire

LINE_MAX_BYTES = 1 << 20


class ServerEvent(msgspec.Struct, frozen=True):
    """One server-sent event. `id` is the last one that was given, to resume by `Last-Event-ID`; `retry_ms` if said."""

    data: str
    event: str = "message"
    id: str = ""
    retry_ms: int | None = None


class Stream:
    """An open answer: its head, and its body as it comes."""

    def __init__(self, wire: Wire, target: Target, quiet_s: float | None) -> None:
        self.status_code = wire.status
        self.headers = httpx2.Headers(wire.headers)
        self.url = target.url
        self._wire = wire
        self._name = target.authority
        self._quiet_s = quiet_s
        encoding = value_of(wire.headers, b"content-encoding")
        self._decoder = (
            Decoder(encoding.decode("latin-1"), self._name) if encoding and encoding.lower() != b"identity" else None
        )

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes; raises `Transient` if it breaks off or is silent for too long."""
        while data := await self._read():
            if self._decoder is None:
                yield data
            else:
                for piece in self._decoder.feed(data):
                    yield piece

    async def lines(self, max_bytes: int = LINE_MAX_BYTES) -> AsyncIterator[str]:
        """Yield the lines of the body without their ends; raises `Permanent` for one that is too long."""
        cutter = _Cutter()
        async for piece in self.pieces():
            for line in cutter.feed(piece):
                yield line.decode("utf-8", "replace")
            if len(cutter.rest) > max_bytes:
                raise Permanent(f"{self._name} sent a line of more than {size(max_bytes)}")
        if cutter.rest:
            yield cutter.rest.decode("utf-8", "replace")

    async def events(self, max_bytes: int = LINE_MAX_BYTES) -> AsyncIterator[ServerEvent]:
        """Yield server-sent events (HTML standard §9.2.6); one that the end cuts off is dropped."""
        reader = _EventReader()
        async for line in self.lines(max_bytes):
            event = reader.feed(line)
            if event is not None:
                yield event
            if reader.size > max_bytes:
                raise Permanent(f"{self._name} sent an event of more than {size(max_bytes)}")

    async def read(self, max_bytes: int) -> bytes:
        """Return the first bytes of the body, for the text of an error."""
        found = b""
        async for piece in self.pieces():
            found += piece
            if len(found) >= max_bytes:
                break
        return found[:max_bytes]

    async def _read(self) -> bytes:
        try:
            async with asyncio.timeout(self._quiet_s):
                return await self._wire.read()
        except TimeoutError as error:
            raise Transient(f"{self._name} was silent for {self._quiet_s:g} s") from error
        except NoAnswer as error:
            raise Transient(str(error)) from error


class _Cutter:
    """Cuts pieces into lines, which end with CR, LF or both, however the pieces fall."""

    def __init__(self) -> None:
        self.rest = bytearray()
        self._after_return = False

    def feed(self, piece: bytes) -> list[bytes]:
        if self._after_return and piece.startswith(b"\n"):
            piece = piece[1:]
        self._after_return = piece.endswith(b"\r")
        lines = []
        for part in piece.splitlines(keepends=True):
            self.rest += part.rstrip(b"\r\n")
            if part.endswith((b"\r", b"\n")):
                lines.append(bytes(self.rest))
                self.rest.clear()
        return lines


class _EventReader:
    """Puts lines together to events."""

    def __init__(self) -> None:
        self._data: list[str] = []
        self._event = ""
        self._id = ""
        self._retry_ms: int | None = None
        self._first = True
        self.size = 0

    def feed(self, line: str) -> ServerEvent | None:
        if self._first:
            self._first, line = False, line.removeprefix("\ufeff")
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        self._take(field, value.removeprefix(" "))
        return None

    def _take(self, field: str, value: str) -> None:
        match field:
            case "data":
                self._data.append(value)
                self.size += len(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self._retry_ms = int(value[:9])
            case _:
                pass  # a comment, or a field that nobody knows

    def _dispatch(self) -> ServerEvent | None:
        data, event, retry_ms = self._data, self._event or "message", self._retry_ms
        self._data, self._event, self._retry_ms, self.size = [], "", None, 0
        return ServerEvent("\n".join(data), event, self._id, retry_ms) if data else None
