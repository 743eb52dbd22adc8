"""What other machines ask for: who we are, whether we work, metrics, and the description of this API."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import msgspec

from areabox.gateway.api.system import probe, views
from areabox.gateway.routes import Answer, Ask, Route, get
from areabox.gateway.shapes import ReadyView
from areabox.users.policy import PUBLIC

if TYPE_CHECKING:
    from collections.abc import Iterable

    from areabox.services.operations import Operation


async def about(ask: Ask) -> dict[str, Any]:
    """Say who asks, what time it is, and which services there are."""
    await ask.parts.catalogue.settle()
    services = [
        {
            "name": service.id,
            "actions": _descriptions(service.actions.items()),
            "reactions": _descriptions(service.reactions.items()),
        }
        for service in ask.parts.catalogue.services()
    ]
    host = "127.0.0.1" if ask.peer.local else ask.peer.address
    now = ask.parts.clock.now_ms() // 1000
    return {"client": {"host": host}, "server": {"current_time": now, "services": services}}


def _descriptions(operations: Iterable[tuple[str, Operation]]) -> list[dict[str, str]]:
    return [{"name": name, "description": operation.help or operation.title} for name, operation in operations]


async def ready(ask: Ask) -> Answer:
    """Say whether areabox can take work: 200, or 503; which part cannot is told on this machine only."""
    probes = await probe(ask.parts)
    works = all(found.ok for found in probes.values())
    answer: dict[str, Any] = {"status": "ready" if works else "not ready"}
    if ask.peer.loopback:
        answer["probes"] = views(probes)
    return Answer(value=msgspec.json.encode(answer), status=200 if works else 503)


async def metrics(ask: Ask) -> Answer:
    """Show metrics for Prometheus."""
    text, media_type = ask.parts.metrics()
    return Answer(value=text, media_type=media_type)


async def openapi(ask: Ask) -> Answer:
    """Show the description of this API (OpenAPI 3.1)."""
    return Answer(value=_document(ask.parts.site.version), headers={"cache-control": "max-age=60"})


@functools.lru_cache(maxsize=1)
def _document(version: str) -> bytes:
    from areabox.gateway import http, openapi

    return msgspec.json.encode(openapi.document(http.routes(), version))


ROUTES: tuple[Route, ...] = (
    get("/about.json", about, PUBLIC, answer=dict[str, Any]),
    get("/ready", ready, PUBLIC, answer=ReadyView),
    get("/metrics", metrics, "system:read", loopback=True, answer=str, media_types=("text/plain",)),
    get("/api/openapi.json", openapi, "me:read", loopback=True, answer=dict[str, Any]),
)
