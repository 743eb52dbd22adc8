"""A run's page: how it went, step by step, with what went in and what came out."""

from __future__ import annotations

from typing import Any

from areabox.errors import NotFoundError
from areabox.gateway.pages.rendering import render
from areabox.gateway.pages.sentences import Line, outline
from areabox.gateway.routes import Answer, Ask, Route, get


async def show(ask: Ask, id: str) -> Answer:
    """Show a run."""
    since = ask.live.position()
    run = await ask.parts.runs.get(ask.actor, id)
    words, name = await _words(ask, run)
    steps = [
        {**step, "text": words.get(step["id"]) or step["kind"], "depth": min(step["path"].count(".") // 2, 4)}
        for step in run["steps"]
    ]
    return render(ask, "run", since=since, run=run, steps=steps, name=name, live=run["ended"] is None)


async def _words(ask: Ask, run: dict[str, Any]) -> tuple[dict[str, str], str]:
    """Return the steps of the run's version in words, and the area's name."""
    try:
        version = await ask.parts.areas.version(ask.actor, run["area"], run["version"])
    except NotFoundError:
        return {}, run["area"]
    document = version["document"]
    return _by_id(outline(document.get("then", []), ask.parts.catalogue)), document.get("name") or run["area"]


def _by_id(lines: list[Line]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        if line.id:
            found[line.id] = line.text
        found |= _by_id(line.below)
    return found


ROUTES: tuple[Route, ...] = (get("/runs/{id}", show, "runs:read", page=True),)
