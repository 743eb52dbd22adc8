"""Is this text an address, an e-mail address, a cron expression …? One small check for each format of a field."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from areabox.sdk import duration_ms

_URL = re.compile(r"https?://[^\s/?#]+", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,252})|[0-9a-fA-F]*:[0-9a-fA-F:.]{1,45}")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
_COLOR = re.compile(r"#(?:[0-9a-fA-F]{3}){1,2}")
_CRON_MACROS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})


def check(format: str, text: str) -> None:
    """Raise ValueError, with a sentence, if a text is not of a format."""
    if (found := _CHECKS.get(format)) is not None:
        found(text)


@lru_cache(maxsize=1024)  # most are asked again and again
def _url(text: str) -> None:
    if not _URL.match(text):
        raise ValueError(f"{text[:100]!r} is not an address that begins with http:// or https://")
    try:
        urlsplit(text).port  # noqa: B018 -- it raises
    except ValueError as error:
        raise ValueError(f"{text[:100]!r} is not an address: {error}") from None


def _host(text: str) -> None:
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text[:100]!r} is not the name or address of a machine; write mail.example.org")


def _target(text: str) -> None:
    if "://" in text:
        return _url(text)
    name, _, port = text.rpartition(":")
    if text.count(":") == 1 and not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError(f"{text[:100]!r} has no port behind the colon; write nas.example.org:22")
    return _host(name if text.count(":") == 1 else text)


def _email(text: str) -> None:
    if not _EMAIL.fullmatch(text):
        raise ValueError(f"{text[:100]!r} is not an e-mail address")


def _color(text: str) -> None:
    if not _COLOR.fullmatch(text):
        raise ValueError(f"{text[:100]!r} is not a color; write #ff8800")


def _cron(text: str) -> None:
    from cronsim import CronSim, CronSimError

    if text.strip().lower() in _CRON_MACROS:
        return
    try:
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"{text[:100]!r} is not a cron expression: {error}") from None


def _duration(text: str) -> None:
    duration_ms(text)


def _datetime(text: str) -> None:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:100]!r} is not a time; write 2026-01-31T08:00:00Z") from None


def _timezone(text: str) -> None:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError):
        raise ValueError(f"{text[:100]!r} is not a time zone; write Europe/Paris") from None


_CHECKS: dict[str, Callable[[str], None]] = {
    "url": _url,
    "host": _host,
    "target": _target,
    "email": _email,
    "color": _color,
    "cron": _cron,
    "duration": _duration,
    "datetime": _datetime,
    "timezone": _timezone,
}
