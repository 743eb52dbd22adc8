"""The JSON Schema (2020-12) of the area document, for editors and for programs that write areas.

It says what `document` checks and a schema can say. With a catalogue it knows the operations and their parameters;
where a parameter may hold a template, it may be a text with `{{ }}` besides what the operation takes.
"""

from __future__ import annotations

from typing import Any

from areabox.areas.document import KEYS, MISSED, MODES
from areabox.areas.fields import IDENTIFIER, SLUG
from areabox.areas.step_branches import MAX_BRANCHES, MAX_ITERATIONS
from areabox.areas.step_calls import VIA_MAX
from areabox.areas.step_reader import BESIDE, TRIGGER_KEYS
from areabox.areas.views import CatalogueView, OperationView

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
_OPERATION = r"^[a-z0-9_-]+\.[A-Za-z0-9_.-]+$"
_LONG = {"description": "500ms, 10s, 5m, 1h30m, 2d, 1w, ISO 8601, or seconds"}


def schema(catalogue: CatalogueView | None = None) -> Schema:
    """Return the schema of the document; of the operations, too, where a catalogue is given."""
    return {
        "$schema": DIALECT,
        "title": "areabox area",
        "description": "When something happens at one service, do things at others.",
        "type": "object",
        "required": ["area", "when", "then"],
        "additionalProperties": False,
        "properties": _in_order(_area()),
        "$defs": {**_basics(), "trigger": _trigger(catalogue), "step": _step(catalogue)},
    }


def _in_order(properties: Schema) -> Schema:
    return {key: properties[key] for key in KEYS}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _basics() -> Schema:
    return {
        "duration": {"anyOf": [{"type": "string", "pattern": "^[0-9PpTt. a-zA-Z]+$"}, {"type": "number"}], **_LONG},
        "expression": {
            "description": "A bare expression in Jinja's syntax, without {{ }}",
            "type": ["string", "boolean", "number"],
            "not": {"type": "string", "pattern": r"^\s*\{\{"},
        },
        "template": {"description": "A text with {{ }} in it", "type": "string", "pattern": r"\{[{%#]"},
        "name": {"type": "string", "pattern": _whole(IDENTIFIER.pattern)},
        "steps": {"type": "array", "items": _ref("step")},
        "parameters": {"type": ["object", "null"]},
    }


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


def _area() -> Schema:
    return {
        "area": {"description": "The area's id", "type": "string", "pattern": _whole(SLUG.pattern)},
        "name": {"type": "string", "maxLength": 200},
        "about": {"description": "Markdown", "type": "string"},
        "tags": {"type": "array", "maxItems": 50, "items": {"type": "string", "minLength": 1, "maxLength": 64}},
        "enabled": {"type": "boolean", "default": True},
        "mode": {"description": "What a run does while others go on", "enum": list(MODES), "default": "parallel"},
        "at_most": {"type": "integer", "minimum": 1, "maximum": 10_000},
        "key": {"description": "mode counts for each value of it", "type": ["string", "number", "boolean"]},
        "timeout": {**_ref("duration"), "default": "1h"},
        "when": {
            "description": "What starts a run",
            "type": "array",
            "minItems": 1,
            "maxItems": 100,
            "items": _ref("trigger"),
        },
        "if": _ref("expression"),
        "then": _ref("steps"),
    }


def _operations(catalogue: CatalogueView | None, kind: str, *, templates: bool) -> Schema:
    """Return the keys that name an operation: the known ones, or whatever looks like one."""
    if catalogue is None:
        return {"patternProperties": {_OPERATION: _ref("parameters")}}
    find = catalogue.action if kind == "action" else catalogue.reaction
    known = {name: _form(found, templates=templates) for name in catalogue.names(kind) if (found := find(name))}
    return {"properties": known}


def _form(operation: OperationView, *, templates: bool) -> Schema:
    form = {key: value for key, value in operation.schema().items() if key not in ("$schema", "$id")}
    if templates and "properties" in form:
        taken = {name: {"anyOf": [field, _ref("template")]} for name, field in form["properties"].items()}
        form = {**form, "properties": taken}
    return form if form.get("required") else {"anyOf": [form, {"type": "null"}]}


