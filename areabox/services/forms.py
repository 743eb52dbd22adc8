"""What does a form ask for, and is what was filled in all right? The form says so itself.

A form is made of a signature, or of the fields of a way in, once. Converting is the hot path of every reaction: one
msgspec conversion; only where it fails is every field looked at alone, for a mild reading or a full list of problems.
"""

from __future__ import annotations

import difflib
import inspect
import re
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from areabox.errors import InputError, Problem
from areabox.sdk import UNSET, Field
from areabox.services import formats

_FORMATS = {"url": "uri", "datetime": "date-time"}  # where JSON Schema has a word of its own
_NUMBER = frozenset({int, float})
_GIVEN_BY_HOUSE = frozenset({"ctx", "delivery"})

Coerce = Callable[[Any], Any]


class FormField(msgspec.Struct, frozen=True, kw_only=True):
    """One field: what a form shows, and the type that its value is converted to."""

    name: str
    required: bool
    default: Any = UNSET
    spec: Field
    type: Any
    widget: str
    choices: tuple[Any, ...] = ()
    depends: tuple[str, ...] = ()
    coerce: Coerce | None = None

    @property
    def label(self) -> str:
        """What a person reads beside it."""
        return self.spec.label or self.name.replace("_", " ").capitalize()

    @property
    def secret(self) -> bool:
        """Whether its value must not be shown or stored openly."""
        return self.spec.secret

    @property
    def fixed(self) -> bool:
        """Whether its value must be written as it is, without templates."""
        return self.spec.fixed

    def complaint(self, value: Any) -> str | None:
        """Return what is wrong with a value, None if nothing is."""
        try:
            self.checked(value)
        except ValueError as error:
            return str(error)
        return None

    def checked(self, value: Any) -> Any:
        """Return a value as the operation takes it; raises ValueError (of which msgspec's error is one)."""
        if not self.required and (value is None or value == self.default):
            return self.default
        try:
            found = msgspec.convert(value, self.type, strict=False)
        except msgspec.ValidationError as error:
            found = self._mildly(value, error)
        self.inspect(found)
        return found

    def inspect(self, value: Any) -> None:
        """Raise ValueError where a converted value breaks its format."""
        if self.spec.format is not None and isinstance(value, str) and (value or self.required):
            formats.check(self.spec.format, value)
        if self.spec.check is not None:
            self.spec.check(value)

    def _mildly(self, value: Any, error: msgspec.ValidationError) -> Any:
        """Convert what is no text to text where text is wanted; raises ValueError for a person."""
        if self.coerce is not None:
            try:
                return msgspec.convert(self.coerce(value), self.type, strict=False)
            except msgspec.ValidationError as again:
                error = again
        if self.choices:
            raise ValueError(f"{value!r} is none of {', '.join(map(str, self.choices))}") from None
        message, _, place = str(error).partition(" - at `$")
        where = f" at {place.rstrip('`').lstrip('.')}" if place and place != "`" else ""
        raise ValueError(_spoken(message) + where) from None


