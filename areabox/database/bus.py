"""Who is told of what happened? Whoever watches a topic in this process; a slow watcher loses the oldest messages."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from weakref import WeakSet, ref

from areabox.database import Message

BACKLOG = 1_000


class Watch(AsyncIterator[Message]):
    """The messages of some topics from the moment this was made; it ends by being closed or forgotten."""

    def __init__(self, bus: Bus, topics: Iterable[str], backlog: int) -> None:
        self._bus, self._topics = bus, frozenset(topics)
        self._backlog: deque[Message] = deque(maxlen=backlog)
        self._ready = asyncio.Event()
        self._closed = False

    def put(self, message: Message) -> None:
        """Take a message in."""
        self._backlog.append(message)
        self._ready.set()

    def wants(self, topic: str) -> bool:
        """Tell whether a topic is watched; no topics means all."""
        return not self._topics or topic in self._topics

    async def __anext__(self) -> Message:
        while not self._backlog:
            if self._closed:
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._backlog.popleft()

    async def aclose(self) -> None:
        """Watch no more; whoever waits for the next message is told that there is none."""
        self._closed = True
        self._bus.drop(self)
        self._ready.set()


def _nobody() -> None:
    return None


class Bus:
    """All watchers of one process."""

    def __init__(self, backlog: int = BACKLOG) -> None:
        self._watches: WeakSet[Watch] = WeakSet()
        self._by_topic: dict[str, tuple[Callable[[], Watch | None], ...]] = {}
        self._backlog = backlog

    def watch(self, *topics: str) -> Watch:
        """Watch topics from now on."""
        watch = Watch(self, topics, self._backlog)
        self._watches.add(watch)
        self._by_topic.clear()
        return watch

    @property
    def watched(self) -> bool:
        """Return whether anybody would be told."""
        return bool(self._watches)

    def drop(self, watch: Watch) -> None:
        """Forget a watcher."""
        self._watches.discard(watch)
        self._by_topic.clear()

    def tell(self, messages: Iterable[Message]) -> None:
        """Hand messages to whoever watches."""
        if not self._watches:  # most of the time nobody looks
            return
        for message in messages:
            for found in self._by_topic.get(message.topic) or self._find(message.topic):
                if (watch := found()) is not None:
                    watch.put(message)

    def _find(self, topic: str) -> tuple[ref[Watch], ...]:
        found = tuple(ref(watch) for watch in self._watches if watch.wants(topic))
        self._by_topic[topic] = found or (_nobody,)
        return found
