"""Events: what came in, also what no area took and why; send one by hand, give one to areas again."""

from __future__ import annotations

from typing import Any

import msgspec

from areabox.gateway.routes import Answer, Ask, Listing, Page, Route, get, page, post
from areabox.gateway.shapes import EventLine, EventView, Replayed


class Search(Listing, frozen=True, kw_only=True):
    """Which events: those of an action, only those that no area took."""

    action: str = ""
    ignored: bool = False


class NewEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event as if `action` had yielded it."""

    action: str
    payload: dict[str, Any] = {}


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one area that is to take it; none means all that listen."""

    area: str | None = None


async def list_(ask: Ask, query: Search) -> Page[Any]:
    """List events, newest first."""
    found = await ask.parts.events.list(
        ask.actor, action=query.action, ignored=query.ignored, limit=query.count, after=query.after
    )
    return page(found, query)


async def show(ask: Ask, id: str) -> Answer:
    """Show an event with its fields and the runs that it started."""
    return Answer(value=await ask.parts.events.get(ask.actor, id))


async def send(ask: Ask, body: NewEvent) -> Answer:
    """Send an event by hand to every area that listens to its action."""
    id = await ask.parts.events.send(ask.actor, body.action, body.payload)
    event = await ask.parts.events.get(ask.actor, id)
    return Answer(value=event, headers={"location": f"/api/v1/events/{id}"})


async def replay(ask: Ask, id: str, body: Replay) -> Answer:
    """Give an event to areas again: a new run of each."""
    return Answer(value={"event": id, "runs": await ask.parts.events.replay(ask.actor, id, body.area)})


ROUTES: tuple[Route, ...] = (
    get("/api/v1/events", list_, "events:read", answer=Page[EventLine]),
    post("/api/v1/events", send, "events:send", answer=EventView, status=202),
    get("/api/v1/events/{id}", show, "events:read", answer=EventView),
    post("/api/v1/events/{id}/replay", replay, "runs:write", answer=Replayed, status=202, audit="event.replay"),
)
