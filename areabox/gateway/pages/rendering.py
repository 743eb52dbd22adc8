"""How does a page become HTML? By a template of `web/templates`, with everything escaped; and how do refusals look."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from markupsafe import Markup, escape

from areabox.gateway import bodies
from areabox.gateway.pages.static import address
from areabox.gateway.problems import Refusal
from areabox.gateway.routes import Answer, Ask, Route, rfc3339
from areabox.gateway.security import Caller
from areabox.resources import directory
from areabox.users.sessions import csrf

if TYPE_CHECKING:
    from jinja2 import Environment

HTML = "text/html"
VALUE_MAX = 20_000
THEMES = ("light", "dark")
# What a button did, said on the page that it leads to: `to("/areas?said=deleted")`.
SAID = {
    "saved": "Saved.", "deleted": "Deleted.", "created": "Created.", "imported": "Imported, switched off.",
    "on": "Switched on.", "off": "Switched off.", "works": "The service answered: it works.", "replayed": "Replayed.",
    "retried": "Tried again.", "cancelled": "Cancelled.", "restored": "Restored.", "published": "Published.",
}  # fmt: skip
NONE = "\u2013"  # an en dash
SIGNS = {
    "done": "✓", "failed": "✕", "uncertain": "▲", "held": "▲", "skipped": NONE, "cancelled": NONE, "collected": NONE,
    "running": "⟳", "queued": "·", "waiting": "◷", "pending": "·", "on": "●", "off": "○", "ok": "✓", "dead": "✕",
    "new": "·", "retrying": "⟳",
}  # fmt: skip
_KINDS = {
    "done": "ok", "ok": "ok", "on": "ok", "failed": "bad", "dead": "bad", "uncertain": "warn", "held": "warn",
    "running": "run", "waiting": "run", "queued": "run", "pending": "run", "retrying": "run",
}  # fmt: skip


def render(ask: Ask, template: str, status: int = 200, headers: dict[str, str] | None = None, **names: Any) -> Answer:
    """Return a page; where htmx asks for an element whose id is a block of the template, that block alone."""
    page = environment().get_template(f"pages/{template}.html")
    part = _part(ask.headers, page.blocks)
    html = page.render(names | _frame(ask.caller, ask.path) | {"part": part, **_chosen(ask)})
    varies = {"vary": "HX-Request, HX-Target", **(headers or {})}
    return Answer(value=html.encode(), status=status, media_type=HTML, headers=varies)


def _part(headers: Mapping[str, str], blocks: Mapping[str, Any]) -> str:
    if headers.get("hx-request") != "true":
        return ""
    name = headers.get("hx-target", "").rpartition("#")[2]
    return name if name in blocks else ""


def _chosen(ask: Ask) -> dict[str, str]:
    """Return what a browser chose, and what the last button did, by its key."""
    said = bodies.form(ask.query_string).get("said", "") if b"said=" in ask.query_string else ""
    cookies = f"; {ask.headers.get('cookie', '')};"
    theme = next((one for one in THEMES if f"; theme={one};" in cookies), "")
    return {"theme": theme, "said": SAID.get(said, "")}


def told(error: Exception) -> str:
    """Return what an error says to a person: what is wrong with each field, if it knows."""
    return "; ".join(problem.detail for problem in getattr(error, "problems", [])) or str(error)


def routed(path: str) -> bool:
    """Return whether there is a page at an address, so that nothing links to what is not there."""
    from areabox.gateway import http

    return path in _pages(http.routes)


@functools.cache
def _pages(routes: Callable[[], list[Route]]) -> frozenset[str]:
    return frozenset(route.path for route in routes() if route.method == "GET")


def refused(told: Refusal, path: str) -> bytes:
    """Return the page of a refusal."""
    names = {"problem": told.body, **_frame(Caller(), path)}
    return environment().get_template("pages/refused.html").render(names).encode()


def _frame(caller: Caller, path: str) -> dict[str, Any]:
    """Return what every page knows: who is logged in, the token of its forms, where it is."""
    return {"me": caller.actor, "csrf": csrf(caller.session) if caller.session else "", "here": path}


@functools.cache
def environment() -> Environment:
    """Return the templates, with what they may call."""
    from jinja2 import Environment, FileSystemLoader

    made = Environment(
        loader=FileSystemLoader(directory("web") / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {"sign": sign, "tone": tone, "moment": moment, "iso": rfc3339, "took": took, "value": value}
    made.filters["ticks"] = ticks
    made.filters["segment"] = lambda text: quote(str(text), safe="")
    made.globals |= {"asset": address, "routed": routed, "part": "", "theme": "", "said": ""}
    return made


def sign(state: str) -> str:
    """Return the mark of a state; it always stands beside the word."""
    return SIGNS.get(state, "·")


def tone(state: str) -> str:
    """Return the class that colours a state."""
    return _KINDS.get(state, "quiet")


def moment(text: str | None) -> str:
    """Return an RFC 3339 time as people read it, in UTC; the browser makes its own time of it."""
    if not text:
        return NONE
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%d %b %H:%M:%S").lstrip("0")


def took(started: str | None, ended: str | None) -> str:
    """Return how long something took."""
    if not started or not ended:
        return ""
    seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
    if seconds < 1:
        return f"{round(seconds * 1000)} ms" if seconds else ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def ticks(text: str) -> Markup:
    """Return a text as HTML, with what stands between backticks as code."""
    parts = [
        Markup("<code>{}</code>").format(part) if odd % 2 else escape(part) for odd, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def value(given: Any) -> str:
    """Return a JSON value as text to be read, cut where it is very long."""
    text = given if isinstance(given, str) else msgspec.json.format(msgspec.json.encode(given), indent=2).decode()
    return text if len(text) <= VALUE_MAX else f"{text[:VALUE_MAX]}\n… {len(text) - VALUE_MAX:,} more characters"
