"""A catalogue of a few operations, for tests of the area language."""

from __future__ import annotations

from typing import Any

import msgspec

from areabox.errors import Problem


class Field(msgspec.Struct, frozen=True):
    name: str
    required: bool = False
    type: str = "any"


class Operation(msgspec.Struct, frozen=True):
    id: str
    kind: str
    fields: dict[str, Field]
    needs_connection: bool = False

    @property
    def takes_connection(self) -> bool:
        return self.needs_connection

    def upgraded(self, params: dict[str, Any]) -> dict[str, Any]:
        return dict(params)

    def check(self, params: dict[str, Any]) -> list[Problem]:
        problems = []
        for name, given in params.items():
            if self.fields[name].type == "number" and not isinstance(given, int):
                problems.append(Problem(f"/{name}", "a number belongs here"))
            if self.fields[name].type == "text" and not isinstance(given, str):
                problems.append(Problem(f"/{name}", "text belongs here"))
        if params.get("verify", "none") != "none" and "secret" not in params:
            problems.append(Problem("/secret", "is needed to verify deliveries"))
        missing = [name for name, field in self.fields.items() if field.required and name not in params]
        return problems + [Problem("", f"{name} is missing") for name in missing]

    def schema(self) -> dict[str, Any]:
        kinds = {"number": {"type": "integer"}, "text": {"type": "string"}, "any": {}}
        return {
            "type": "object",
            "properties": {name: kinds[field.type] for name, field in self.fields.items()},
            "required": [name for name, field in self.fields.items() if field.required],
            "additionalProperties": False,
        }


def operation(id: str, kind: str, *, connection: bool = False, **fields: str) -> Operation:
    """Return an operation; a field's kind ends with ! where it is required."""
    made = {name: Field(name, kind.endswith("!"), kind.rstrip("!")) for name, kind in fields.items()}
    return Operation(id, kind, made, connection)


_ACTIONS = [
    operation("webhook.received", "hook", verify="text", secret="text"),
    operation("rss.new_entry", "poll", feed="text!"),
    operation("schedule.cron", "schedule", cron="text!", timezone="text"),
    operation("schedule.every", "schedule", every="text!"),
    operation("mqtt.message", "stream", connection=True, topic="text!"),
    operation("area.ended", "internal", area="text", state="text"),
    operation("area.called", "internal"),
    operation("probe.event", "internal", about="any"),
]
_PROBE = ("a", "b", "c", "text", "name", "key", "value", "n", "item", "fail", "output", "list", "when")
_REACTIONS = [
    operation("ntfy.publish", "reaction", connection=True, topic="text!", message="text!", title="text",
              click="text", priority="number"),
    operation("http.request", "reaction", url="text!", method="text", json="any", headers="any"),
    operation("store.set", "reaction", key="text!", value="any!"),
    operation("notify.user", "reaction", title="text!", message="text"),
    operation("probe.do", "reaction", **dict.fromkeys(_PROBE, "any")),
]  # fmt: skip


class FakeCatalogue:
    """The operations above."""

    def __init__(self) -> None:
        self._actions = {one.id: one for one in _ACTIONS}
        self._reactions = {one.id: one for one in _REACTIONS}

    def action(self, name: str) -> Operation | None:
        return self._actions.get(name)

    def reaction(self, name: str) -> Operation | None:
        return self._reactions.get(name)

    def names(self, kind: str) -> list[str]:
        return list(self._actions if kind == "action" else self._reactions)
