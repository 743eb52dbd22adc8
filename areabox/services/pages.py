"""What do the documents say of each service? Pages made of the code, so that they cannot say anything else.

`make docs`, which is `python -m areabox.services.pages`, writes `docs/services/<id>.md` for every service of areabox's
own, and the table in `docs/services.md` between two marks; what stands around it is written by hand.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from areabox.services.catalogue import Catalogue, Service
from areabox.services.operations import Operation

BEGIN, END = "<!-- made by `make docs`: begin -->", "<!-- made by `make docs`: end -->"
_MADE = "<!-- made by `make docs` from {source}; change it there -->"
_TESTED = "Tested against"
_KINDS = {
    "poll": "Asked every {every} unless `every` says otherwise.",
    "stream": "Heard at once: areabox keeps listening.",
    "schedule": "Fires by the clock.",
    "hook": "Delivered to the area's own address, which `areabox area show` tells.",
    "internal": "Happens inside areabox.",
}
_EFFECTS = {
    "read": "Only reads: it is repeated freely, and really runs in a dry run.",
    "idempotent": "Doing it twice is doing it once: it is repeated after a failure.",
    "keyed": "Every attempt carries the same key, so it is repeated after a failure and done once.",
    "once": "Never repeated blindly: if no answer comes the step is *uncertain*, and a person decides.",
}
_DEPENDS = "What a repeat means depends on the parameters; where in doubt it is never repeated blindly."
_UNITS_MS = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000))


def pages(services: Iterable[Service]) -> dict[str, str]:
    """Return the text of each service's page, by the service's id."""
    return {service.id: page(service) for service in services}


def page(service: Service) -> str:
    """Return the page of one service, as Markdown."""
    head, tested = _told(service)
    parts = [_MADE.format(source=f"`{service.source}`"), f"# {service.name}", *head, *_ways(service)]
    kinds = {"Actions: what can happen": service.actions, "Reactions: what can be done": service.reactions}
    for title, found in kinds.items():
        parts += [f"## {title}"] if found else []
        parts += [text for operation in found.values() for text in _operation(operation)]
    if tested:
        parts += ["## How it was tested", tested]
    parts.append("[All services](../services.md)")
    return "\n\n".join(part for part in parts if part) + "\n"


def index(text: str, services: Iterable[Service]) -> str:
    """Return the text of `docs/services.md` with its table made anew; raises ValueError where a mark is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("docs/services.md has lost the marks of its table")
    rows = [
        (f"[{one.name}](services/{one.id}.md)", one.about, _names(one.actions), _names(one.reactions), _needs(one))
        for one in services
    ]
    table = _table(("service", "what it is", "what can happen", "what can be done", "connection"), rows)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def write(docs: Path) -> None:
    """Write all pages below the folder of the documents, and drop those of services that are gone."""
    services = [one for one in Catalogue.discover(None).services() if one.origin == "builtin"]
    folder, made = docs / "services", pages(services)
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.md"):
        if path.stem not in made:
            path.unlink()
    for id, text in made.items():
        (folder / f"{id}.md").write_text(text, encoding="utf-8")
    table = docs / "services.md"
    table.write_text(index(table.read_text(encoding="utf-8"), services), encoding="utf-8")


def _told(service: Service) -> tuple[list[str], str]:
    """Return what the module says of the service, and what it was tested against."""
    said = (inspect.getdoc(sys.modules[service.source]) or "").split("\n\n")
    tested = said.pop() if said[-1].startswith(_TESTED) else ""
    return said, tested


def _ways(service: Service) -> list[str]:
    ways = [way for way in service.ways.values() if way.form.fields]
    if not ways:
        return ["It needs no connection."]
    parts = ["## Connecting", "" if service.needs_connection else "It works without a connection, too."]
    for way in ways:
        secret = [f"--secret {name}" for name, field in way.form.fields.items() if field.secret and field.required]
        plain = [f"--set {name}=…" for name, field in way.form.fields.items() if not field.secret and field.required]
        which = [f"--auth {way.id}"] if len(service.ways) > 1 else []
        command = " ".join(["areabox connection add NAME", service.id, *which, *plain, *secret])
        parts += [f"### {way.label}", way.help, f"```console\n$ {command}\n```", _fields(way.form.schema())]
    return parts


def _operation(operation: Operation) -> list[str]:
    parts = [f"### `{operation.id}`", f"**{operation.title}**: *{operation.sentence}*", operation.help]
    parts.append(_fields(operation.schema()) or "It has no parameters.")
    if operation.kind == "reaction":
        parts.append(_DEPENDS if callable(getattr(operation.declared, "effect", "")) else _EFFECTS[operation.effect])
    else:
        parts.append(_KINDS[operation.kind].format(every=_spoken(operation.poll_ms or 0)))
    if operation.sample:
        shown = json.dumps(operation.sample, indent=2, ensure_ascii=False)
        parts.append(f"What later steps see of it, for example:\n\n```json\n{shown}\n```")
    return parts


def _fields(form: Mapping[str, Any]) -> str:
    needed = form.get("required", [])
    rows = [
        (f"`{name}`", kind(field), "needed" if name in needed else _default(field), _meaning(field))
        for name, field in form.get("properties", {}).items()
    ]
    return _table(("field", "type", "default", "meaning"), rows) if rows else ""


def kind(field: Mapping[str, Any]) -> str:
    """Return what a field takes, in the words of the area language."""
    if "enum" in field:
        return ", ".join(f"`{choice}`" for choice in field["enum"] if choice != "") or "text"
    if field.get("writeOnly"):
        return "secret"
    if (format := field.get("format")) is not None:
        return {"uri": "address", "date-time": "time"}.get(format, str(format))
    kinds = [_KIND.get(one.get("type", ""), "anything") for one in field.get("anyOf", [field])]
    return " or ".join(dict.fromkeys(found for found in kinds if found)) or "anything"


_KIND = {
    "string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "array": "list",
    "object": "mapping", "null": "",
}  # fmt: skip


def _default(field: Mapping[str, Any]) -> str:
    default = field.get("default")
    return "" if default in (None, "", [], {}) else f"`{json.dumps(default, ensure_ascii=False)}`"


def _meaning(field: Mapping[str, Any]) -> str:
    bounds = [f"{word} {field[key]}" for key, word in (("minimum", "at least"), ("maximum", "at most")) if key in field]
    said = [str(field.get("title", "")), str(field.get("description", "")), ", ".join(bounds).capitalize()]
    return ". ".join(text.rstrip(".") for text in said if text) + "."


def _spoken(ms: int) -> str:
    for word, unit_ms in _UNITS_MS:
        if ms and ms % unit_ms == 0:
            count = ms // unit_ms
            return word if count == 1 else f"{count} {word}s"
    return f"{ms} ms"


def _names(operations: Mapping[str, Operation]) -> str:
    return ", ".join(f"`{operation.id}`" for operation in operations.values())


def _needs(service: Service) -> str:
    if not service.ways:
        return ""
    return "needed" if service.needs_connection else "possible"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    write(Path("docs"))
