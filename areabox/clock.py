"""The only place that asks the machine for time, ids and randomness, so that a test or a simulation can hold them.

Everything that needs one of them takes a `Clock`. `now_ms` is wall time, for what is stored and shown; `monotonic_s` is
for measuring and for deadlines, since a wall clock jumps.
"""

from __future__ import annotations

import random
import secrets
import time
from typing import Protocol

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, in lower case
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]  # ten bits each
_SHIFTS = range(120, -1, -10)
_LETTERS = (_ALPHABET * 8).encode()  # a random byte as one of 32 characters, each as likely
_COUNT_MAX = len(_PAIRS) ** 2


class Clock(Protocol):
    """What areabox knows of the machine's time and chance."""

    def now_ms(self) -> int:
        """Return wall time in UTC milliseconds since 1970."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that never go back."""
        ...

    def new_id(self) -> str:
        """Return a new id of 26 characters that sorts by the time of its making."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """Return a random number for jitter; not for secrets."""
        ...

    def secret(self, length_bytes: int) -> bytes:
        """Return unguessable bytes."""
        ...


class SystemClock:
    """The machine's own time and randomness."""

    def __init__(self) -> None:
        self._last_ms = self._count = 0
        self._head = ""

    def now_ms(self) -> int:
        """Return wall time in UTC milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def new_id(self) -> str:
        """Return an id as ULIDs are (48 bits of milliseconds, 80 more), later than any this clock gave before.

        Those of one millisecond share 60 random bits and are counted in the last 20.
        """
        now = self.now_ms()
        if now > self._last_ms or self._count == _COUNT_MAX:
            self._last_ms = max(now, self._last_ms + 1)
            chance = secrets.token_bytes(12).translate(_LETTERS).decode()
            self._head, self._count = encode_id(self._last_ms << 80)[:10] + chance, 0
        count = self._count
        self._count = count + 1
        return self._head + _PAIRS[count >> 10] + _PAIRS[count & 1023]

    def uniform(self, low: float, high: float) -> float:
        """Return a random number for jitter; not for secrets."""
        return random.uniform(low, high)  # noqa: S311 -- jitter, not a secret

    def secret(self, length_bytes: int) -> bytes:
        """Return unguessable bytes."""
        return secrets.token_bytes(length_bytes)


def encode_id(value: int) -> str:
    """Return 128 bits as 26 sortable characters."""
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in _SHIFTS])
