"""Whether a document is an area, and what it means.

`parse` gives the program, or every problem with its line, column and the nearest name that there is. The program keeps
the document in its normal form, which is what the API answers, exports write and versions keep.
"""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec

from areabox.areas import calls, model
from areabox.areas.emit import emit_yaml
from areabox.areas.fields import IDENTIFIER, SLUG, Context, Fields, Report, holds_template
from areabox.areas.scope import Scope, Steps
from areabox.areas.source import Source, check_data, read
from areabox.areas.step_reader import TRIGGER_KEYS, StepReader
from areabox.areas.views import CatalogueView, FieldView, OperationView
from areabox.errors import InputError, Problem

__all__ = ["CatalogueView", "FieldView", "OperationView", "emit_yaml", "from_data", "parse", "parse_many"]

KEYS = ("area", "name", "about", "tags", "enabled", "mode", "at_most", "key", "timeout", "when", "if", "then")
MODES = ("parallel", "queued", "single", "restart")
MISSED = ("skip", "latest", "each")
MAX_STEPS, MAX_TRIGGERS = 1_000, 100
_BEFORE_A_RUN = ("trigger", "area", "now")
_OTHERS = {"trigger": "when", "triggers": "when", "on": "when", "action": "then", "actions": "then", "steps": "then",
           "do": "then", "description": "about", "title": "name", "id": "area", "slug": "area", "alias": "name",
           "condition": "if", "conditions": "if", "max": "at_most", "labels": "tags"}  # fmt: skip


def parse(text: str, *, catalogue: CatalogueView, name: str = "document") -> model.Program:
    """Return the program of one YAML or JSON document; raises InputError with all its problems."""
    sources = read(text, name)
    if len(sources) != 1:
        _refuse(name, f"one area belongs here, not {len(sources) or 'nothing'}")
    return _program(sources[0], catalogue, name)


def parse_many(text: str, *, catalogue: CatalogueView, name: str = "document") -> list[model.Program]:
    """Return the programs of all documents of a file; raises InputError with the problems of all."""
    sources = read(text, name)
    programs, errors = [], []
    for number, source in enumerate(sources, 1):
        try:
            programs.append(_program(source, catalogue, name if len(sources) == 1 else f"{name}, document {number}"))
        except InputError as error:
            errors.append(error)
    if errors:
        raise InputError("\n".join(map(str, errors)), [problem for error in errors for problem in error.problems])
    twice = [program.slug for program in programs if [one.slug for one in programs].count(program.slug) > 1]
    if twice:
        _refuse(name, f"the area {twice[0]} stands twice")
    return programs


def from_data(data: Any, *, catalogue: CatalogueView, name: str = "document") -> model.Program:
    """Return the program of a document that is data already; raises InputError with all its problems."""
    return _program(check_data(data, name), catalogue, name)


def _refuse(name: str, detail: str) -> NoReturn:
    raise InputError(f"{name}: {detail}", [Problem("", detail)])


def _program(source: Source, catalogue: CatalogueView, name: str) -> model.Program:
    report, data = Report(source), source.data
    if not isinstance(data, dict):
        report.add("", "an area belongs here: keys and values that begin with area:")
        program = None
    else:
        program = _Area(source, report, catalogue).read()
    if report.problems or program is None:
        problems = sorted(report.problems, key=lambda problem: (problem.line or 0, problem.column or 0))
        raise InputError("\n".join(f"{name}: {problem}" for problem in problems), problems)
    return program


