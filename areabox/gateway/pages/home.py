"""Home: what needs somebody, the last day, the areas and the last runs."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from areabox.clock import encode_id
from areabox.gateway.api.system import numbers
from areabox.gateway.pages.rendering import render
from areabox.gateway.pages.sentences import sentence
from areabox.gateway.parts import Parts
from areabox.gateway.routes import Answer, Ask, Route, get, rfc3339

RUNS, AREAS, RECENT, BARS = 20, 200, 200, 20
NOTICES, SHOWN = 100, 5
_SIGN: Final = {"run_failed": "failed", "source_failing": "failed", "connection_dead": "dead", "ask": "held"}
HOUR_MS: Final = 3_600_000
HOURS: Final = 24
_BY_HOUR: Final = """
select started / 3600000 as hour, state, count(*) as count from run where owner = ? and id >= ?
 group by started / 3600000, state
"""


class Hour(msgspec.Struct, frozen=True):
    """How the runs of an hour ended, and how high their bars stand."""

    done: int = 0
    failed: int = 0
    other: int = 0

    @property
    def total(self) -> int:
        """Return how many there were."""
        return self.done + self.failed + self.other


async def show(ask: Ask) -> Answer:
    """Show the home page."""
    actor, parts, since = ask.actor, ask.parts, ask.live.position()
    areas = await parts.areas.list(actor, limit=AREAS) if actor.allows("areas:read") else []
    recent = await parts.runs.list(actor, limit=RECENT) if actor.allows("runs:read") else []
    hours = await _hours(parts, actor.owner)
    return render(
        ask,
        "home",
        since=since,
        numbers=await numbers(parts, actor.owner),
        needs=await _needs(ask),
        hours=hours,
        top=max((hour.total for hour in hours), default=0) or 1,
        areas=[_row(area, recent, parts) for area in areas],
        runs=recent[:RUNS],
        names={area["area"]: area.get("name") or area["area"] for area in areas},
    )


async def _hours(parts: Parts, owner: str) -> list[Hour]:
    now = parts.clock.now_ms() // HOUR_MS
    first = now - HOURS + 1
    rows = await parts.backend.read(_BY_HOUR, owner, encode_id(first * HOUR_MS << 80))
    counts: dict[int, dict[str, int]] = {}
    for hour, state, count in rows:
        kind = state if state in ("done", "failed") else "failed" if state == "uncertain" else "other"
        found = counts.setdefault(hour, {})
        found[kind] = found.get(kind, 0) + count
    return [Hour(**counts.get(hour, {})) for hour in range(first, now + 1)]


async def _needs(ask: Ask) -> list[dict[str, str]]:
    """Return what waits for a person: dead connections, uncertain and held runs, questions."""
    actor, parts = ask.actor, ask.parts
    found: list[dict[str, str]] = []
    if actor.allows("connections:read"):
        for connection in await parts.connections.list(actor.owner, limit=AREAS):
            if connection.state == "dead":
                text = f"{connection.name} does not work: {connection.error or 'refused'}"
                found.append(
                    {"sign": "dead", "text": text, "link": "", "at": rfc3339(connection.checked) or "", "ids": ""}
                )
    if actor.allows("runs:read"):
        for state in ("uncertain", "held"):
            for run in await parts.runs.list(actor, state=state, limit=5):
                text = f"{run['area']} is {state}: {run['reason'] or 'look at its steps'}"
                found.append(
                    {"sign": state, "text": text, "link": f"/runs/{run['id']}", "at": run["started"], "ids": ""}
                )
    return found + _notices(await parts.notices.list(actor.owner, unseen=True, limit=NOTICES))


def _notices(notices: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return notices, newest first, those of the same title as one."""
    by_title: dict[str, list[dict[str, Any]]] = {}
    for notice in notices:
        by_title.setdefault(notice["title"], []).append(notice)
    return [
        {
            "sign": _SIGN.get(same[0]["kind"], "new"),
            "text": title if len(same) == 1 else f"{title}, {len(same)} times",
            "link": same[0]["link"],
            "at": rfc3339(same[0]["at"]) or "",
            "ids": ",".join(notice["id"] for notice in same),
        }
        for title, same in by_title.items()
    ][:SHOWN]


def _row(area: dict[str, Any], recent: list[dict[str, Any]], parts: Parts) -> dict[str, Any]:
    runs = [run for run in recent if run["area"] == area["area"]]
    upcoming = sorted(entry["next"] for entry in area["subscriptions"] if entry["next"])
    return {
        "id": area["area"],
        "name": area.get("name") or area["area"],
        "state": area["state"],
        "sentence": sentence(area, parts.catalogue),
        "last": runs[0] if runs else None,
        "bars": [run["state"] for run in reversed(runs[:BARS])],
        "next": upcoming[0] if upcoming else None,
        "error": next((entry["error"] for entry in area["subscriptions"] if entry.get("error")), ""),
    }


ROUTES: tuple[Route, ...] = (get("/", show, "me:read", page=True),)
