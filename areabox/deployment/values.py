"""How the value of a setting is read: a text of the environment or a TOML value becomes what the program uses.

Each reader takes what was given and returns the value, or raises `ValueError` with half a sentence that says what was
expected.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from areabox.areas import durations
from areabox.errors import InputError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Reader = Callable[[Any], Any]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_BASE_PATH = re.compile(r"(/[A-Za-z0-9][A-Za-z0-9._~-]{0,63}){1,8}")
_SWITCH = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}
TIMES = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
SIZES = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024), ("B", 1))


def in_units(value: int, units: tuple[tuple[str, int], ...]) -> str:
    """Return a number in the largest unit in which it is whole."""
    name, factor = next(unit for unit in units if value % unit[1] == 0)
    return f"{value // factor}{name}"


def text(given: Any) -> str:
    """Read a text."""
    if not isinstance(given, str):
        raise ValueError("a text is expected")  # noqa: TRY004 -- one kind of error per reader
    return given.strip()


def choice(*names: str) -> Reader:
    """Return a reader of one of `names`."""

    def read(given: Any) -> str:
        if str(given).lower() not in names:
            raise ValueError(f"one of {', '.join(names)} is expected")
        return str(given).lower()

    return read


def zone(given: Any) -> str:
    """Read the name of a time zone."""
    from areabox.areas.durations import zone as known

    name = text(given)
    if name:
        try:
            known(name)
        except InputError as error:
            raise ValueError(str(error)) from None
    return name


def number(low: int, high: int) -> Reader:
    """Return a reader of a whole number from `low` to `high`."""

    def read(given: Any) -> int:
        try:
            value = int(str(given))
        except ValueError:
            raise ValueError("a whole number is expected") from None
        if not low <= value <= high:
            raise ValueError(f"a number from {low:,} to {high:,} is expected")
        return value

    return read


def switch(given: Any) -> bool:
    """Read on or off."""
    try:
        return _SWITCH[str(given).strip().lower()]
    except KeyError:
        raise ValueError("on or off is expected") from None


def duration_ms(given: Any) -> int:
    """Read a duration such as 30d into milliseconds."""
    try:
        return int(durations.parse_duration(given if isinstance(given, int) else str(given)))
    except (InputError, ValueError) as error:
        raise ValueError(f"a duration such as 10s, 5m or 30d is expected ({error})") from None


def size_bytes(given: Any) -> int:
    """Read a size such as 500MB or 2GiB into bytes."""
    match = _SIZE.fullmatch(str(given).strip())
    if not match:
        raise ValueError("a size such as 500MB or 2GiB is expected")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** " kmgt".index(match[2].lower() or " "))


def path(given: Any) -> Path:
    """Read a path; `~` is the home folder."""
    if not text(given):
        raise ValueError("a path is expected")
    return Path(text(given)).expanduser().absolute()


def optional_path(given: Any) -> Path | None:
    """Read a path, or nothing from an empty text."""
    return path(given) if given else None


def address(given: Any) -> str:
    """Read an http(s) address without a trailing slash, or an empty text."""
    value = text(given).rstrip("/")
    if not value:
        return ""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("an address such as https://areabox.example.org is expected")
    return value


def base_path(given: Any) -> str:
    """Read a path such as /areabox, without a slash at its end, or an empty text."""
    value = text(given).rstrip("/")
    if value and not _BASE_PATH.fullmatch(value):
        raise ValueError("a path such as /areabox is expected")
    return value


def listener(given: Any) -> str:
    """Read an address and a port such as 0.0.0.0:8081, or an empty text."""
    value = text(given)
    host, _, port = value.rpartition(":")
    if value and (not host or not port.isdecimal() or int(port) > 65535):
        raise ValueError("an address and a port such as 0.0.0.0:8081 is expected")
    return value


def origins(given: Any) -> tuple[str, ...]:
    """Read a list of origins: scheme, name and port, as browsers send them."""
    found = tuple(name.lower().rstrip("/") for name in names(given))
    for name in found:
        parts = urlsplit(name)
        if parts.scheme not in {"http", "https"} or not parts.hostname or name != f"{parts.scheme}://{parts.netloc}":
            raise ValueError("origins such as https://panel.example.org are expected")
    return found


def share(given: Any) -> float:
    """Read on, off, or a share such as 5%."""
    value = str(given).strip().lower()
    if value in _SWITCH:
        return float(_SWITCH[value])
    try:
        found = float(value.removesuffix("%")) / 100
    except ValueError:
        found = -1.0
    if not value.endswith("%") or not 0.0 <= found <= 1.0:
        raise ValueError("on, off, or a share such as 5% is expected")
    return found


def names(given: Any) -> tuple[str, ...]:
    """Read a list of names: a TOML list, or a text with commas."""
    parts = given if isinstance(given, list) else str(given).split(",")
    return tuple(name for part in parts if (name := str(part).strip()))


def paths(given: Any) -> tuple[Path, ...]:
    """Read a list of paths."""
    return tuple(path(name) for name in names(given))


def networks(given: Any) -> tuple[Network, ...]:
    """Read a list of networks in CIDR form."""
    try:
        return tuple(ipaddress.ip_network(name, strict=False) for name in names(given))
    except ValueError as error:
        raise ValueError(f"networks such as 192.168.1.0/24 are expected ({error})") from None


def database(given: Any) -> str:
    """Read a path or `sqlite:///path` of the database file."""
    value = text(given)
    scheme, _, rest = value.partition("://")
    if not rest:
        return str(path(value)) if value else ""
    if scheme != "sqlite":
        raise ValueError(f"this version stores in a SQLite file; {scheme}:// is not supported yet")
    if not rest.startswith("/"):
        raise ValueError("sqlite:///absolute/path is expected")
    return str(path("/" + rest.lstrip("/")))
