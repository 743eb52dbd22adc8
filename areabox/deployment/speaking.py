"""How much may a client send before it has asked for anything? HTTP as uvicorn speaks it, with a bound on heads.

The parser keeps a head for as long as it is not at its end, and a body's frames (chunk sizes, trailers) are nobody's
either. What comes beside bodies is counted here; who sends more than the bound is told 431 and hung up on, and so is
who goes on sending long after the answer.

What the application answers *straight* (webhooks: a small body in, a small one out) is called once the body is there,
with what it says written in one piece; this costs a third of what ASGI's events do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_MAX_BYTES = 64 * 1024  # beyond the piece that it begins in, which the loop bounds
UNHEARD_MAX_BYTES = 1 << 20  # of a body whose request is answered already: enough to finish an honest one
_FRAMING_FACTOR = 8  # a chunk of one byte takes six
STRAIGHT_MAX_BYTES = 64 * 1024  # larger bodies are read piece by piece, with back-pressure
_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/problem+json\r\nConnection: close\r\n"
    b"Content-Length: 84\r\n\r\n"
    b'{"title":"Request Header Fields Too Large","status":431,"detail":"that is too much"}'
)

Answer = Callable[[Any, bytes], Awaitable[tuple[int, list[tuple[bytes, bytes]], bytes]]]


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _begun = 0  # messages so far
    _open = False  # one of them is not at its end yet
    _beside = 0  # bytes of it that are no body, less what its body allows
    _unheard = 0  # bytes that came after it was answered

    def data_received(self, data: bytes) -> None:
        """Take what comes, unless it is too much."""
        begun = self._begun
        super().data_received(data)
        if not self._open or self._begun != begun:
            return
        self._beside += len(data)
        if self._beside > HEAD_MAX_BYTES:
            self._hang_up(_REFUSAL if self.cycle is None or self.cycle.response_complete else b"")
        elif self.cycle is not None and self.cycle.response_complete:
            self._unheard += len(data)
            if self._unheard > UNHEARD_MAX_BYTES:
                self._hang_up(b"")

    def _hang_up(self, last_words: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(last_words)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._begun, self._open, self._beside, self._unheard = self._begun + 1, True, 0, 0

    def on_body(self, body: bytes) -> None:
        """A body has limits of its own."""
        super().on_body(body)
        self._beside -= (1 + _FRAMING_FACTOR) * len(body)

    def on_headers_complete(self) -> None:
        """Know what is asked for; what the application answers straight needs no cycle of ASGI events."""
        if self.url.startswith(b"/hooks/") and (answer := self._straight()) is not None:
            parsed = httptools.parse_url(self.url)
            self.scope["method"] = self.parser.get_method().decode("ascii")
            self.scope["path"] = parsed.path.decode("ascii")
            self.scope["raw_path"] = parsed.path
            self.scope["query_string"] = parsed.query or b""
            self.cycle = Straight(self, answer)  # type: ignore[assignment]  # it has what is looked at of a cycle
        else:
            super().on_headers_complete()

    def _straight(self) -> Answer | None:
        """Return what answers this request without ASGI, if it is alone on its connection and its body is small."""
        given: dict[str, Answer] = getattr(self.app, "straight", {})
        alone = self.cycle is None or self.cycle.response_complete
        if not given or not alone or self.expect_100_continue or b"%" in self.url or self.parser.should_upgrade():
            return None
        length = [value for name, value in self.headers if name in (b"content-length", b"transfer-encoding")]
        if len(length) != 1 or not length[0].isdigit() or int(length[0]) > STRAIGHT_MAX_BYTES:
            return None
        return given.get("/hooks/")

    def on_message_complete(self) -> None:
        """It is whole."""
        super().on_message_complete()
        self._open = False


class Straight:
    """One request and its answer, in the place of uvicorn's cycle, of which it has what the connection looks at."""

    def __init__(self, connection: BoundedProtocol, answer: Answer) -> None:
        self._connection, self._answer, self._scope = connection, answer, connection.scope
        self.keep_alive = connection.parser.get_http_version() != "1.0" and connection.parser.should_keep_alive()
        self.body = bytearray()
        self.more_body = True
        self.response_complete = self.disconnected = self._begun = False
        self.message_event = self

    def set(self) -> None:
        """Hear that there is more: begin once it was all."""
        if not self.more_body and not self.disconnected and not self._begun:
            self._begun = True
            task = self._connection.loop.create_task(self._run())
            self._connection.tasks.add(task)  # a stop waits for it
            task.add_done_callback(self._connection.tasks.discard)

    async def _run(self) -> None:
        status, headers, content = await self._answer(self._scope, bytes(self.body))
        self.response_complete = True
        if self.disconnected:
            return
        lines = [STATUS_LINE[status]]
        for name, value in (*self._connection.server_state.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        lines += (b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n",)
        if self._scope["method"] != "HEAD":  # whose answer has no body (RFC 9110, 9.3.2)
            lines.append(content)
        self._connection.transport.write(b"".join(lines))
        if not self.keep_alive:
            self._connection.transport.close()
        self._connection.on_response_complete()
