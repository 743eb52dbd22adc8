"""The audit log: who changed what, from where, and whether the log is whole."""

from __future__ import annotations

from typing import Any

from areabox.gateway.routes import Ask, Listing, Page, Route, get, page, rfc3339
from areabox.gateway.shapes import AuditCheck, AuditView


async def list_(ask: Ask, query: Listing) -> Page[Any]:
    """List entries, newest first."""
    found = await ask.parts.audit.list(limit=query.count, after=query.after)
    items = [
        {
            "id": entry.id,
            "at": rfc3339(entry.at),
            "actor": entry.actor,
            "address": entry.address,
            "verb": entry.verb,
            "object": entry.object,
            "detail": entry.detail,
        }
        for entry in found
    ]
    return page(items, query)


async def check(ask: Ask) -> dict[str, Any]:
    """Check that every entry follows from the one before; `broken` names the first that does not."""
    broken = await ask.parts.audit.verify()
    return {"ok": broken is None, "broken": broken}


ROUTES: tuple[Route, ...] = (
    get("/api/v1/audit", list_, "audit:read", answer=Page[AuditView]),
    get("/api/v1/audit/check", check, "audit:read", answer=AuditCheck),
)