def _one_of(catalogue: CatalogueView | None, kind: str, others: Schema, *, templates: bool, required: bool) -> Schema:
    """Return an object with exactly one operation and some other keys."""
    operations = _operations(catalogue, kind, templates=templates)
    made = {
        "type": "object",
        "additionalProperties": False,
        **operations,
        "properties": {**operations.get("properties", {}), **others},
    }
    names = list(operations.get("properties", {}))
    if names and required:
        made["oneOf"] = [{"required": [name]} for name in names]
    elif required:
        made["not"] = {"propertyNames": {"enum": list(others)}}  # at least one key is an operation
    return made


def _trigger(catalogue: CatalogueView | None) -> Schema:
    others = {
        "id": _ref("name"),
        "connection": {"type": "string", "maxLength": 64},
        "every": {"description": "How often to ask; polled actions only", **_ref("duration")},
        "missed": {"description": "What happens to times missed while off", "enum": list(MISSED), "default": "latest"},
        "if": _ref("expression"),
    }
    return _one_of(catalogue, "action", {key: others[key] for key in TRIGGER_KEYS}, templates=False, required=True)


def _step(catalogue: CatalogueView | None) -> Schema:
    common, beside = _common(), _beside()
    kinds = [
        {
            "title": kind,
            **_object(kind, **{**common, kind: shape, **{key: beside[key] for key in BESIDE.get(kind, ())}}),
        }
        for kind, shape in _kinds(catalogue).items()
    ]
    others = {**common, **{key: beside[key] for key in BESIDE["do"]}}
    do = _one_of(catalogue, "reaction", others, templates=True, required=True)
    return {"oneOf": [{"title": "reaction", **do}, *kinds]}


def _common() -> Schema:
    return {
        "id": _ref("name"),
        "name": {"type": "string", "maxLength": 200},
        "if": {"description": "Skip the step where this is false", **_ref("expression")},
        "disabled": {"type": "boolean", "default": False},
        "on_error": {"anyOf": [{"enum": ["stop", "continue"]}, _ref("steps")], "default": "stop"},
    }


def _beside() -> Schema:
    return {
        "connection": {"type": "string", "maxLength": 64},
        "retry": _object(
            attempts={"type": "integer", "minimum": 1, "maximum": 100, "default": 5},
            first={**_ref("duration"), "default": "10s"},
            max={**_ref("duration"), "default": "1h"},
        ),
        "timeout": _ref("duration"),
        "as": {**_ref("name"), "default": "item"},
        "at_once": {"type": "integer", "minimum": 1, "maximum": 100, "default": 1},
        "join": {"enum": ["all", "any"], "default": "all"},
        "with": {"type": "object"},
        "because": {"type": "string"},
        "then": _ref("steps"),
        "else": _ref("steps"),
    }


def _object(*required: str, **properties: Schema) -> Schema:
    made = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**made, "required": list(required)} if required else made


def _kinds(catalogue: CatalogueView | None) -> Schema:
    many: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_ITERATIONS}
    option = _object("if", "then", **{"if": _ref("expression"), "then": _ref("steps")})
    repeat = _object(until=_ref("expression"), at_most={**many, "default": 1000}, **{"while": _ref("expression")})
    listen = {"if": _ref("expression"), "connection": {"type": "string"}, "every": _ref("duration")}
    return {
        "if": _ref("expression"),
        "choose": {"type": "array", "minItems": 1, "items": option},
        "each": _ref("expression"),
        "repeat": {**repeat, "oneOf": [{"required": ["until"]}, {"required": ["while"]}]},
        "parallel": {"type": "array", "minItems": 1, "maxItems": MAX_BRANCHES, "items": _ref("steps")},
        "wait": {"anyOf": [_ref("duration"), _ref("template"), _object("until", until={"type": "string"})]},
        "wait_for": _one_of(catalogue, "action", listen, templates=True, required=True),
        "ask": _object("question", "choices", question={"type": "string"}, choices=_choices(), via=_via()),
        "call": {"type": "string", "pattern": _whole(SLUG.pattern)},
        "set": {"type": "object", "minProperties": 1, "propertyNames": _ref("name")},
        "collect": _object("window", window=_ref("duration"), at_most=many, key={}),
        "once": _object("key", key={}, within=_ref("duration")),
        "return": {},
        "stop": {"enum": ["done", "skipped", "failed"]},
    }


def _via() -> Schema:
    return {"description": "Operations that carry the question outside", "maxItems": VIA_MAX, **_basics()["steps"]}


def _choices() -> Schema:
    text = {"type": "string", "minLength": 1, "maxLength": 64}
    return {"type": "array", "minItems": 1, "maxItems": 10, "uniqueItems": True, "items": text}
