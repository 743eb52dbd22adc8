"""When may the next request to a host go out? Slots per host and in all, the host's own Retry-After, and a breaker.

A host is a name with its port. Whoever waits is served in order, and hosts take turns.

    slots          4 per host and 32 in all; a host has one in any case, so that those that hang hold nobody up
    Retry-After    of a 429 or 503: everybody who uses this host waits, up to 24 h
    breaker        5 times in a row no answer: nobody asks for 5 s (then 10, … 60), then one request tries alone
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from email.utils import parsedate_to_datetime

from areabox.clock import Clock
from areabox.errors import RateLimited

PER_HOST = 4
IN_ALL = 32
RETRY_AFTER_MAX_S = 24 * 3600.0
BREAKER_FAILURES = 5
BREAKER_FIRST_S = 5.0
BREAKER_MAX_S = 60.0
_EARLY_S = 0.25  # who comes back when it was told to may be early by the rounding of two clocks
_HOSTS_KEPT = 10_000


class HostPaused(RateLimited):
    """Not even tried: the host asked for a pause, or has not answered for some time."""


class _Host:
    __slots__ = ("failures", "paused_until_s", "running", "waiting", "why")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.paused_until_s = 0.0
        self.why = ""
        self.failures = 0

    def idle(self, now_s: float) -> bool:
        return not (self.running or self.waiting) and self.paused_until_s <= now_s


class Limits:
    """The slots and pauses of all hosts; `off` lifts the slots and the breaker, never what a host itself asked for."""

    def __init__(self, clock: Clock, *, off: bool = False, per_host: int = PER_HOST, in_all: int = IN_ALL) -> None:
        self._clock = clock
        self._off = off
        self._per_host = per_host
        self._in_all = in_all
        self._hosts: dict[str, _Host] = {}
        self._queue: dict[str, _Host] = {}  # hosts that somebody waits for, in the order of their turns
        self.running = 0

    async def enter(self, name: str) -> None:
        """Take a slot for a host, waiting for one if need be; raises `HostPaused`."""
        host = self._hosts.get(name)
        if host is None:
            host = self._new_host(name)
        if host.paused_until_s:
            self._check_pause(name, host)
        if self._off or (not host.waiting and self._has_room(host)):
            host.running += 1
            self.running += 1
            return
        await self._wait(name, host)

    def leave(self, name: str) -> None:
        """Give the slot back, and let the next one in."""
        host = self._hosts[name]
        host.running -= 1
        self.running -= 1
        if self._queue:
            self._admit()

    def succeeded(self, name: str) -> None:
        """Note that the host answered, whatever it said."""
        host = self._hosts.get(name)
        if host is not None and host.failures:
            host.failures = 0
            self._admit()

    def failed(self, name: str, why: str) -> None:
        """Note that no answer came; many in a row open the breaker."""
        host = self._hosts.get(name) or self._new_host(name)
        host.failures += 1
        if host.failures >= BREAKER_FAILURES and not self._off:
            pause_s = min(BREAKER_FIRST_S * 2.0 ** min(host.failures - BREAKER_FAILURES, 10), BREAKER_MAX_S)
            self._pause(name, host, pause_s, f"did not answer {host.failures} times in a row: {why}")

    def pause(self, name: str, seconds: float) -> None:
        """Let nobody ask this host for some time, because it said so."""
        host = self._hosts.get(name) or self._new_host(name)
        self._pause(name, host, min(seconds, RETRY_AFTER_MAX_S), "asked for a pause")

    def _pause(self, name: str, host: _Host, seconds: float, why: str) -> None:
        until_s = self._clock.monotonic_s() + seconds
        if until_s <= host.paused_until_s:
            return
        host.paused_until_s, host.why = until_s, why
        for waiter in host.waiting:
            if not waiter.done():
                waiter.set_exception(self._paused(name, host, seconds))
        host.waiting.clear()
        self._queue.pop(name, None)

    def _check_pause(self, name: str, host: _Host) -> None:
        left_s = host.paused_until_s - self._clock.monotonic_s()
        if left_s > _EARLY_S:
            raise self._paused(name, host, left_s)
        host.paused_until_s = 0.0

    @staticmethod
    def _paused(name: str, host: _Host, left_s: float) -> HostPaused:
        return HostPaused(f"{name} {host.why}; it is asked again in {max(1, round(left_s))} s", left_s)

    def _has_room(self, host: _Host) -> bool:
        at_once = 1 if host.failures >= BREAKER_FAILURES else self._per_host
        return host.running < at_once and (self.running < self._in_all or not host.running)

    async def _wait(self, name: str, host: _Host) -> None:
        waiter = asyncio.get_running_loop().create_future()
        host.waiting.append(waiter)
        self._queue.setdefault(name, host)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.leave(name)  # the slot came at the same moment
            elif waiter in host.waiting:
                host.waiting.remove(waiter)
            raise

    def _admit(self) -> None:
        """Let in whoever has room: one of each host, then the next of each."""
        admitted = 1
        while admitted:
            admitted = sum(self._admit_one(name, host) for name, host in list(self._queue.items()))

    def _admit_one(self, name: str, host: _Host) -> bool:
        while host.waiting and self._has_room(host):
            waiter = host.waiting.popleft()
            if waiter.done():
                continue
            host.running += 1
            self.running += 1
            waiter.set_result(None)
            self._queue[name] = self._queue.pop(name)  # its next one stands behind the other hosts
            return True
        if not host.waiting:
            self._queue.pop(name, None)
        return False

    def _new_host(self, name: str) -> _Host:
        if len(self._hosts) >= _HOSTS_KEPT:
            now_s = self._clock.monotonic_s()
            self._hosts = {key: host for key, host in self._hosts.items() if not host.idle(now_s)}
        host = self._hosts[name] = _Host()
        return host


def parse_retry_after(value: str | None, now_ms: int) -> float | None:
    """Return the seconds that a `Retry-After` header asks for (RFC 9110 §10.2.3: seconds or a date), at most 24 h.

    None if there is none, or if it cannot be read.
    """
    text = (value or "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = _until(text, now_ms)
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S)


def _until(text: str, now_ms: int) -> float:
    try:
        return parsedate_to_datetime(text).timestamp() - now_ms / 1000
    except (ValueError, OverflowError, TypeError, IndexError):
        return float("nan")
