"""How areabox does: a few numbers for dashboards, and the state of its parts."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import msgspec

from areabox.clock import encode_id
from areabox.gateway import maintenance
from areabox.gateway.parts import Parts, Probe
from areabox.gateway.routes import Ask, Route, get, post
from areabox.gateway.shapes import SummaryView, SystemView

PROBE_TIMEOUT_S: Final = 5.0
_DAY_MS: Final = 86_400_000
_AREAS: Final = "select count(*), coalesce(sum(enabled), 0) from area where owner = ?"
_RUNS: Final = """
select count(*), coalesce(sum(case when state in ('failed', 'uncertain') then 1 else 0 end), 0)
  from run where owner = ? and id >= ?
"""
_ATTENTION: Final = """
select (select count(*) from run where owner = ? and state in ('uncertain', 'held'))
     + (select count(*) from connection where owner = ? and state = 'dead')
     + (select count(*) from notice where owner = ? and seen is null and kind in ('ask', 'run_failed'))
"""


async def summary(ask: Ask) -> dict[str, int]:
    """Show a few numbers, flat, for dashboards."""
    return await numbers(ask.parts, ask.actor.owner)


async def numbers(parts: Parts, owner: str) -> dict[str, int]:
    """Return an owner's numbers of areas, of runs in the last day, and of what needs somebody."""
    since = encode_id((parts.clock.now_ms() - _DAY_MS) << 80)
    [areas], [runs], [attention] = [
        await parts.backend.read(_AREAS, owner),
        await parts.backend.read(_RUNS, owner, since),
        await parts.backend.read(_ATTENTION, owner, owner, owner),
    ]
    queue = parts.backend.stats()
    return {
        "areas": areas[0],
        "on": areas[1],
        "runs_24h": runs[0],
        "failed_24h": runs[1],
        "attention": attention[0],
        "queue": queue.ready + queue.executing,
    }


async def show(ask: Ask) -> dict[str, Any]:
    """Show how areabox itself does."""
    probes = await probe(ask.parts)
    await ask.parts.catalogue.settle()
    errors = ask.parts.catalogue.errors()
    return {
        "version": ask.parts.site.version,
        "ready": all(found.ok for found in probes.values()),
        "probes": views(probes),
        "queue": msgspec.to_builtins(ask.parts.backend.stats()),
        "connector_errors": [{"source": error.source, "message": error.message} for error in errors],
        "maintenance": await ask.parts.maintenance.now() is not None,
        "facts": await ask.parts.facts() if ask.parts.facts is not None else {},
    }


async def probe(parts: Parts) -> dict[str, Probe]:
    """Return what every probe says; one that fails or takes too long is not ok."""
    found = await asyncio.gather(*(_probe(ask) for ask in parts.probes.values()))
    return dict(zip(parts.probes, found, strict=True))


async def _probe(ask: Any) -> Probe:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            found: Probe = await ask()
    except Exception as error:  # noqa: BLE001 -- whatever fails is the answer
        return Probe(ok=False, detail=str(error) or type(error).__name__)
    return found


def views(probes: dict[str, Probe]) -> dict[str, dict[str, Any]]:
    """Return probes as the API shows them."""
    return {name: {"ok": found.ok, "detail": found.detail} for name, found in probes.items()}


async def pause(ask: Ask) -> dict[str, Any]:
    """Do nothing by itself until resumed: no polls, schedules or steps; what comes in is kept."""
    return await _pause(ask, paused=True)


async def resume(ask: Ask) -> dict[str, Any]:
    """Go on after a pause or a restore."""
    return await _pause(ask, paused=False)


class Work(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether somebody works on this areabox; what people are told meanwhile, and after how long they may ask again."""

    on: bool
    message: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] = maintenance.Notice().message
    retry_after_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = maintenance.RETRY_S


async def work(ask: Ask, body: Work) -> dict[str, Any]:
    """Tell everybody to come back later (503), or serve them again; deliveries are taken all the time."""
    notice = maintenance.Notice(body.message, body.retry_after_s) if body.on else None
    await ask.parts.maintenance.set(notice)
    return await show(ask)


async def _pause(ask: Ask, *, paused: bool) -> dict[str, Any]:
    if ask.parts.pause is not None:
        await ask.parts.pause(paused=paused)
    return await show(ask)


ROUTES: tuple[Route, ...] = (
    post("/api/v1/system/pause", pause, "system:write", answer=SystemView, audit="system.pause"),
    post("/api/v1/system/resume", resume, "system:write", answer=SystemView, audit="system.resume"),
    post("/api/v1/system/maintenance", work, "system:write", answer=SystemView, audit="system.maintenance"),
    get("/api/v1/summary", summary, "areas:read", answer=SummaryView),
    get("/api/v1/system", show, "system:read", answer=SystemView),
)
