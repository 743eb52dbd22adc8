"""The audit log's page: who changed what, searched and followed page by page, and whether the log is whole."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from areabox.errors import InputError
from areabox.gateway import bodies
from areabox.gateway.api.audit import Wanted, filter_of, view
from areabox.gateway.pages.rendering import render
from areabox.gateway.routes import Answer, Ask, Route, get

ENTRIES: Final = 50
FIELDS: Final = (
    ("actor", "Who", "owner@example.org"), ("verb", "What", "area, area.create"), ("object", "Of", "kernel-news"),
    ("address", "From", "192.168.1.20"), ("since", "Since", "7d"), ("until", "Until", "1d"), ("q", "Text", ""),
)  # fmt: skip


class Search(Wanted, frozen=True, kw_only=True):
    """Which entries, from where on, and whether to check the whole log."""

    after: str = ""
    check: str = ""


async def show(ask: Ask) -> Answer:
    """Show entries, newest first."""
    query = bodies.query(ask.query_string, Search)
    problem, found = "", []
    try:
        found = await ask.parts.audit.list(filter_of(ask, query), limit=ENTRIES, after=query.after or None)
    except InputError as error:
        problem = str(error)
    given = _given(query)
    return render(
        ask,
        "audit",
        entries=[_line(view(entry)) for entry in found],
        fields=[(name, label, example, getattr(query, name)) for name, label, example in FIELDS],
        problem=problem,
        searched=bool(given),
        more=f"/admin/audit?{urlencode({**given, 'after': found[-1].id})}" if len(found) == ENTRIES else "",
        export=f"/api/v1/audit/export?{urlencode(given)}",
        verdict=await ask.parts.audit.verify() if query.check else None,
    )


def _given(query: Search) -> dict[str, str]:
    """Return what is searched for, as the address of another part of the same search carries it."""
    fields = msgspec.to_builtins(query)
    return {name: value for name, value in fields.items() if value and name not in ("after", "check")}


def _line(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry with its details apart: what became another, and the rest."""
    detail = dict(entry["detail"])
    changes = detail.pop("changes", {})
    return {**entry, "changes": changes, "refused": detail.pop("refused", False), "rest": detail}


ROUTES: tuple[Route, ...] = (get("/admin/audit", show, "audit:read", page=True),)
