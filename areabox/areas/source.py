"""What the text of an area file holds, and where each part of it stands.

YAML 1.2's core schema on libyaml's events: `on`, `yes` and `12:30` are text, keys are text, nothing has a tag, a key
that stands twice is a problem. A text that begins like JSON is read as JSON first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec
import yaml

from areabox.areas.template import escaped
from areabox.errors import InputError, Problem

MAX_BYTES = 1_048_576
MAX_DEPTH = 32
MAX_NODES = 100_000
_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
Place = tuple[int, int]


class Source(msgspec.Struct, frozen=True):
    """One document: its JSON data, and by JSON Pointer the line and column of each value and each key."""

    data: Any
    values: dict[str, Place] = {}
    keys: dict[str, Place] = {}

    def place(self, pointer: str, *, of_key: bool = False) -> Place | tuple[None, None]:
        """Return where a value or key stands; where that is not known, what it stands in."""
        if of_key and pointer in self.keys:
            return self.keys[pointer]
        while pointer not in self.values:
            if not pointer:
                return (None, None)
            pointer = pointer.rpartition("/")[0]
        return self.values[pointer]


def read(text: str, name: str = "document") -> list[Source]:
    """Return the documents of a YAML stream or JSON text; raises InputError with the place."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise InputError(f"{name} is larger than 1 MiB", [Problem("", "it is larger than 1 MiB")])
    if text.lstrip()[:1] in ("{", "["):
        found = _read_json(text, name)
        if isinstance(found, list):
            return [Source(item) for item in found]
        if found is not None:
            return [_placed(found, text, name)]
    composer = _Composer(name)
    return [source for source in composer.documents(text) if source.data is not None]


def check_data(data: Any, name: str = "document") -> Source:
    """Return a document that came as data; raises InputError where it is nested too deeply or is no JSON."""
    left, level = MAX_NODES, [("", data)]
    for _ in range(MAX_DEPTH):
        left -= len(level)
        if left < 0:
            _refuse(name, "", f"it has more than {MAX_NODES:,} values")
        below = []
        for pointer, item in level:
            if isinstance(item, dict):
                below += [(f"{pointer}/{escaped(key)}", part) for key, part in item.items()]
            elif isinstance(item, list):
                below += [(f"{pointer}/{index}", part) for index, part in enumerate(item)]
            elif not isinstance(item, (str, int, float)) and item is not None:
                _refuse(name, pointer, "it is not a JSON value")
        level = below
    if level:
        _refuse(name, level[0][0], f"values are nested more than {MAX_DEPTH} deep")
    return Source(data)


def _placed(data: Any, text: str, name: str) -> Source:
    """Return a JSON document with its places, which YAML's parser knows; without, where JSON is not quite YAML."""
    try:
        found = _Composer(name).documents(text)
    except InputError:
        return Source(data)
    return msgspec.structs.replace(found[0], data=data)


def _refuse(name: str, pointer: str, detail: str, place: Place | None = None) -> NoReturn:
    problem = Problem(pointer, detail, *(place or (None, None)))
    raise InputError(f"{name}: {problem}", [problem])


def _read_json(text: str, name: str) -> Any:
    """Return the value of a JSON text; None where it is not JSON, so that YAML says what is wrong and where."""
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) < len(items):
            twice.extend(key for index, (key, _) in enumerate(items) if key in [one for one, _ in items[:index]])
        return made

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        found = json.loads(text, object_pairs_hook=pairs, parse_constant=refuse)
    except (ValueError, RecursionError):
        return None
    if twice:
        return None
    return check_data(found, name).data


class _Composer:
    """Puts the events of a YAML stream together."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = MAX_NODES
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._problems: list[Problem] = []
        self._values: dict[str, Place] = {}
        self._keys: dict[str, Place] = {}

    def documents(self, text: str) -> list[Source]:
        """Return every document; raises InputError."""
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            made = list(self._documents(iter(yaml.parse(text, Loader=loader))))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = f"not YAML: {error.problem or error.context}"
            _refuse(self._name, "", what + _advice(text, mark), (mark.line + 1, mark.column + 1) if mark else None)
        except yaml.YAMLError as error:
            _refuse(self._name, "", f"not YAML: {str(error).splitlines()[0]}")
        if self._problems:
            raise InputError("\n".join(f"{self._name}: {problem}" for problem in self._problems), self._problems)
        return made

    def _documents(self, events: Iterator[yaml.Event]) -> Iterator[Source]:
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._values, self._keys, self._anchors = {}, {}, {}
                data = self._node(next(events), events, "", 1)
                yield Source(data, self._values, self._keys)

    def _node(self, event: Any, events: Iterator[yaml.Event], pointer: str, depth: int) -> Any:
        place = _place(event)
        self._values[pointer] = place
        self._spend(1, pointer, place)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), pointer, place)
        if event.tag is not None:
            _refuse(self._name, pointer, f"tags are not supported: {str(event.tag)[:40]}", place)
        if depth > MAX_DEPTH:
            _refuse(self._name, pointer, f"values are nested more than {MAX_DEPTH} deep", place)
        before = self._left
        if isinstance(event, yaml.ScalarEvent):
            data = event.value if event.style else _scalar(event.value)  # bare: the style is empty
        elif isinstance(event, yaml.SequenceStartEvent):
            data = self._sequence(events, pointer, depth)
        else:
            data = self._mapping(events, pointer, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (data, before - self._left + 1)
        return data

    def _spend(self, nodes: int, pointer: str, place: Place) -> None:
        self._left -= nodes
        if self._left < 0:
            _refuse(self._name, pointer, f"the file has more than {MAX_NODES:,} values", place)

    def _alias(self, anchor: str, pointer: str, place: Place) -> Any:
        if anchor not in self._anchors:
            _refuse(self._name, pointer, f"*{anchor[:40]} stands for nothing that was written before", place)
        data, nodes = self._anchors[anchor]
        self._spend(nodes, pointer, place)
        return data

    def _sequence(self, events: Iterator[yaml.Event], pointer: str, depth: int) -> list[Any]:
        made: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            made.append(self._node(event, events, f"{pointer}/{len(made)}", depth + 1))
        return made

    def _mapping(self, events: Iterator[yaml.Event], pointer: str, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            place = _place(event)
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
                _refuse(self._name, pointer, "a key is a text; put {{ … }} in quotes", place)
            key = event.value
            inside = f"{pointer}/{escaped(key)}"
            if key in made:
                first = self._keys[inside][0]
                self._problems.append(Problem(inside, f"the key stands twice, first in line {first}", *place))
            self._keys[inside] = place
            made[key] = self._node(next(events), events, inside, depth + 1)
        return made


def _place(event: yaml.Event) -> Place:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _scalar(text: str) -> Any:
    """Return what a plain scalar means in YAML 1.2's core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if not (text[0].isascii() and (text[0].isdigit() or text[0] in "+-.")) or len(text) > 300:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        found = float(text)
        return found if abs(found) != float("inf") else text
    return text


def _advice(text: str, mark: yaml.Mark | None) -> str:
    """Return what most often helps where YAML cannot be read."""
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    here = line[mark.column :][:1] if mark else ""
    value = line.partition(": ")[2].lstrip()
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "; indent with spaces, not tabs"
    if "{{" in line:
        return "; put a text with {{ }} in quotes"
    if here in ("@", "`", "%"):
        return f"; put a text that begins with {here} in quotes"
    if value[:1] in ("'", '"'):
        return "; put the whole text in quotes, others than those in it"
    if ": " in value:
        return "; put a text with : or # in quotes"
    return "; what belongs together begins in the same column" if line[:1] == " " else ""
