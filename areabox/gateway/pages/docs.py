"""The description of the API as a page: made of the OpenAPI document, with nothing from elsewhere."""

from __future__ import annotations

from typing import Any

from areabox.gateway.pages.rendering import render
from areabox.gateway.routes import Answer, Ask, Route, get


async def show(ask: Ask) -> Answer:
    """Show the description of the API."""
    from areabox.gateway import http, openapi

    document = openapi.document(http.routes(), ask.parts.site.version)
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append({"method": method.upper(), "path": path, **operation})
    return render(ask, "docs", info=document["info"], groups=groups, schemas=document["components"]["schemas"])


ROUTES: tuple[Route, ...] = (get("/api/docs", show, "me:read", page=True, loopback=True),)
