"""How much may a client send before it has asked for anything? HTTP as uvicorn speaks it, with a bound on heads.

The parser keeps a head for as long as it is not at its end, and a body's frames (chunk sizes, trailers) are nobody's
either. What comes beside bodies is counted here; who sends more than the bound is told 431 and hung up on, and so is
who goes on sending long after the answer.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_MAX_BYTES = 64 * 1024  # beyond the piece that it begins in, which the loop bounds
UNHEARD_MAX_BYTES = 1 << 20  # of a body whose request is answered already: enough to finish an honest one
_FRAMING_FACTOR = 8  # a chunk of one byte takes six
_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/problem+json\r\nConnection: close\r\n"
    b"Content-Length: 84\r\n\r\n"
    b'{"title":"Request Header Fields Too Large","status":431,"detail":"that is too much"}'
)


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

    def on_message_complete(self) -> None:
        """It is whole."""
        super().on_message_complete()
        self._open = False
