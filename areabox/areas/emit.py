"""How a document is written as YAML that a person likes to read.

Block style, with the short parameters of an operation in one line; texts bare where every YAML reader takes them for
text, in double quotes otherwise, and several lines as a block.
"""

from __future__ import annotations

import json
import re
from typing import Any

_WIDTH = 110
_BARE = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ][A-Za-z0-9À-ÖØ-öø-ÿ_ ./()+=€%’<>*|!&?;'–-]*")  # noqa: RUF001 -- letters that people write
_DURATION = re.compile(r"([0-9]+(ms|[smhdw]))+")
_WORDS = frozenset(["true", "false", "yes", "no", "on", "off", "null", "none", "y", "n", "~", ".inf", ".nan"])
_BLOCK = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff\r\t]*")


def emit_yaml(document: dict[str, Any]) -> str:
    """Return the document as YAML that reads back to the same data."""
    lines: list[str] = []
    _mapping(document, 0, lines)
    return "\n".join(lines) + "\n"


def _mapping(data: dict[str, Any], depth: int, lines: list[str], first: str = "") -> None:
    """Write keys and values; the first line begins with `first` instead of white space."""
    for index, (key, item) in enumerate(data.items()):
        lead = first if index == 0 and first else "  " * depth
        _entry(f"{lead}{_scalar(key)}:", key, item, depth, lines)


def _entry(start: str, key: str, item: Any, depth: int, lines: list[str]) -> None:
    if isinstance(item, str) and _is_block(item):
        _block(start, item, depth, lines)
    elif not isinstance(item, (dict, list)) or not item or _in_one_line(start, key, item):
        lines.append(f"{start} {_flow(item)}")
    else:
        lines.append(start)
        if isinstance(item, dict):
            _mapping(item, depth + 1, lines)
        else:
            _sequence(item, depth + 1, lines)


def _sequence(items: list[Any], depth: int, lines: list[str], first: str = "") -> None:
    """Write the entries of a list; the first line begins with `first` instead of white space."""
    for index, item in enumerate(items):
        lead = (first if index == 0 and first else "  " * depth) + "- "
        if isinstance(item, dict) and item:
            _mapping(item, depth + 1, lines, lead)
        elif isinstance(item, list) and any(isinstance(part, (dict, list)) for part in item):
            _sequence(item, depth + 1, lines, lead)
        elif isinstance(item, str) and _is_block(item):
            _block(lead.rstrip(), item, depth, lines)
        else:
            lines.append(f"{lead}{_flow(item)}")


def _in_one_line(start: str, key: str, item: Any) -> bool:
    """Return whether a list of plain values, or an object, fits in the rest of the line and reads well there."""
    parts = list(item.values()) if isinstance(item, dict) else item
    nested = any(isinstance(part, (dict, list)) and part for part in parts)
    if key == "wait_for" or (isinstance(item, list) and nested):
        return False
    written = _flow(item)
    return "\\n" not in written and len(start + written) < (_WIDTH if not nested else _WIDTH - 20)


def _flow(item: Any) -> str:
    if isinstance(item, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(part)}" for key, part in item.items()) + "}"
    if isinstance(item, list):
        return "[" + ", ".join(map(_flow, item)) + "]"
    return _scalar(item)


def _scalar(item: Any) -> str:
    if not isinstance(item, str):
        return json.dumps(item)
    if _DURATION.fullmatch(item):
        return item
    if _BARE.fullmatch(item) and item.lower() not in _WORDS and item == item.strip() and len(item) < 500:
        return item
    if "\\" in item or '"' in item:
        single = "'" + item.replace("'", "''") + "'"
        if _BLOCK.fullmatch(item) and "\n" not in item:
            return single
    return _quoted(item)


def _quoted(item: str) -> str:
    """Return a text in double quotes: JSON, with what YAML does not take bare escaped."""
    made = json.dumps(item, ensure_ascii=False)
    return re.sub(
        r"[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]", lambda found: f"\\u{ord(found[0]):04x}", made
    )


def _is_block(item: str) -> bool:
    body = item.strip("\n")
    return "\n" in body and body[0] not in " \t" and bool(_BLOCK.fullmatch(item)) and item[0] != "\n"


def _block(start: str, item: str, depth: int, lines: list[str]) -> None:
    tail = len(item) - len(item.rstrip("\n"))
    lines.append(f"{start} |" + ("-" if tail == 0 else "" if tail == 1 else "+"))
    lead = "  " * (depth + 1)
    rest = item.split("\n") if tail == 0 else item.split("\n")[:-1]
    lines.extend(f"{lead}{line}" if line else "" for line in rest)
