"""How often may somebody try a password? Ten times in a quarter of an hour, then once in thirty seconds.

Counted per account and per address, before the password is looked at, so that many tries at once count as many. Tries
from the machine itself are counted apart: whoever floods the login from outside cannot lock its owner out there.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from areabox.clock import Clock
from areabox.errors import AreaboxError

TRIES = 10
WINDOW_S = 900.0
THEN_EVERY_S = 30.0
KEPT_MAX = 10_000


class TooManyTriesError(AreaboxError):
    """Too many wrong passwords; try again after `retry_after_s`."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"too many tries; wait {max(1, round(retry_after_s))} seconds")
        self.retry_after_s = retry_after_s


class Throttle:
    """The tries of the last quarter of an hour, in memory; the longest quiet make room."""

    def __init__(self, clock: Clock, *, on: bool = True) -> None:
        self._clock, self._on = clock, on
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    def take(self, email: str, address: str) -> None:
        """Count a try; raises `TooManyTriesError` if it comes too soon, and then it does not count."""
        if not self._on:
            return
        now = self._clock.monotonic_s()
        keys = _keys(email, address)
        wait_s = max(self._wait_s(key, now) for key in keys)
        if wait_s > 0:
            raise TooManyTriesError(wait_s)
        for key in keys:
            self._tries.setdefault(key, []).append(now)
            self._tries.move_to_end(key)
        while len(self._tries) > KEPT_MAX:
            self._tries.popitem(last=False)

    def forgive(self, email: str, address: str) -> None:
        """Forget the tries of an account at an address: the password was right."""
        for key in _keys(email, address):
            self._tries.pop(key, None)

    def _wait_s(self, key: str, now: float) -> float:
        tries = self._tries.get(key)
        if tries is None:
            return 0.0
        tries[:] = [at for at in tries if now - at < WINDOW_S]
        if len(tries) < TRIES:
            return 0.0
        return tries[-1] + THEN_EVERY_S - now


def network_of(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 that one household has of IPv6."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return address if parsed is None else str(parsed)


def _keys(email: str, address: str) -> tuple[str, str]:
    parsed = _parsed(address)
    place = "here" if parsed is None or parsed.is_loopback else "there"  # a unix socket has no address
    return f"account:{place}:{email}", f"peer:{network_of(address)}"


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
