"""What many tests share: a clock that stands still until it is moved, and limits that a busy machine keeps."""

from __future__ import annotations

import os

from areabox.clock import encode_id

FULL = os.environ.get("AREABOX_FAULTS") == "full"


def any_machine(limit: float) -> float:
    """Return a limit of time: the goal itself by `make faults`, ten times as much in the suite, which runs on any machine."""
    return limit if FULL else limit * 10


class FakeClock:
    """Time and chance in a test's hand; ids count up, random numbers are the middle."""

    def __init__(self, now_ms: int = 1_767_225_600_000) -> None:  # 2026-01-01T00:00:00Z
        self.now = now_ms
        self.start = now_ms
        self._ids = 0

    def now_ms(self) -> int:
        return self.now

    def monotonic_s(self) -> float:
        return (self.now - self.start) / 1000

    def new_id(self) -> str:
        self._ids += 1
        return encode_id((self.now << 80) | self._ids)

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2

    def secret(self, length_bytes: int) -> bytes:
        self._ids += 1
        return self._ids.to_bytes(length_bytes, "big")

    def advance(self, ms: int) -> None:
        self.now += ms
