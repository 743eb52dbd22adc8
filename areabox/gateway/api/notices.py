"""Notices: what areabox tells its own user."""

from __future__ import annotations

from typing import Any

from areabox.gateway.routes import Answer, Ask, Listing, Page, Route, get, page, post, rfc3339
from areabox.gateway.shapes import NoticeView


class Search(Listing, frozen=True, kw_only=True):
    """Which notices: all, or those that nobody has seen."""

    unseen: bool = False


async def list_(ask: Ask, query: Search) -> Page[Any]:
    """List notices, newest first."""
    found = await ask.parts.notices.list(ask.actor.owner, unseen=query.unseen, limit=query.count, after=query.after)
    return page([view(notice) for notice in found], query)


async def see(ask: Ask, id: str) -> Answer:
    """Mark a notice as seen."""
    await ask.parts.notices.see(ask.actor.owner, id)
    return Answer()


def view(notice: dict[str, Any]) -> dict[str, Any]:
    """Return a notice as the API shows it."""
    shown = {name: value for name, value in notice.items() if name != "owner"}
    return shown | {"at": rfc3339(notice["at"]), "seen": rfc3339(notice["seen"])}


ROUTES: tuple[Route, ...] = (
    get("/api/v1/notices", list_, "notices:read", answer=Page[NoticeView]),
    post("/api/v1/notices/{id}/seen", see, "notices:write", recorded=False),
)
