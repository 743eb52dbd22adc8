"""The page of areabox itself: its health, who is limited how, what is set, and the switches that hold it."""

from __future__ import annotations

from typing import Any

from areabox.gateway import bodies
from areabox.gateway.api import system
from areabox.gateway.entering import to
from areabox.gateway.limits import POLICIES
from areabox.gateway.maintenance import Notice
from areabox.gateway.pages.entrance import FORM, FORM_MAX
from areabox.gateway.pages.rendering import render
from areabox.gateway.routes import Answer, Ask, Handle, Route, get
from areabox.users.throttle import THEN_EVERY_S, TRIES, WINDOW_S

MESSAGE_MAX = 200


async def look(ask: Ask) -> Answer:
    """Show how areabox does and what is set."""
    found = await system.show(ask)
    facts: dict[str, Any] = found["facts"]
    settings = facts.get("settings", [])
    return render(
        ask,
        "system",
        system=found,
        facts=dict(_number(*fact) for fact in facts.items() if fact[0] not in ("settings", "listeners")),
        settings=[setting for setting in settings if setting[2] != "default"],
        usual_settings=[setting for setting in settings if setting[2] == "default"],
        listeners=facts.get("listeners", []),
        notice=await ask.parts.maintenance.now(),
        usual=Notice().message,
        limited=ask.parts.site.rate_limits,
        policies=list(POLICIES.values()),
        tries=(TRIES, int(WINDOW_S // 60), int(THEN_EVERY_S)),
    )


def _number(name: str, value: Any) -> tuple[str, Any]:
    if name.endswith("_bytes"):
        return name.removesuffix("_bytes"), f"{value / 1024**2:,.1f} MiB"
    return name, value


async def hold(ask: Ask) -> Answer:
    """Pause everything that areabox does by itself, or go on."""
    if ask.parts.pause is not None:
        await ask.parts.pause(paused=bodies.form(ask.body).get("on") == "yes")
    return to("/admin/system")


async def maintain(ask: Ask) -> Answer:
    """Begin or end maintenance."""
    given = bodies.form(ask.body)
    message = given.get("message", "").strip()[:MESSAGE_MAX] or Notice().message
    await ask.parts.maintenance.set(Notice(message) if given.get("on") == "yes" else None)
    return to("/admin/system")


def _switch(path: str, handle: Handle, audit: str) -> Route:
    return Route("POST", path, handle, "system:write", audit=audit, page=True, accepts=FORM, body_max=FORM_MAX)


ROUTES: tuple[Route, ...] = (
    get("/admin/system", look, "system:read", page=True),
    _switch("/admin/system/pause", hold, "system.pause"),
    _switch("/admin/system/maintenance", maintain, "system.maintenance"),
)
