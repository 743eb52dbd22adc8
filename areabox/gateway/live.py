"""What happens, as it happens: server-sent events, of which a client that comes back gets what it missed.

    id: 0k3…-17
    event: run
    data: {"topic": "run", "id": "01k…", "area": "kernel-news", "state": "done"}

The last events are kept in memory. Where a client's `Last-Event-ID` is no longer, or not, among them it is told
`resync`, and reads again what it shows. `bye` comes before the daemon stops.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import msgspec

from areabox.clock import Clock
from areabox.database import Backend, Message
from areabox.gateway.problems import RefusedError
from areabox.users.policy import Actor

TOPICS: Final = {
    "run": "runs:read",
    "step": "runs:read",
    "event": "events:read",
    "area": "areas:read",
    "connection": "connections:read",
    "notice": "notices:read",
}
KEPT, BACKLOG, WATCHERS_MAX = 1_000, 500, 200
SILENCE_S: Final = 15.0  # a comment after so long, so that proxies keep the connection
LASTS_S: Final = 3600.0  # then the client comes back, and its rights are looked at again
RETRY_MS: Final = 2_000


class _Told(NamedTuple):
    seq: int
    message: Message


class _Watcher:
    """One client; when it is too slow it loses the oldest."""

    def __init__(self, owner: str, topics: frozenset[str]) -> None:
        self.owner, self.topics = owner, topics
        self.backlog: deque[_Told] = deque(maxlen=BACKLOG)
        self.ready = asyncio.Event()

    def wants(self, message: Message) -> bool:
        return message.topic in self.topics and message.body.get("owner") == self.owner

    def put(self, told: _Told) -> None:
        if self.wants(told.message):
            self.backlog.append(told)
            self.ready.set()


class Live:
    """All clients that watch, and the last events of this process."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend, self._clock = backend, clock
        self._epoch = clock.new_id()[:14]
        self._seq = 0
        self._kept: deque[_Told] = deque(maxlen=KEPT)
        self._watchers: set[_Watcher] = set()
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    def open(self) -> None:
        """Begin to keep events; the first client does it, too."""
        if self._pump is None and not self._closed:
            self._pump = asyncio.create_task(self._take_all(self._backend.subscribe(*TOPICS)), name="live")

    async def close(self) -> None:
        """Say good-bye to all clients."""
        self._closed = True
        for watcher in self._watchers:
            watcher.ready.set()
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
            self._pump = None

    async def _take_all(self, messages: AsyncIterator[Message]) -> None:
        async for message in messages:
            self._seq += 1
            told = _Told(self._seq, message)
            self._kept.append(told)
            for watcher in self._watchers:
                watcher.put(told)

    def position(self) -> str:
        """Return the id of the last event, from which a page that is read now can go on."""
        self.open()
        return f"{self._epoch}-{self._seq}"

    def watch(self, actor: Actor, topics: frozenset[str], last_id: str) -> AsyncIterator[bytes]:
        """Return the stream of an actor's events; raises `RefusedError` (503) where too many watch already."""
        if self._closed or len(self._watchers) >= WATCHERS_MAX:
            raise RefusedError(503, "too many clients watch already", {"retry-after": "10"})
        self.open()
        allowed = frozenset(topic for topic in topics or TOPICS if topic in TOPICS and actor.allows(TOPICS[topic]))
        watcher = _Watcher(actor.owner, allowed)
        missed = self._missed(last_id)
        for told in missed or ():
            watcher.put(told)
        self._watchers.add(watcher)
        return self._stream(watcher, resync=missed is None)

    def _missed(self, last_id: str) -> list[_Told] | None:
        """Return what came after an id; None if that is not known any more."""
        if not last_id:
            return []
        epoch, _, number = last_id.partition("-")
        if epoch != self._epoch or not number.isdecimal():
            return None
        seq = int(number)
        if seq > self._seq or (seq < self._seq and (not self._kept or self._kept[0].seq > seq + 1)):
            return None
        return [told for told in self._kept if told.seq > seq]

    async def _stream(self, watcher: _Watcher, *, resync: bool) -> AsyncIterator[bytes]:
        until = self._clock.monotonic_s() + LASTS_S
        try:
            yield f"retry: {RETRY_MS}\n: areabox\n\n".encode()
            if resync:
                yield self._line("resync", self._seq, {"topic": "resync"})
            while not self._closed and self._clock.monotonic_s() < until:
                try:
                    async with asyncio.timeout(SILENCE_S):
                        await watcher.ready.wait()
                except TimeoutError:
                    yield b": still here\n\n"
                watcher.ready.clear()
                while watcher.backlog:
                    told = watcher.backlog.popleft()
                    yield self._event(told)
            yield self._line("bye", self._seq, {"topic": "bye"})
        finally:
            self._watchers.discard(watcher)

    def _event(self, told: _Told) -> bytes:
        topic, body = told.message
        shown = {name: value for name, value in body.items() if name != "owner"}
        return self._line(topic, told.seq, {"topic": topic, **shown})

    def _line(self, event: str, seq: int, body: dict[str, object]) -> bytes:
        return b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (
            self._epoch.encode(), seq, event.encode(), msgspec.json.encode(body),
        )  # fmt: skip
