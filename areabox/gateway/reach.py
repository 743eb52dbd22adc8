"""May somebody reach what belongs to another? Where an area is shared with them far enough for what the route does.

Decided once for every route, page or API: those of an area (`{area}`) and of a run (`/runs/{id}`) are asked by an
actor on behalf of the owner. Reading them needs `see`, what changes runs `run`, what changes areas `edit`; removing an
area is its owner's. A share gives nothing that the role does not: its permission is asked for first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

import msgspec

if TYPE_CHECKING:
    from areabox.gateway.routes import Ask, Route
    from areabox.users.policy import Actor

_NEEDS: Final = {"areas:read": "see", "runs:read": "see", "runs:write": "run", "areas:write": "edit"}
_API: Final = "/api/v1"


async def reached(route: Route, ask: Ask) -> Ask:
    """Return the request with its actor on behalf of whoever shares what it is about; else as it is."""
    level = _NEEDS.get(route.permission)
    if level is None or ask.caller.actor is None or route.method == "DELETE":
        return ask
    path, shares, actor = route.path.removeprefix(_API), ask.parts.people.shares, ask.caller.actor
    if "area" in ask.params:
        behalf, slug = await shares.area(actor, ask.params["area"], level)
        return _as(replace(ask, params={**ask.params, "area": slug}), behalf)
    if path.startswith("/runs/{id}"):
        return _as(ask, await shares.run(actor, ask.params["id"], level))
    if path == "/runs" and b"area=" in ask.query_string:
        given = dict(parse_qsl(ask.query_string.decode("latin-1")))
        return _as(ask, (await shares.area(actor, given.get("area", ""), level))[0])
    return ask


def _as(ask: Ask, actor: Actor) -> Ask:
    if actor is ask.caller.actor:
        return ask
    return replace(ask, caller=msgspec.structs.replace(ask.caller, actor=actor))
