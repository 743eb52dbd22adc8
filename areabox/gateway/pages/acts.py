"""What the buttons on pages do: a change, then back to the page; the same calls as the API's."""

from __future__ import annotations

from urllib.parse import quote

from areabox.errors import NotFoundError
from areabox.gateway import bodies
from areabox.gateway.entering import own_page, to
from areabox.gateway.pages.entrance import FORM, FORM_MAX
from areabox.gateway.pages.rendering import THEMES
from areabox.gateway.routes import Answer, Ask, Handle, Route

SEEN_MAX = 100


async def run_cancel(ask: Ask, id: str) -> Answer:
    """Cancel a run."""
    await ask.parts.runs.cancel(ask.actor, id)
    return _run(id)


async def run_retry(ask: Ask, id: str) -> Answer:
    """Run an ended run again, from a step on if the form names one."""
    step = bodies.form(ask.body).get("from") or None
    return _run(await ask.parts.runs.retry(ask.actor, id, from_=step, version="latest"))


async def run_answer(ask: Ask, id: str, path: str) -> Answer:
    """Answer a question that a run asks."""
    await ask.parts.runs.answer(ask.actor, id, path, bodies.form(ask.body).get("choice", ""))
    return _run(id)


async def run_resolve(ask: Ask, id: str, path: str) -> Answer:
    """Say what became of an uncertain step."""
    await ask.parts.runs.resolve(ask.actor, id, path, bodies.form(ask.body).get("as", ""))
    return _run(id)


async def area_run(ask: Ask, area: str) -> Answer:
    """Run an area now, with an empty trigger."""
    return _run(await ask.parts.runs.start(ask.actor, area, {}))


async def area_enable(ask: Ask, area: str) -> Answer:
    """Switch an area on."""
    await ask.parts.areas.enable(ask.actor, area, True)
    return to(f"/areas/{quote(area)}")


async def area_disable(ask: Ask, area: str) -> Answer:
    """Switch an area off."""
    await ask.parts.areas.enable(ask.actor, area, False)
    return to(f"/areas/{quote(area)}")


async def notices_seen(ask: Ask) -> Answer:
    """Mark notices as seen; one that is gone does not matter."""
    for id in bodies.form(ask.body).get("ids", "").split(",")[:SEEN_MAX]:
        try:
            await ask.parts.notices.see(ask.actor.owner, id)
        except NotFoundError:
            continue
    return to("/")


async def theme(ask: Ask) -> Answer:
    """Remember light or dark for this browser, or neither: then it goes by the machine's."""
    form = bodies.form(ask.body)
    chosen = form.get("theme", "")
    kept = f"theme={chosen}; Max-Age=31536000" if chosen in THEMES else "theme=; Max-Age=0"
    return to(own_page(form.get("back", "/")), {"set-cookie": f"{kept}; Path=/; SameSite=Lax; HttpOnly"})


def _run(id: str) -> Answer:
    return to(f"/runs/{quote(id)}")


def _button(path: str, handle: Handle, permission: str, audit: str = "", *, recorded: bool = True) -> Route:
    return Route(
        "POST", path, handle, permission, audit=audit, recorded=recorded, page=True, accepts=FORM, body_max=FORM_MAX
    )


ROUTES: tuple[Route, ...] = (
    _button("/runs/{id}/cancel", run_cancel, "runs:write", "run.cancel"),
    _button("/runs/{id}/retry", run_retry, "runs:write", "run.retry"),
    _button("/runs/{id}/steps/{path}/answer", run_answer, "runs:write", "run.answer"),
    _button("/runs/{id}/steps/{path}/resolve", run_resolve, "runs:write", "run.resolve"),
    _button("/areas/{area}/run", area_run, "runs:write", "run.start"),
    _button("/areas/{area}/enable", area_enable, "areas:write", "area.enable"),
    _button("/areas/{area}/disable", area_disable, "areas:write", "area.disable"),
    _button("/notices/seen", notices_seen, "notices:write", recorded=False),
    _button("/theme", theme, "me:read", recorded=False),
)
