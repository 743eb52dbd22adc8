"""A command that an admin defined: all that may be run of this machine, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

PLACE: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")
VALUE_MAX: Final = 4_096


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A program and its arguments, of which `{name}` stands for one whole argument that an area gives.

    `patterns` says what such a value must be (a whole match); where it says nothing, one may not begin with a dash.
    """

    name: str
    argv: tuple[str, ...]
    about: str = ""
    timeout_ms: int = 30_000
    output_bytes: int = 64 * 1024
    folder: str = "/"
    env: Mapping[str, str] = {}
    patterns: Mapping[str, str] = {}
    everybody: bool = False  # also for areas of accounts that are neither owner nor admin

    def __str__(self) -> str:
        return self.name

    @property
    def places(self) -> list[str]:
        """Return the names of the values that it takes."""
        return list(dict.fromkeys(found[1] for part in self.argv[1:] if (found := PLACE.fullmatch(part))))

    def filled(self, values: Mapping[str, str]) -> list[str]:
        """Return what is run; raises ValueError for a value that is missing, unknown or not allowed."""
        places = self.places
        if wrong := sorted(set(values) ^ set(places)):
            raise ValueError(f"{self.name} takes the values {', '.join(places) or 'none'}; look at {', '.join(wrong)}")
        for name, value in values.items():
            self._judge(name, value)
        return [values[found[1]] if (found := PLACE.fullmatch(part)) else part for part in self.argv]

    def _judge(self, name: str, value: str) -> None:
        if "\0" in value or len(value) > VALUE_MAX:
            raise ValueError(f"the value {name} has at most {VALUE_MAX:,} characters, none of them NUL")
        pattern = self.patterns.get(name)
        if pattern is None and value.startswith("-"):
            raise ValueError(f"the value {name} may not begin with a dash, unless the command's patterns say so")
        if pattern is not None and re.fullmatch(pattern, value) is None:
            raise ValueError(f"the value {name} is not what the command's patterns allow")
