"""Areas: the documents, YAML or JSON, their versions, on and off; and `apply`, many at once."""

from __future__ import annotations

from typing import Any

import msgspec

from areabox.errors import InputError, Problem
from areabox.gateway import bodies
from areabox.gateway.routes import Answer, Ask, Listing, Page, Route, delete, get, page, patch, post, put
from areabox.gateway.shapes import AreaView, ChangeView, VersionDocument, VersionView
from areabox.users.policy import PUBLIC

DOCUMENT = bodies.JSON | bodies.YAML
DOCUMENTS_MAX = 1_000
# What an answer says of an area beside its document; it may come back in a body and then says nothing.
TOLD = frozenset({"version", "state", "subscriptions", "created", "updated"})


class Search(Listing, frozen=True, kw_only=True):
    """Which areas: those with `q` in their id, name or tags."""

    q: str = ""


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of an apply: its name is said where something in it is wrong."""

    name: str
    text: str


class Apply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Documents that are to be the actor's areas; `plan` only says what would change."""

    documents: list[Document]
    plan: bool = False
    prune: bool = False


async def list_(ask: Ask, query: Search) -> Page[Any]:
    """List areas by id."""
    found = await ask.parts.areas.list(ask.actor, limit=query.count, after=query.after, query=query.q)
    return page(found, query, key="area")


async def create(ask: Ask) -> Answer:
    """Create an area from its document."""
    area, _ = await ask.parts.areas.put(ask.actor, None, _document(ask))
    return _answer(area, 201)


async def show(ask: Ask, area: str) -> Answer:
    """Show an area; as YAML where that is accepted first."""
    if ask.accepts(*bodies.YAML):
        [(_, text)] = await ask.parts.areas.export(ask.actor, [area])
        return Answer(value=text.encode(), media_type="application/yaml")
    return _answer(await ask.parts.areas.get(ask.actor, area))


async def replace(ask: Ask, area: str) -> Answer:
    """Create or replace an area."""
    found, new = await ask.parts.areas.put(ask.actor, area, _document(ask), if_match=ask.if_match())
    return _answer(found, 201 if new else 200)


async def change(ask: Ask, area: str) -> Answer:
    """Change some of an area's document by a JSON Merge Patch."""
    current = await ask.parts.areas.get(ask.actor, area)
    wanted = ask.if_match()
    merged = bodies.merge(_bare(current), _bare(bodies.json_value(ask.body, dict[str, Any])))
    version = current["version"] if wanted is None else wanted
    found, _ = await ask.parts.areas.put(ask.actor, area, merged, if_match=version)
    return _answer(found)


async def remove(ask: Ask, area: str) -> None:
    """Remove an area; its runs stay until they are pruned."""
    await ask.parts.areas.delete(ask.actor, area, if_match=ask.if_match())


async def enable(ask: Ask, area: str) -> Answer:
    """Switch an area on."""
    return _answer(await ask.parts.areas.enable(ask.actor, area, True))


async def disable(ask: Ask, area: str) -> Answer:
    """Switch an area off; runs that are under way go on."""
    return _answer(await ask.parts.areas.enable(ask.actor, area, False))


async def versions(ask: Ask, area: str) -> Page[Any]:
    """List an area's versions, newest first."""
    return Page(await ask.parts.areas.versions(ask.actor, area), None)


async def version(ask: Ask, area: str, number: int) -> Answer:
    """Show a version of an area."""
    return Answer(value=await ask.parts.areas.version(ask.actor, area, number))


async def apply(ask: Ask, body: Apply) -> list[Any]:
    """Make areas what documents say: all, or none if one is wrong."""
    if len(body.documents) > DOCUMENTS_MAX:
        detail = f"at most {DOCUMENTS_MAX:,} documents at once"
        raise InputError(detail, [Problem("/documents", detail)])
    documents = [(document.name, document.text) for document in body.documents]
    return await ask.parts.areas.apply(ask.actor, documents, plan=body.plan, prune=body.prune)


async def schema(ask: Ask) -> Answer:
    """Show the JSON Schema of the area document, with the operations of this areabox."""
    from areabox.areas.schema import schema as area_schema

    await ask.parts.catalogue.settle()
    content = msgspec.json.encode(area_schema(ask.parts.catalogue))
    return Answer(value=content, media_type="application/schema+json", headers={"cache-control": "max-age=60"})


def _document(ask: Ask) -> str | dict[str, Any]:
    if ask.media_type in bodies.YAML:
        return bodies.text(ask.body)
    return _bare(bodies.json_value(ask.body, dict[str, Any]))


def _bare(area: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in area.items() if name not in TOLD}


def _answer(area: dict[str, Any], status: int | None = None) -> Answer:
    headers = {"location": f"/api/v1/areas/{area['area']}"} if status == 201 else {}
    return Answer(value=area, status=status, etag=str(area["version"]), headers=headers, object=area["area"])


_AREA = "/api/v1/areas/{area}"
ROUTES: tuple[Route, ...] = (
    get("/api/v1/areas", list_, "areas:read", answer=Page[AreaView]),
    post("/api/v1/areas", create, "areas:write", answer=AreaView, status=201, accepts=DOCUMENT, audit="area.create"),
    get(_AREA, show, "areas:read", answer=AreaView, media_types=("application/json", "application/yaml")),
    put(_AREA, replace, "areas:write", answer=AreaView, accepts=DOCUMENT, audit="area.put"),
    patch(
        _AREA, change, "areas:write", answer=AreaView, accepts=bodies.JSON | {"application/merge-patch+json"},
        audit="area.patch",
    ),
    delete(_AREA, remove, "areas:write", audit="area.delete"),
    post(_AREA + "/enable", enable, "areas:write", answer=AreaView, audit="area.enable"),
    post(_AREA + "/disable", disable, "areas:write", answer=AreaView, audit="area.disable"),
    get(_AREA + "/versions", versions, "areas:read", answer=Page[VersionView]),
    get(_AREA + "/versions/{number}", version, "areas:read", answer=VersionDocument),
    post(
        "/api/v1/apply", apply, "areas:write", answer=list[ChangeView], body_max=bodies.IMPORT_MAX, audit="area.apply"
    ),
    get(
        "/api/v1/schema/area.json", schema, PUBLIC, answer=dict[str, Any], media_types=("application/schema+json",)
    ),
)  # fmt: skip
