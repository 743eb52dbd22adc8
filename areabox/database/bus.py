"""Who is told of what happened? Whoever watches a topic in this process; a slow watcher loses the oldest messages."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable

from areabox.database import Message

BACKLOG = 1_000


class Watch(AsyncIterator[Message]):
    """The messages of some topics from the moment this was made."""

    def __init__(self, bus: Bus, topics: tuple[str, ...]) -> None:
        self._bus, self._topics = bus, frozenset(topics)
        self._backlog: deque[Message] = deque(maxlen=BACKLOG)
        self._ready = asyncio.Event()

    def put(self, message: Message) -> None:
        """Take a message in, if it is of a topic that is watched; no topics means all."""
        if not self._topics or message.topic in self._topics:
            self._backlog.append(message)
            self._ready.set()

    async def __anext__(self) -> Message:
        while not self._backlog:
            self._ready.clear()
            await self._ready.wait()
        return self._backlog.popleft()

    async def aclose(self) -> None:
        """Watch no more."""
        self._bus.drop(self)


class Bus:
    """All watchers of one process."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()

    def watch(self, *topics: str) -> Watch:
        """Watch topics from now on."""
        watch = Watch(self, topics)
        self._watches.add(watch)
        return watch

    def drop(self, watch: Watch) -> None:
        """Forget a watcher."""
        self._watches.discard(watch)

    def tell(self, messages: Iterable[Message]) -> None:
        """Hand messages to whoever watches."""
        if self._watches:
            for message in messages:
                for watch in tuple(self._watches):
                    watch.put(message)
