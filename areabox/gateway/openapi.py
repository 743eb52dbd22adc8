"""How is the API described to programs? As OpenAPI 3.1, made of the same tables that serve it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from areabox.gateway.bodies import YAML
from areabox.gateway.problems import MEDIA_TYPE
from areabox.gateway.routes import Route
from areabox.users.policy import PUBLIC

_REF = "#/components/schemas/{name}"
_ABOUT = """Everything that the pages and the command line do.

Lists take `limit` and `after` and answer `{items, next}`. A POST with an `Idempotency-Key` is done once. `ETag` and
`If-Match` keep two writers apart. `fields=area,state` on a GET leaves the other fields out. `RateLimit` says how much
is left, 429 comes with `Retry-After`. Answers have an `X-Request-ID`. Refusals are `application/problem+json`."""
_PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "Why a request was refused (RFC 9457); `errors` says what is wrong where.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "retry_after": {"type": "integer"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string"},
                    "detail": {"type": "string"},
                    "line": {"type": "integer"},
                    "column": {"type": "integer"},
                    "document": {"type": "string"},
                },
            },
        },
    },
}


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """Return the OpenAPI document of all routes but the pages."""
    shown = [route for route in routes if not route.page and not route.path.startswith(("/static", "/favicon"))]
    types = [type_ for route in shown for type_ in _types(route)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    known = iter(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for route in shown:
        found = {id(type_): next(known) for type_ in _types(route)}
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, found)
    paths["/hooks/{key}"] = {"post": _hook()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "areabox", "version": version, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": {_plain(name): _renamed(schema) for name, schema in components.items()} | {"Problem": _PROBLEM},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "An API token, `abx_…`."},
                "session": {"type": "apiKey", "in": "cookie", "name": "areabox", "description": "A logged-in browser."},
            },
        },
    }


def _types(route: Route) -> list[Any]:
    """Return the types that a route shows, always in the same order."""
    found = [type_ for name, type_ in route.annotations.items() if name in ("body", "query")]
    return found if route.answer is None else [*found, route.answer]


def _operation(route: Route, schemas: dict[int, Any]) -> dict[str, Any]:
    summary, _, more = (inspect.getdoc(route.handle) or "").partition("\n")
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [_tag(route)],
        "summary": summary,
        "parameters": _parameters(route),
        "responses": _responses(route, schemas),
        "security": [] if route.permission == PUBLIC else [{"token": []}, {"session": []}],
    }
    if more.strip():
        operation["description"] = more.strip()
    if route.permission != PUBLIC:
        operation["x-permission"] = route.permission
    body = _body(route, schemas)
    if body:
        operation["requestBody"] = body
    return operation


def _tag(route: Route) -> str:
    return route.handle.__module__.rpartition(".")[2]


def _parameters(route: Route) -> list[dict[str, Any]]:
    named = [
        {"name": name, "in": "path", "required": True, "schema": _schema(route.annotations.get(name, str))}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    query = route.annotations.get("query")
    fields = () if query is None else msgspec.structs.fields(query)
    named += [
        {"name": field.encode_name, "in": "query", "required": field.required, "schema": _schema(field.type)}
        for field in fields
    ]
    if route.method == "POST" and route.permission != PUBLIC:
        named.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string"}})
    if route.method in ("PUT", "PATCH", "DELETE") and route.permission != PUBLIC:
        about = "The ETag of what is changed; 412 if it is another by now."
        named.append(
            {"name": "If-Match", "in": "header", "required": False, "description": about, "schema": {"type": "string"}}
        )
    return named


def _schema(type_: Any) -> dict[str, Any]:
    return msgspec.json.schema(type_)


def _body(route: Route, schemas: dict[int, Any]) -> dict[str, Any]:
    if "body" in route.annotations:
        type_ = route.annotations["body"]
        required = any(field.required for field in msgspec.structs.fields(type_))
        return {"required": required, "content": {"application/json": {"schema": _renamed(schemas[id(type_)])}}}
    if not route.accepts & YAML and "application/merge-patch+json" not in route.accepts:
        return {}
    area = {"type": "object", "description": "The area document; its schema is at /api/v1/schema/area.json."}
    if route.method == "PATCH":
        return {"required": True, "content": {"application/merge-patch+json": {"schema": area}}}
    yaml = {"type": "string", "description": "The area document as YAML."}
    return {
        "required": True,
        "content": {"application/json": {"schema": area}, "application/yaml": {"schema": yaml}},
    }


def _responses(route: Route, schemas: dict[int, Any]) -> dict[str, Any]:
    status = 204 if route.answer is None else route.status
    good: dict[str, Any] = {"description": "It went well."}
    if route.answer is not None:
        shown = {"schema": _renamed(schemas[id(route.answer)])}
        texts = {"schema": {"type": "string"}}
        good["content"] = {name: shown if name.endswith(("/json", "+json")) else texts for name in route.media_types}
    found = {str(status): good}
    if status == 202 and "{" in route.path:
        found["200"] = good
    if route.method == "PUT" and route.answer is not None:
        found["201"] = good
    if route.path == "/ready":
        found["503"] = good
    refused = {
        "description": "It was refused.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}},
    }
    return {**found, "default": refused}


def _plain(name: str) -> str:
    """Return the name of a component in the letters that OpenAPI allows: Page[AreaView] is Page_AreaView."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("_")


def _renamed(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _reference(item) if key == "$ref" else _renamed(item) for key, item in schema.items()}
    return [_renamed(item) for item in schema] if isinstance(schema, list) else schema


def _reference(text: str) -> str:
    return _REF.format(name=_plain(text.rpartition("/")[2]))


def _hook() -> dict[str, Any]:
    """Return the operation of a webhook's address, which no table serves."""
    return {
        "operationId": "hooks_receive",
        "tags": ["hooks"],
        "summary": "Deliver something to a webhook, by any method; 202 once it is on disk.",
        "parameters": [{"name": "key", "in": "path", "required": True, "schema": {"type": "string"}}],
        "requestBody": {"required": False, "content": {"*/*": {"schema": {}}}},
        "responses": {
            "202": {
                "description": "It is on disk.",
                "content": {
                    "application/json": {
                        "schema": {"type": "object", "properties": {"event": {"type": ["string", "null"]}}}
                    }
                },
            },
            "default": {
                "description": "It was refused.",
                "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}},
            },
        },
        "security": [],
    }