class Form(msgspec.Struct, frozen=True):
    """The fields of an operation or of a way in, and the struct that they make together."""

    struct: type[msgspec.Struct]
    fields: dict[str, FormField]
    inspected: tuple[FormField, ...] = ()  # those with more rules than their type says

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the fields whose values must not be shown."""
        return tuple(field.name for field in self.fields.values() if field.secret)

    def check(self, values: Mapping[str, Any]) -> list[Problem]:
        """Return what is wrong with the values that are given; others may be missing."""
        problems = []
        for name, value in values.items():
            field = self.fields.get(name)
            if field is not None and (complaint := field.complaint(value)):
                problems.append(Problem(f"/{name}", complaint))
        return problems

    def check_all(self, values: Mapping[str, Any]) -> list[Problem]:
        """Return all that is wrong with values: unknown ones, missing ones, wrong ones."""
        unknown = [Problem(f"/{name}", self._unknown(name)) for name in values if name not in self.fields]
        missing = [
            Problem(f"/{field.name}", "it is missing")
            for field in self.fields.values()
            if field.required and field.name not in values
        ]
        return unknown + missing + self.check(values)

    def convert(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values as the operation takes them, with defaults; raises InputError with all problems."""
        try:
            found = msgspec.structs.asdict(msgspec.convert(values, self.struct, strict=False))
            for field in self.inspected:
                if (value := found[field.name]) != field.default:
                    field.inspect(value)
        except ValueError:
            return self._one_by_one(values)
        return found

    def schema(self) -> dict[str, Any]:
        """Return the form as JSON Schema (2020-12)."""
        return inline(msgspec.json.schema(self.struct), self.struct)

    def _one_by_one(self, values: Mapping[str, Any]) -> dict[str, Any]:
        if problems := self.check_all(values):
            raise InputError("; ".join(str(problem) for problem in problems), problems)
        return {
            name: field.checked(values[name]) if name in values else field.default
            for name, field in self.fields.items()
        }

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.fields, 1)
        return f"there is no {name} here" + (f"; did you mean {near[0]}?" if near else "")


def of_function(run: Callable[..., Any]) -> Form:
    """Return the form that a function's signature is; raises TypeError where it cannot be one."""
    hints = get_type_hints(run, include_extras=True)
    asked: dict[str, tuple[Any, Any]] = {}
    for parameter in inspect.signature(run).parameters.values():
        if parameter.name in _GIVEN_BY_HOUSE:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{parameter.name}: a form has no place for any number of values")
        if parameter.name not in hints:
            raise TypeError(f"{parameter.name} has no type")
        asked[parameter.name] = (hints[parameter.name], parameter.default)
    return _form(run.__name__, asked, inspect.Parameter.empty)


def of_types(name: str, fields: Mapping[str, Any]) -> Form:
    """Return the form of a mapping from names to types, or to pairs of a type and its default."""
    asked = {key: value if isinstance(value, tuple) else (value, UNSET) for key, value in fields.items()}
    return _form(name, asked, UNSET)


def inline(schema: dict[str, Any], struct: type) -> dict[str, Any]:
    """Return a schema whose top is the struct itself, not a reference to it."""
    definitions = dict(schema.get("$defs", {}))
    top = dict(definitions.pop(schema["$ref"].rsplit("/", 1)[-1])) if "$ref" in schema else dict(schema)
    top.pop("$defs", None)
    top["title"] = struct.__name__
    return top | ({"$defs": definitions} if definitions else {})


def _form(name: str, asked: Mapping[str, tuple[Any, Any]], nothing: object) -> Form:
    fields = {key: _field(key, hint, UNSET if value is nothing else value, value is nothing)
              for key, (hint, value) in asked.items()}  # fmt: skip
    members: list[Any] = [
        (key, _with_meta(field)) if field.required else (key, _with_meta(field), _default(field.default))
        for key, field in fields.items()
    ]
    struct = msgspec.defstruct(name, members, kw_only=True, forbid_unknown_fields=True)
    msgspec.json.schema(struct)  # raises TypeError here where a type has none
    inspected = tuple(field for field in fields.values() if field.spec.format or field.spec.check)
    return Form(struct, fields, inspected)


def _field(name: str, hint: Any, default: Any, required: bool) -> FormField:  # noqa: FBT001 -- private
    bare, spec = _taken_apart(hint)
    choices = get_args(bare) if get_origin(bare) is Literal else ()
    depends: tuple[str, ...] = ()
    if spec.options is not None:
        depends = tuple(p for p in inspect.signature(spec.options).parameters if p not in ("ctx", "q"))
    return FormField(
        name=name,
        required=required,
        default=default,
        spec=spec,
        type=_constrained(bare, spec),
        widget=_widget(bare, spec),
        choices=choices,
        depends=depends,
        coerce=_coercion(bare),
    )