class _Area:
    """Reads the outermost object of a document."""

    def __init__(self, source: Source, report: Report, catalogue: CatalogueView) -> None:
        self._steps = Steps(source.data.get("then"), "/then")
        self._context = Context(report, self._steps)
        self._fields = Fields(self._context, source.data, "")
        self._reader = StepReader(self._context, catalogue)
        self._catalogue = catalogue

    def read(self) -> model.Program:
        """Return the program; what is wrong is in the report."""
        fields, scope = self._fields, Scope()
        fields.only(KEYS, _OTHERS)
        program = model.Program(
            slug=self._slug(),
            name=fields.text("name") or fields.text("area"),
            about=fields.text("about", most=100_000),
            tags=self._tags(),
            enabled=fields.flag("enabled", default=True),
            mode=fields.choice("mode", MODES, "parallel"),
            at_most=fields.number("at_most", None, 1, 10_000),
            key=fields.value("key", scope) if fields.data.get("key") is not None else None,
            timeout_ms=fields.duration("timeout", 3_600_000),
            when=self._triggers(),
            test=fields.expression("if", scope),
            then=self._then(scope),
            document={},
        )
        kept = {key: fields.kept[key] for key in KEYS if key in fields.kept}
        return msgspec.structs.replace(program, document=kept)

    def _slug(self) -> str:
        slug = self._fields.text("area")
        if "area" not in self._fields.data:
            self._fields.missing("area", "the area's id, such as kernel-news")
        elif self._fields.data["area"] is None or (slug and not SLUG.fullmatch(slug)):
            self._fields.report("area", f"{slug[:64]!r} is not an id: a-z, 0-9 and -, at most 64 characters")
        return slug

    def _tags(self) -> tuple[str, ...]:
        tags = self._fields.list("tags")
        if not all(isinstance(tag, str) and 0 < len(tag) <= 64 for tag in tags) or len(tags) > 50:
            self._fields.report("tags", "a list of at most 50 short texts belongs here")
            return ()
        if tags:
            self._fields.kept["tags"] = tags
        return tuple(tags)

    def _then(self, scope: Scope) -> tuple[model.AnyStep, ...]:
        data = self._fields.data.get("then")
        if data is None:
            self._fields.missing("then", "the steps to take, a list")
            return ()
        if len(self._steps.pointers) > MAX_STEPS:
            self._fields.report(
                "then", f"there are more than {MAX_STEPS:,} steps; call another area for a part of them"
            )
            return ()
        made, self._fields.kept["then"] = self._reader.steps(data, "/then", scope)
        return made

    def _triggers(self) -> tuple[model.Trigger, ...]:
        given = self._fields.list("when")
        if self._fields.data.get("when") is None:
            self._fields.missing("when", "what starts the area, a list of one or more")
        elif given == [] and isinstance(self._fields.data["when"], list):
            self._fields.report("when", "at least one thing that starts the area belongs here")
        if len(given) > MAX_TRIGGERS:
            self._fields.report("when", f"at most {MAX_TRIGGERS} belong here")
            return ()
        taken = {str(entry["id"]) for entry in given if isinstance(entry, dict) and "id" in entry}
        made, forms, seen = [], [], set[str]()
        for index, entry in enumerate(given):
            found = self._trigger(entry, f"/when/{index}", taken, seen)
            if found is not None:
                made.append(found[0])
                forms.append(found[1])
        self._fields.kept["when"] = forms
        return tuple(made)

    def _trigger(
        self, entry: Any, pointer: str, taken: set[str], seen: set[str]
    ) -> tuple[model.Trigger, dict[str, Any]] | None:
        if not isinstance(entry, dict):
            self._context.report.add(pointer, "an action and its parameters belong here")
            return None
        named = self._reader.action(entry, pointer)
        if named is None:
            return None
        action, params, place = named
        part = Fields(self._context, entry, pointer)
        part.only((action, *TRIGGER_KEYS))
        operation = calls.find(self._catalogue, "action", action, self._context, place)
        params = calls.parameters(operation, params, self._context, place) if operation else {}
        if holds_template(params):
            self._context.report.add(place, "what starts an area has fixed parameters; templates are not filled in")
        trigger = model.Trigger(
            id=self._trigger_id(part, action, taken, seen),
            pointer=pointer,
            action=action,
            params=params,
            connection=self._reader.connection(part, operation),
            every_ms=self._reader.every(part, operation),
            missed=self._missed(part, operation),
            test=part.expression("if", Scope(_BEFORE_A_RUN)),
        )
        kept = {action: params, "id": trigger.id}
        return trigger, kept | {key: part.kept[key] for key in TRIGGER_KEYS if key in part.kept}

    def _trigger_id(self, part: Fields, action: str, taken: set[str], seen: set[str]) -> str:
        given = part.identifier("id", "")
        if given:
            if given in seen:
                part.report("id", f"{given} is the id of another entry")
            seen.add(given)
            return given
        name = action.rpartition(".")[2]
        name = base = name if IDENTIFIER.fullmatch(name) else "trigger"
        number = 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        return name

    def _missed(self, part: Fields, operation: OperationView | None) -> Any:
        missed = part.choice("missed", MISSED, "latest")
        if part.data.get("missed") is not None and operation is not None and operation.kind != "schedule":
            part.report("missed", f"{operation.id} is no schedule, so it takes no missed", of_key=True)
        return missed
