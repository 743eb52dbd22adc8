"""How does Docker's engine list things? Rows, and the names of containers."""

from __future__ import annotations

from typing import Any

from areabox.sdk import Transient


def rows(found: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; raises `Transient` for what is none."""
    if not isinstance(found, list):
        raise Transient("the engine did not answer with a list")
    return [one for one in found if isinstance(one, dict)]


def name_of(one: dict[str, Any]) -> str:
    """Return the name of a listed container, the beginning of its id where it has none."""
    names = one.get("Names") or [str(one.get("Id", ""))[:12]]
    return str(names[0]).removeprefix("/")
