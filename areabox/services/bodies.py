"""How is a compressed answer opened without letting it explode? With a limit on what comes out, checked as it comes.

Answers are hostile: 1 MiB of gzip can hold 1 GiB. Beyond the first MiB a body may grow to 200 times its size at most
(text hardly passes 20), so that a bomb is refused after a MiB, not after ten.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from areabox.errors import Permanent, Uncertain

ACCEPTED = "gzip, deflate"
RATIO_MAX = 200
_FREE_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
_GZIP = 16 + zlib.MAX_WBITS


class TooLarge(Permanent):
    """The answer is larger than the caller can use."""


class Decoder:
    """Opens the body of one answer piece by piece; `encoding` is its Content-Encoding."""

    def __init__(self, encoding: str, source: str, max_bytes: int | None = None) -> None:
        self._encoding = encoding.strip().lower()
        if self._encoding not in {"gzip", "x-gzip", "deflate"}:
            raise Permanent(f"{source} answered in the encoding {self._encoding[:40]!r}, which nobody asked for")
        self._source = source
        self._max = max_bytes
        self._member = zlib.decompressobj(_GZIP if "gzip" in self._encoding else zlib.MAX_WBITS)
        self._begun = False
        self._read = 0
        self._given = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next piece of the body holds, 64 KiB at a time; raises `TooLarge`, `Uncertain` if broken."""
        for start in range(0, len(data), _PIECE_BYTES):
            yield from self._feed(data[start : start + _PIECE_BYTES])

    def _feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member.eof:
                if self._encoding == "deflate" or not data.startswith(b"\x1f\x8b"):
                    return  # something behind the end, which is of no interest
                self._member = zlib.decompressobj(_GZIP)  # a further member (RFC 1952 §2.2)
            opened = self._open(data)
            rest = self._member.unconsumed_tail or self._member.unused_data
            self._read += len(data) - len(rest)
            self._given += len(opened)
            data = rest
            self._check()
            if opened:
                yield opened

    def end(self) -> None:
        """Check that the body was whole."""
        if self._begun and not self._member.eof:
            raise Uncertain(f"{self._source} sent an answer that is cut off ({self._encoding})")

    def _open(self, data: bytes) -> bytes:
        try:
            opened = self._member.decompress(data, _PIECE_BYTES)
        except zlib.error as error:
            if self._begun or self._encoding != "deflate":
                raise Uncertain(f"{self._source} sent an answer that cannot be opened ({self._encoding})") from error
            self._member = zlib.decompressobj(-zlib.MAX_WBITS)  # some servers leave the zlib wrap out
            self._begun = True
            return self._open(data)
        self._begun = True
        return opened

    def _check(self) -> None:
        if self._max is not None and self._given > self._max:
            raise TooLarge(f"{self._source} sent an answer that holds more than {size(self._max)}")
        if self._given > _FREE_BYTES and self._given > RATIO_MAX * self._read:
            raise TooLarge(f"{self._source} sent an answer that grows to more than {RATIO_MAX} times its size")


def open_body(data: bytes, encoding: str, source: str, max_bytes: int) -> bytes:
    """Return the body of an answer; raises `TooLarge`, `Permanent` for an unknown encoding, `Uncertain` if broken."""
    decoder = Decoder(encoding, source, max_bytes)
    body = b"".join(decoder.feed(data))
    decoder.end()
    return body


def size(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count // (1 << 20)} MiB" if count >= 1 << 20 else f"{count} bytes"
