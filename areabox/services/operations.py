"""What can be asked of one action or reaction: its form, its output, its effect, its sentence.

Made once of what a connector declares; everything that needs reflection is worked out here, not when it runs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import msgspec
from msgspec import UNSET

from areabox.errors import InputError, Problem
from areabox.sdk import Action, Connector, Reaction, Verifier
from areabox.services import forms
from areabox.services.forms import Form, FormField
from areabox.services.outputs import Output
from areabox.services.secrets import STARS

_PLACE = re.compile(r"\{(\w+)\}")
_IN_SENTENCE_MAX = 80
Declared = Action[..., Any] | Reaction[..., Any]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """An action or a reaction, as the rest of areabox knows it.

    `kind` is poll, stream, schedule, hook or internal for actions and `reaction` for reactions. `sample` and everything
    that it yields are JSON values.
    """

    id: str
    service: str
    kind: str
    title: str
    help: str
    sentence: str
    effect: str
    sample: Any
    form: Form
    output: Output
    run: Callable[..., Any]
    declared: Declared
    needs_connection: bool
    secret_fields: tuple[str, ...] = ()
    poll_ms: int | None = None
    dedupe: Any = None  # "key", "change" or None
    shared: bool = True
    delivery_id: str | None = None
    was: tuple[str, ...] = ()
    pushed: bool = False  # its service can deliver what is polled
    renew_ms: int | None = None  # … for how long, until it must be asked again

    def starred(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return parameters as they may be shown and kept."""
        hidden = self.secret_fields
        return {k: STARS if k in hidden and v else v for k, v in params.items()} if hidden else params

    def secrets_in(self, params: dict[str, Any]) -> list[str]:
        """Return the secrets among parameters."""
        hidden = self.secret_fields
        return [str(params[name]) for name in hidden if params.get(name)] if hidden else []

    @property
    def answered_by(self) -> str:
        """The action that tells which button of a question was pressed; empty where buttons open a link."""
        name = getattr(self.declared, "answers", "")
        return f"{self.service}.{name}" if name else ""

    @property
    def takes_connection(self) -> bool:
        """Whether its service has ways in, needed or not."""
        return any(way.fields for way in self.declared.connector.auth)

    @property
    def fields(self) -> Mapping[str, FormField]:
        """The parameters by name."""
        return self.form.fields

    @property
    def connector(self) -> Connector:
        """The service's connector."""
        return self.declared.connector

    def check(self, params: dict[str, Any]) -> list[Problem]:
        """Return what is wrong with literal parameters, those that are given; pointers begin at the parameters."""
        params = self.upgraded(params)
        problems = self.form.check(params)
        if self.declared.check is not None and not problems:
            problems += [Problem(f"/{name}" if name else "", detail) for name, detail in self.declared.check(params)]
        return problems

    def convert(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameters as the function takes them; raises InputError with all problems."""
        return self.form.convert(self.upgraded(params))

    def upgraded(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameters that may be older in today's form; raises InputError where the connector cannot."""
        after = dict(params)
        if not self.declared.upgrades:
            return after
        for version, change in sorted(self.declared.upgrades.items()):
            try:
                after = dict(change(after))
            except Exception as error:
                raise InputError(f"the parameters of {self.id} cannot be brought to version {version}") from error
        return after

    def schema(self) -> dict[str, Any]:
        """Return the form as JSON Schema."""
        return self.form.schema()

    def output_schema(self) -> dict[str, Any]:
        """Return what an event or a result looks like, as JSON Schema."""
        return self.output.schema()

    def effect_of(self, params: Mapping[str, Any]) -> str:
        """Return what a repeat with these parameters means: read, idempotent, keyed or once."""
        declared = self.declared
        if isinstance(declared, Reaction) and callable(declared.effect):
            return declared.effect(self.upgraded(params))
        return self.effect

    def sentence_of(self, params: Mapping[str, Any]) -> str:
        """Return the sentence with the values in it, defaults where none is given."""
        return _PLACE.sub(lambda found: _shown(params.get(found[1], self._default(found[1]))), self.sentence)

    def _default(self, name: str) -> Any:
        field = self.fields.get(name)
        return "…" if field is None or field.default in (UNSET, None, "") else field.default

    def verifier(self, params: dict[str, Any]) -> Verifier | None:
        """Return how deliveries with these parameters are verified; None: they are not."""
        verify = self.declared.verify if isinstance(self.declared, Action) else None
        return verify if verify is None or isinstance(verify, Verifier) else verify(params)


def of_action(action: Action[..., Any]) -> Operation:
    """Return the operation that an action is."""
    connector = action.connector
    if action.kind in ("poll", "stream") and not inspect.isasyncgenfunction(action.run):
        raise TypeError(f"{action.name} must be an async generator: async def that yields events")
    return Operation(
        **_common(action),
        kind=action.kind,
        effect="read",
        output=Output(type(action.sample), action.sample),
        poll_ms=action.poll_ms,
        dedupe=action.dedupe,
        shared=action.shared,
        delivery_id=action.delivery_id or (action.hook.verify.delivery_id if action.hook else None),
        pushed=action.hook is not None and action.kind == "poll",
        renew_ms=action.hook.renew_ms if action.hook else None,
        needs_connection=_needs_connection(connector),
    )


def of_reaction(reaction: Reaction[..., Any]) -> Operation:
    """Return the operation that a reaction is."""
    if not inspect.iscoroutinefunction(reaction.run):
        raise TypeError(f"{reaction.name} must be an async function")
    returned = get_type_hints(reaction.run).get("return", type(None))
    return Operation(
        **_common(reaction),
        kind="reaction",
        effect="once" if callable(reaction.effect) else reaction.effect,
        output=Output(returned, reaction.sample),
        needs_connection=_needs_connection(reaction.connector),
    )


def _common(declared: Declared) -> dict[str, Any]:
    if not declared.help:
        raise TypeError(f"{declared.name} has no docstring; it is what people read as its help")
    service, form = declared.connector.id, forms.of_function(declared.run)
    return {
        "id": f"{service}.{declared.name}",
        "service": service,
        "title": declared.title,
        "help": declared.help,
        "sentence": declared.sentence,
        "sample": Output(type(declared.sample), declared.sample).shown(),
        "form": form,
        "secret_fields": form.secrets,
        "run": declared.run,
        "declared": declared,
        "was": declared.was,
    }


def _needs_connection(connector: Connector) -> bool:
    return bool(connector.auth) and not any(way.optional for way in connector.auth)


def _shown(value: Any) -> str:
    text = str(forms.text_of(value))
    return text if len(text) <= _IN_SENTENCE_MAX else text[: _IN_SENTENCE_MAX - 1] + "…"
