"""How is a WebSocket spoken (RFC 6455)? As a client without extensions, over a wire that the guard has opened.

Messages have a bound, a silent server is pinged, and what ends a connection is a `Closed`, which means: open it again.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence

from areabox.errors import AuthExpired, Permanent, Transient
from areabox.services.bodies import TooLarge, size
from areabox.services.targets import value_of
from areabox.services.wire import NoAnswer, Wire

PING_S = 30.0
MESSAGE_MAX_BYTES = 4 << 20
_CLOSE_S = 1.0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUE, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_TRY_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})

Frame = tuple[bool, int, bytes]
Secret = Callable[[int], bytes]


class Closed(Transient):
    """The other side ended the connection; `code` as in RFC 6455 §7.4, 1006 if it gave none."""

    def __init__(self, message: str, code: int = 1006, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class WebSocket:
    """An open WebSocket: one reader, any number of writers."""

    def __init__(self, wire: Wire, secret: Secret, *, ping_s: float, max_bytes: int) -> None:
        protocol = value_of(wire.headers, b"sec-websocket-protocol")
        self.protocol = protocol.decode("latin-1") if protocol else ""
        self._wire = wire
        self._secret = secret
        self._ping_s = ping_s
        self._max = max_bytes
        self._held = bytearray()
        self._pinged = False
        self._closing = False

    async def send(self, message: str | bytes) -> None:
        """Send a text or a binary message; raises `Closed`."""
        if isinstance(message, str):
            await self._send(_TEXT, message.encode())
        else:
            await self._send(_BINARY, message)

    async def receive(self) -> str | bytes:
        """Return the next message; raises `Closed`, or `TooLarge`."""
        kind, parts, total = 0, [], 0
        while True:
            final, opcode, data = await self._next_frame()
            if opcode >= _CLOSE:
                await self._control(opcode, data)
                continue
            if (opcode == _CONTINUE) != bool(kind):
                raise await self._fault("sent parts of messages out of order")
            kind = kind or opcode
            parts.append(data)
            total += len(data)
            if total > self._max:
                raise TooLarge(f"{self._wire.name} sent a message of more than {size(self._max)}")
            if final:
                return await self._message(kind, b"".join(parts))

    async def messages(self) -> AsyncIterator[str | bytes]:
        """Yield what comes, until `Closed` is raised."""
        while True:
            yield await self.receive()

    async def close(self, code: int = 1000) -> None:
        """Say goodbye, and give the other side a second to do the same."""
        if self._closing:
            return
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._send(_CLOSE, code.to_bytes(2, "big"))
                self._closing = True
                while True:
                    await self.receive()
        except (TimeoutError, Closed, Permanent):
            self._closing = True

    async def _message(self, kind: int, data: bytes) -> str | bytes:
        if kind == _BINARY:
            return data
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise await self._fault("sent a text that is no UTF-8", 1007) from error

    async def _control(self, opcode: int, data: bytes) -> None:
        if opcode == _PING:
            await self._send(_PONG, data)
        elif opcode == _CLOSE:
            code = int.from_bytes(data[:2], "big") if len(data) >= 2 else 1005
            reason = data[2:].decode("utf-8", "replace")
            if not self._closing:
                await self._send(_CLOSE, data[:2])
                self._closing = True
            raise Closed(f"{self._wire.name} closed the connection ({code} {reason})".replace(" )", ")"), code, reason)

    async def _next_frame(self) -> Frame:
        while True:
            frame = self._cut()
            if frame is not None:
                if frame[1] not in {_CONTINUE, _TEXT, _BINARY, _CLOSE, _PING, _PONG}:
                    raise await self._fault("sent a frame of an unknown kind")
                return frame
            self._held += await self._read()

    def _cut(self) -> Frame | None:
        """Take a whole frame off what was received (RFC 6455 §5.2), None if there is none yet."""
        held = self._held
        if len(held) < 2:
            return None
        length, start = held[1] & 0x7F, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(held) < start:
                return None
            length = int.from_bytes(held[2:start], "big")
        if held[0] & 0x70 or held[1] & 0x80 or (held[0] & 8 and (length > 125 or not held[0] & 0x80)):
            raise Closed(f"{self._wire.name} sent what is no frame of a WebSocket", 1002)
        if length > self._max:
            raise TooLarge(f"{self._wire.name} sent a message of more than {size(self._max)}")
        if len(held) < start + length:
            return None
        frame = bool(held[0] & 0x80), held[0] & 15, bytes(held[start : start + length])
        del held[: start + length]
        return frame

    async def _read(self) -> bytes:
        """Return what comes next; silence is asked about once, and then taken for the end."""
        while True:
            try:
                async with asyncio.timeout(self._ping_s):
                    data = await self._wire.read()
            except TimeoutError as error:
                if self._pinged:
                    raise Closed(f"{self._wire.name} was silent for {2 * self._ping_s:g} s") from error
                self._pinged = True
                await self._send(_PING, b"")
                continue
            except NoAnswer as error:
                raise self._ended() from error
            if not data:
                raise self._ended()
            self._pinged = False
            return data

    async def _send(self, opcode: int, data: bytes) -> None:
        if self._closing:
            raise Closed(f"the connection to {self._wire.name} is closed")
        length = len(data)
        if length < 126:
            head = bytes((0x80 | opcode, 0x80 | length))
        elif length < 1 << 16:
            head = bytes((0x80 | opcode, 0x80 | 126)) + length.to_bytes(2, "big")
        else:
            head = bytes((0x80 | opcode, 0x80 | 127)) + length.to_bytes(8, "big")
        mask = self._secret(4)
        try:
            await self._wire.write(head + mask + masked(data, mask))
        except NoAnswer as error:
            raise self._ended() from error

    def _ended(self) -> Closed:
        return Closed(f"{self._wire.name} ended the connection without a word")

    async def _fault(self, what: str, code: int = 1002) -> Closed:
        error = Closed(f"{self._wire.name} {what}", code)
        if not self._closing:
            await self._send(_CLOSE, code.to_bytes(2, "big"))
            self._closing = True
        return error


def masked(data: bytes, mask: bytes) -> bytes:
    """Return the data with the mask laid over it, which also takes it off again (RFC 6455 §5.3)."""
    length = len(data)
    over = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(data, "little") ^ int.from_bytes(over, "little")).to_bytes(length, "little")


def http_url(url: str) -> str:
    """Return the http(s) address behind a ws(s) one; others stay as they are."""
    scheme, mark, rest = url.partition("://")
    return {"ws": "http", "wss": "https"}.get(scheme.strip().lower(), scheme) + mark + rest


def new_key(secret: Secret) -> str:
    """Return a nonce for the request."""
    return base64.b64encode(secret(16)).decode()


def request_headers(key: str, protocols: Sequence[str]) -> list[tuple[str, str]]:
    """Return the headers that ask for the switch."""
    headers = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
    headers.append(("Sec-WebSocket-Key", key))
    if protocols:
        headers.append(("Sec-WebSocket-Protocol", ", ".join(protocols)))
    return headers


def check(wire: Wire, key: str, protocols: Sequence[str]) -> None:
    """Raise what it means if the server did not switch, or not as it was asked to."""
    if not wire.upgraded:
        said = f"{wire.name} answered {wire.status} instead of opening a WebSocket"
        if wire.status in {401, 403}:
            raise AuthExpired(said)
        raise Transient(said) if wire.status in _TRY_LATER else Permanent(said)
    wanted = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    protocol = value_of(wire.headers, b"sec-websocket-protocol")
    if value_of(wire.headers, b"sec-websocket-accept") != wanted:
        raise Permanent(f"{wire.name} does not speak WebSocket: it did not confirm the key")
    if protocol is not None and protocol.decode("latin-1") not in protocols:
        raise Permanent(f"{wire.name} chose a protocol that was not offered")
    if value_of(wire.headers, b"sec-websocket-extensions"):
        raise Permanent(f"{wire.name} chose an extension that was not offered")
