"""One HTTP/1.1 connection: what comes over the wire, and whether it can be used again.

The parser is llhttp (by httptools), strict as it is by default. Everything that the other side sends has a bound: the
head, the number of interim answers, the body, and the framing around it.

A `Wire` carries one exchange at a time. `start` sends a request and returns a future: of the whole answer, or, when
streaming, of its head, after which `read` gives the body piece by piece and holds the sender back if nobody reads. An
exchange that switches to another protocol (`upgrade`) goes on with `read` and `write`.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Callable
from typing import cast

import httptools

from areabox.errors import Transient, Uncertain
from areabox.services.addresses import Address
from areabox.services.bodies import TooLarge, size

HEAD_MAX_BYTES = 1 << 16
_INTERIM_MAX = 16
_SMALL_BYTES = 512
_FRAMING_FACTOR = (2, 8)  # of a whole answer, of a stream; a chunk of one byte has five bytes around it
_HIGH_WATER_BYTES = 1 << 18

Header = tuple[bytes, bytes]

_PATIENCE = re.compile(rb"timeout\s*=\s*(\d{1,6})", re.IGNORECASE)


class NotSent(Transient):
    """Nothing of the request left this machine."""


class NoAnswer(Uncertain):
    """The request was sent, and no whole answer came."""


class Stale(NoAnswer):
    """A kept connection ended before a byte of the answer: most likely the other side had closed it already."""


class _Broken(Exception):  # noqa: N818 -- raised through the parser, never seen outside
    """What was received cannot be an answer."""


class Wire(asyncio.Protocol):
    """One connection to one address; `gone` is called when it cannot be used any more."""

    __slots__ = (
        "_begun", "_buffered", "_complete", "_error", "_fresh", "_gone", "_head_only", "_headed", "_interim", "_keep",
        "_limit", "_loop", "_more", "_parser", "_parts", "_paused", "_poll", "_received", "_room", "_size",
        "_streaming", "_upgrade", "_waiter", "address", "headers", "idle_since_s", "keep_s", "name", "status",
        "transport", "upgraded",
    )  # fmt: skip

    def __init__(self, name: str, address: Address, gone: Callable[[Wire], None]) -> None:
        self.name = name
        self.address = address
        self.transport: asyncio.Transport | None = None
        self.idle_since_s = 0.0
        self.keep_s: float | None = None  # what the server says of its patience
        self._gone = gone
        self._poll: select.poll | None = None  # made once: the socket is the same until the connection ends
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Wire] | None = None
        self._more: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._fresh = True
        self._keep = False
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.upgraded = False
        self._parts: list[bytes | bytearray] = []
        self._begun = self._headed = self._complete = self._paused = False
        self._received = self._size = self._buffered = self._interim = 0
        self._error: Exception | None = None

    # -- what the owner does

    def start(
        self, head: bytes, body: bytes, *, head_only: bool, limit: int | None, streaming: bool, upgrade: bool = False
    ) -> asyncio.Future[Wire]:
        """Send a request; the future gives this wire with `status` and `headers`, or raises `NoAnswer`, `TooLarge`.

        `head_only` for HEAD, `limit` is the largest body in bytes.
        """
        self._reset()
        self._head_only, self._limit, self._streaming, self._upgrade = head_only, limit, streaming, upgrade
        self._waiter = waiter = self._loop.create_future()
        transport = cast("asyncio.Transport", self.transport)
        if transport.is_closing():
            self._fail(self._lost())
        elif len(body) > 1 << 14:
            transport.writelines((head, body))
        else:
            transport.write(head + body)
        return waiter

    def body(self) -> bytes:
        """Return the body of an answer that was not streamed."""
        parts = self._parts
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    async def read(self) -> bytes:
        """Return the next piece of a streamed body, empty at its end; raises `NoAnswer` if it breaks off."""
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self._complete:
                return b""
            self._more = self._loop.create_future()
            await self._more
        data = b"".join(self._parts)
        self._parts.clear()
        self._buffered = 0
        if self._paused and self.transport is not None and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes in the other protocol, and wait while nobody reads them; raises `NoAnswer` if it ended."""
        if self.transport is None or self.transport.is_closing():
            raise self._error or self._lost()
        self.transport.write(data)
        if self._room is not None:
            await asyncio.shield(self._room)

    def finish(self) -> bool:
        """End an exchange: tell whether the connection may carry another one; if not, it is closed."""
        reusable = self._complete and self._keep and self.transport is not None and not self.transport.is_closing()
        self._waiter = None
        self._fresh = False
        if not reusable:
            self.abort()
        self._parts = []
        return reusable

    def abort(self) -> None:
        """Close the connection at once."""
        self._keep = False
        if self.transport is not None:
            self.transport.abort()

    def quiet(self) -> bool:
        """Tell whether an idle connection is still open with nothing to read: an end would be something to read."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._poll.poll(0)

    # -- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and end the exchange if that was all."""
        self._received += len(data)
        self._begun = True
        if self.upgraded:
            self._keep_piece(data)
            self._wake()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as switch:
            self._switched(data[switch.args[0] :])
        except httptools.HttpParserError as error:
            self._parse_failed(error)
        else:
            self._after_feed()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what goes on: an answer without a length ends so, any other is broken off."""
        self._keep = False
        if self._busy():
            if exc is None and self._headed and not self._complete and self._ends_with_connection():
                self._complete = True
                self._deliver()
            else:
                self._fail(self._lost())
        self.resume_writing()
        self._gone(self)

    def pause_writing(self) -> None:
        """Hold back who writes: the other side does not read."""
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let them go on."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    # -- what the parser calls

    def on_message_begin(self) -> None:
        """Begin an answer; one that nobody asked for spoils the connection."""
        if not self._busy() or self._complete:
            raise _Broken("sent an answer that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; those behind the body are of no interest."""
        if not self._headed:
            name = name.lower()
            self.headers.append((name, value))
            if name == b"keep-alive":
                self.keep_s = _patience_s(value)

    def on_headers_complete(self) -> None:
        """Know the status; interim answers are skipped."""
        self.status = self._parser.get_status_code()
        if self.status == 101 and self._upgrade:
            self._headed = True
            return
        if self.status < 200:
            self._interim += 1
            if self._interim > _INTERIM_MAX:
                raise _Broken("sent nothing but interim answers")
            return
        self._headed = True
        if self._head_only:
            self._complete = True  # the parser waits for a body, so that this connection is of no more use
        if self._streaming:
            self._deliver_head()

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body, as long as it is not too large."""
        self._size += len(data)
        if self._limit is not None and self._size > self._limit:
            raise TooLarge(f"{self.name} sent an answer of more than {size(self._limit)}")
        if self._streaming:
            self._keep_piece(data)
        else:
            self._keep_part(data)

    def on_message_complete(self) -> None:
        """Know that the answer is whole."""
        if self.status < 200:
            if not self._headed:
                self.headers.clear()
            return
        self._complete = True
        self._keep = self._parser.should_keep_alive() and not self._head_only

    # -- inside

    def _busy(self) -> bool:
        return self._waiter is not None

    def _keep_part(self, data: bytes) -> None:
        """Keep a part of a body; many small ones in one place, since chunks of a byte cost eight in a list."""
        if len(data) >= _SMALL_BYTES or not self._parts:
            self._parts.append(data)
        elif isinstance(last := self._parts[-1], bytearray):
            last += data
        else:
            self._parts.append(bytearray(data))

    def _keep_piece(self, data: bytes) -> None:
        self._parts.append(data)
        self._buffered += len(data)
        if self._buffered > _HIGH_WATER_BYTES and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()

    def _switched(self, rest: bytes) -> None:
        if not (self._busy() and self._upgrade and self.status == 101):
            self._broken("switches to another protocol, which nobody asked for")
            return
        self.upgraded = True
        if rest:
            self._keep_piece(rest)
        self._deliver()

    def _after_feed(self) -> None:
        if not self._busy():
            self.abort()
        elif self._complete:
            self._deliver()
        elif not self._headed and self._received > HEAD_MAX_BYTES:
            self._broken(f"sent a head of more than {size(HEAD_MAX_BYTES)}")
        elif self._received - self._size > HEAD_MAX_BYTES + _FRAMING_FACTOR[self._streaming] * self._size:
            self._broken("sent more framing than answer")
        elif self._parts and self._more is not None:
            self._wake()

    def _parse_failed(self, error: Exception) -> None:
        cause = error.__context__
        if self._complete and self._busy():  # the answer is whole, what follows it spoils the connection only
            self._keep = False
            self._deliver()
        elif isinstance(cause, TooLarge):
            self._fail(cause)
        else:
            self._broken(str(cause) if isinstance(cause, _Broken) else "sent what is no HTTP answer")

    def _broken(self, what: str) -> None:
        self._fail(NoAnswer(f"{self.name} {what}"))

    def _deliver_head(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self)

    def _deliver(self) -> None:
        self._deliver_head()
        self._wake()

    def _fail(self, error: Exception) -> None:
        self._error = error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.abort()
        self._wake()

    def _wake(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    def _lost(self) -> NoAnswer:
        if not self._begun:
            kind = NoAnswer if self._fresh else Stale
            return kind(f"{self.name} closed the connection without an answer")
        return NoAnswer(f"{self.name} closed the connection in the middle of its answer")

    def _ends_with_connection(self) -> bool:
        names = {name for name, _ in self.headers}
        return b"content-length" not in names and b"transfer-encoding" not in names


def _patience_s(value: bytes) -> float | None:
    """Return how long a server keeps an idle connection, less a second for the way; None if it does not say."""
    found = _PATIENCE.search(value)
    return max(float(found[1]) - 1.0, 0.0) if found else None
