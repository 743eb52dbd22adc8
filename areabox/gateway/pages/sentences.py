"""How does an area read? As a sentence, and as an outline of its steps; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from areabox.services.catalogue import Catalogue

# Keys of a step that say how, not what.
_HOW = frozenset(
    {"id", "name", "disabled", "connection", "retry", "timeout", "on_error", "every", "missed", "if", "then", "else",
     "as", "at_once", "join", "with", "because"}
)  # fmt: skip
_TEXT_MAX = 90
_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


class Line(msgspec.Struct, frozen=True):
    """One line of an outline, with what stands below it."""

    id: str
    mark: str
    text: str
    guard: str = ""
    disabled: bool = False
    below: list[Line] = []


def sentence(document: dict[str, Any], catalogue: Catalogue) -> str:
    """Return an area in one sentence: when, only if, then."""
    when = " or ".join(operation(trigger, catalogue, "action") for trigger in document.get("when", []))
    steps = [line.text for line in outline(document.get("then", []), catalogue)]
    guard = f", if {document['if']}" if document.get("if") else ""
    rest = f", and {len(steps) - 2} more" if len(steps) > 2 else ""
    return f"When {when}{guard}: {', then '.join(steps[:2]) or 'do nothing'}{rest}"


def triggers(document: dict[str, Any], catalogue: Catalogue) -> list[Line]:
    """Return what an area listens to."""
    return [
        Line(trigger.get("id", ""), "◉", operation(trigger, catalogue, "action"), trigger.get("if", ""))
        for trigger in document.get("when", [])
    ]


def outline(steps: list[dict[str, Any]], catalogue: Catalogue) -> list[Line]:
    """Return the steps of a list, each with its branches."""
    return [_line(step, catalogue) for step in steps]


def operation(entry: dict[str, Any], catalogue: Catalogue, kind: str) -> str:
    """Return an action or reaction with its parameters in words, or its name and parameters where it has none."""
    name = next((key for key in entry if key not in _HOW), "")
    params = entry.get(name) or {}
    found = catalogue.action(name) if kind == "action" else catalogue.reaction(name)
    if found is not None and found.sentence and isinstance(params, dict):
        return readable(found.sentence_of(params))
    return f"{name} {_short(params)}".strip() if params else name


def readable(text: str) -> str:
    """Return a text with its templates as people read them, in single angle quotes instead of double braces."""
    end = text.rfind("}}") + 2  # what is never closed is not looked for again and again
    return _TEMPLATE.sub(lambda found: f"\u2039{found[1].strip()}\u203a", text[:end]) + text[end:]


def _line(step: dict[str, Any], catalogue: Catalogue) -> Line:
    kind = next((key for key in step if key not in _HOW), "if" if "if" in step else "")
    text, mark = _words(kind, step, catalogue)
    guard = "" if kind == "if" else step.get("if", "")
    return Line(
        step.get("id", ""),
        mark,
        step.get("name") or text,
        guard,
        bool(step.get("disabled")),
        list(_branches(kind, step, catalogue)),
    )


def _words(kind: str, step: dict[str, Any], catalogue: Catalogue) -> tuple[str, str]:
    given = step.get(kind)
    wait_for = operation(given, catalogue, "action") if kind == "wait_for" and isinstance(given, dict) else ""
    ask = given.get("question", "") if kind == "ask" and isinstance(given, dict) else ""
    words = {
        "if": (f"if {given}", "◇"),
        "choose": ("choose", "◇"),
        "each": (f"for each of {_short(given)}", "↻"),
        "repeat": (f"repeat {_short(given)}", "↻"),
        "parallel": ("at the same time", "‖"),
        "wait": (f"wait {_short(given)}", "◷"),
        "wait_for": (f"wait until {wait_for}", "◷"),
        "ask": (f"ask “{readable(ask)}”", "?"),
        "call": (f"run {_short(given)}", "→"),
        "set": (f"set {_short(given)}", "="),
        "collect": (f"collect {_short(given)}", "≡"),
        "once": (f"once {_short(given)}", "1"),
        "return": (f"return {_short(given)}", "↵"),
        "stop": (f"stop as {_short(given)}", "■"),
    }
    return words.get(kind) or (operation(step, catalogue, "reaction"), "▸")


def _branches(kind: str, step: dict[str, Any], catalogue: Catalogue) -> Iterator[Line]:
    if kind == "choose":
        for branch in step["choose"]:
            yield Line("", "", f"if {branch.get('if', '')}", below=outline(branch.get("then", []), catalogue))
    elif kind == "parallel":
        for number, steps in enumerate(step["parallel"], 1):
            yield Line("", "", f"branch {number}", below=outline(steps, catalogue))
    elif step.get("then"):
        yield from outline(step["then"], catalogue)
    elif kind == "ask" and isinstance(step["ask"], dict) and step["ask"].get("via"):
        yield Line("", "", "asked by", below=outline(step["ask"]["via"], catalogue))
    if step.get("else"):
        yield Line("", "", "otherwise", below=outline(step["else"], catalogue))
    if isinstance(step.get("on_error"), list):
        yield Line("", "", "if it fails", below=outline(step["on_error"], catalogue))


def _short(given: Any) -> str:
    if isinstance(given, str):
        text = given
    elif isinstance(given, dict):
        text = ", ".join(f"{key}: {_short(item)}" for key, item in given.items())
    else:
        text = msgspec.json.encode(given).decode()
    text = readable(text)
    return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"
