"""What does the settings file say of commands? A table for each, of which everything is checked at the start.

    [shell.commands.restart-nas]
    argv = ["/usr/bin/ssh", "root@nas", "systemctl", "restart", "{unit}"]
    patterns = {unit = "[a-z-]+"}
    timeout = "20s"
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from areabox.deployment import values
from areabox.sdk import Command
from areabox.sdk.commands import PLACE

NAME = re.compile(r"[a-z0-9-]{1,64}")
_LOOKS_LIKE_ONE = re.compile(r"\{[A-Za-z0-9_]+\}")
_KEYS = ("argv", "about", "timeout", "output", "folder", "env", "patterns", "everybody")
TIMEOUT_MAX_MS, OUTPUT_MAX = 3_600_000, 1024 * 1024
COMMANDS_MAX = 200


def read(given: Any) -> tuple[Command, ...]:
    """Read the table `shell` of the settings file; raises ValueError with what is wrong."""
    if given in ("", {}):
        return ()
    if not isinstance(given, dict) or set(given) - {"commands"} or not isinstance(given.get("commands", {}), dict):
        raise ValueError("a table [shell.commands.NAME] for each command is expected, in the settings file")
    found = given.get("commands", {})
    if len(found) > COMMANDS_MAX:
        raise ValueError(f"at most {COMMANDS_MAX} commands are expected")
    return tuple(_command(str(name), table) for name, table in found.items())


def _command(name: str, table: Any) -> Command:
    if not NAME.fullmatch(name) or not isinstance(table, dict):
        raise ValueError(f"shell.commands.{name}: the name is of a-z, 0-9 and -, and it is a table")
    try:
        _known(table)
        made = Command(
            name=name, argv=_argv(table.get("argv")), about=values.text(table.get("about", "")),
            timeout_ms=values.duration_ms(table.get("timeout", "30s")),
            output_bytes=values.size_bytes(table.get("output", "64KiB")), folder=_absolute(table.get("folder", "/")),
            env=_texts(table.get("env", {})), patterns=_patterns(table.get("patterns", {})),
            everybody=values.switch(table.get("everybody", False)),
        )  # fmt: skip
        _check(made)
    except ValueError as error:
        raise ValueError(f"shell.commands.{name}: {error}") from None
    return made


def _known(table: dict[str, Any]) -> None:
    if unknown := sorted(set(table) - set(_KEYS)):
        raise ValueError(f"{unknown[0]} is not known; there are {', '.join(_KEYS)}")


def _check(command: Command) -> None:
    if not 0 < command.timeout_ms <= TIMEOUT_MAX_MS or not 0 < command.output_bytes <= OUTPUT_MAX:
        raise ValueError("the timeout is up to 1h, and the output up to 1MiB")
    if unknown := sorted(set(command.patterns) - set(command.places)):
        raise ValueError(f"patterns: argv has no place {{{unknown[0]}}}")


def _argv(given: Any) -> tuple[str, ...]:
    fits = isinstance(given, list) and given and all(isinstance(part, str) and "\0" not in part for part in given)
    if not fits:
        raise ValueError("argv is a list of texts, the program first")
    _absolute(given[0])
    for part in given:
        if _LOOKS_LIKE_ONE.search(part) and (not PLACE.fullmatch(part) or part is given[0]):
            raise ValueError(f"argv: {part!r}: a place is a whole argument, such as {{unit}}, and not the program")
    return tuple(given)


def _absolute(given: Any) -> str:
    if not isinstance(given, str) or not PurePosixPath(given).is_absolute():
        raise ValueError(f"{given!r}: a whole path is expected, since there is no PATH")
    return given


def _texts(given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise ValueError("env is a table of texts")
    return dict(given)


def _patterns(given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise ValueError("patterns is a table of regular expressions")
    for name, pattern in given.items():
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"patterns: {name}: {error}") from None
    return dict(given)
