"""The stream: what happens, as it happens."""

from __future__ import annotations

import msgspec

from areabox.gateway.routes import Answer, Ask, Route, get


class Topics(msgspec.Struct, frozen=True):
    """Which topics, with commas between: run, step, event, area, connection, notice; default all that I may see.

    `after` is the id of an event to go on from, for clients that cannot send `Last-Event-ID`.
    """

    topics: str = ""
    after: str = ""


async def watch(ask: Ask, query: Topics) -> Answer:
    """Watch what happens as server-sent events; `Last-Event-ID` goes on from there."""
    topics = frozenset(topic for part in query.topics.split(",") if (topic := part.strip()))
    stream = ask.live.watch(ask.actor, topics, ask.headers.get("last-event-id") or query.after)
    return Answer(value=stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


ROUTES: tuple[Route, ...] = (get("/api/v1/stream", watch, "me:read", answer=str, media_types=("text/event-stream",)),)
