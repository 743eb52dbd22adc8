"""An area's page: what it does in words, what it listens to, its last runs, its YAML."""

from __future__ import annotations

from areabox.gateway.pages.rendering import render
from areabox.gateway.pages.sentences import outline, sentence, triggers
from areabox.gateway.routes import Answer, Ask, Route, get

RUNS = 20


async def show(ask: Ask, area: str) -> Answer:
    """Show an area."""
    actor, parts, since = ask.actor, ask.parts, ask.live.position()
    found = await parts.areas.get(actor, area)
    [(_, yaml)] = await parts.areas.export(actor, [area])
    runs = await parts.runs.list(actor, area=area, limit=RUNS) if actor.allows("runs:read") else []
    return render(
        ask,
        "area",
        since=since,
        area=found,
        name=found.get("name") or area,
        sentence=sentence(found, parts.catalogue),
        triggers=triggers(found, parts.catalogue),
        steps=outline(found.get("then", []), parts.catalogue),
        yaml=yaml,
        runs=runs,
        names=None,
    )


ROUTES: tuple[Route, ...] = (get("/areas/{area}", show, "areas:read", page=True),)