def _taken_apart(hint: Any) -> tuple[Any, Field]:
    """Return a type without what was annotated, and all that its `Field`s say."""
    spec = Field()
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        for note in notes:
            if isinstance(note, Field):
                spec = note.over(spec)
            elif isinstance(note, msgspec.Meta):
                hint = Annotated[hint, note]
    if get_origin(hint) in (Union, types.UnionType):
        parts = [_taken_apart(part) for part in get_args(hint)]
        for _, inner in parts:
            spec = spec.over(inner)
        hint = Union[tuple(part for part, _ in parts)]  # noqa: UP007 -- made of values
    return hint, spec


def _constrained(bare: Any, spec: Field) -> Any:
    names = ("pattern", "ge", "gt", "le", "lt", "min_length", "max_length")
    said = {name: value for name in names if (value := getattr(spec, name)) is not None}
    return Annotated[bare, msgspec.Meta(**said)] if said else bare


def _with_meta(field: FormField) -> Any:
    """Return the type of a field with what a form needs of it, for its JSON Schema."""
    spec = field.spec
    extra: dict[str, Any] = {}
    if spec.format:
        extra["format"] = _FORMATS.get(spec.format, spec.format)
    if spec.placeholder:
        extra["examples"] = [spec.placeholder]
    if spec.secret:
        extra["writeOnly"] = True
    if spec.multiline:
        extra["x-multiline"] = True
    if spec.options is not None:
        extra["x-options"] = list(field.depends)
    meta = msgspec.Meta(title=field.label, description=spec.help or None, extra_json_schema=extra or None)
    return Annotated[field.type, meta]


def _default(value: Any) -> Any:
    if isinstance(value, (list, dict, set)):
        return msgspec.field(default_factory=lambda: type(value)(value))
    return value


def _members(bare: Any) -> tuple[Any, ...]:
    if get_origin(bare) in (Union, types.UnionType):
        return tuple(part for part in get_args(bare) if part not in (type(None), msgspec.UnsetType))
    return (bare,)


def _widget(bare: Any, spec: Field) -> str:
    members = _members(bare)
    kind = get_origin(members[0]) or members[0]
    if spec.secret:
        return "password"
    if spec.options is not None:
        return "combobox"
    if kind is Literal:
        return "select"
    if kind is bool:
        return "checkbox"
    if len(members) == 1 and kind in _NUMBER:
        return "number"
    if kind in (list, tuple, set):
        return "list"
    if kind is dict:
        return "keyvalue"
    if kind is str:
        return "textarea" if spec.multiline else {"url": "url", "email": "email", "color": "color"}.get(
            spec.format or "", "text"
        )  # fmt: skip
    return "json"


def _coercion(bare: Any) -> Coerce | None:
    """Return how a value that is no text becomes text, where this type wants text."""
    members = _members(bare)
    if len(members) != 1:
        return None
    kind, arguments = get_origin(members[0]) or members[0], get_args(members[0])
    if kind is str:
        return text_of
    if kind is dict and len(arguments) == 2 and arguments[1] is str:
        return lambda value: {k: text_of(v) for k, v in value.items()} if isinstance(value, dict) else value
    if kind is list and arguments == (str,):
        return lambda value: [text_of(item) for item in value] if isinstance(value, list) else value
    return None


def text_of(value: Any) -> Any:
    """Return a JSON value as text: text as it is, others as JSON; null stays null, since it is not a text."""
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value, enc_hook=str).decode()


_SPOKEN = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
}
_QUOTED = re.compile(r"`([a-z |]+)`")


def _spoken(message: str) -> str:
    """Return a message of msgspec in the words of the area language."""

    def words(found: re.Match[str]) -> str:
        return " or ".join(_SPOKEN.get(word, word) for word in found[1].split(" | "))

    message = _QUOTED.sub(words, message)
    return message[:1].lower() + message[1:]
