"""How long `1h30m` is, and when `2026-01-01T07:00` is.

Durations are written `500ms 10s 5m 1h30m 2d 1w`, in ISO 8601 (`PT1H30M`, `P2D`), or as a number of seconds. Times are
RFC 3339, or local ones in a given zone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from areabox.areas.nearest import did_you_mean
from areabox.errors import InputError

LONGEST_MS = 100 * 366 * 86_400_000
_UNITS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_NUMBER = r"(\d{1,15}(?:[.,]\d{1,9})?)"
_SHORT = re.compile("".join(rf"(?:{_NUMBER}\s*{unit}(?![a-z])\s*)?" for unit in _UNITS))
_ISO = re.compile(
    rf"P(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?:T(?=\d)(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?", re.ASCII
)
_FORMS = "write 500ms, 10s, 5m, 1h30m, 2d, 1w or ISO 8601"
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s*([Zz]|[+-]\d\d:?\d\d)?)?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_MS, LATEST_MS = -62_135_510_400_000, 253_402_214_400_000  # years 1 to 9999, a day off each end for zones


def parse_duration(value: object) -> int:
    """Return milliseconds of `1h30m`, `PT1H30M` or a number of seconds; raises InputError."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise InputError(f"not a duration; {_FORMS}")
    if isinstance(value, str):
        ms = _parse_text(value)
    else:
        ms = value * 1000 if -LONGEST_MS <= value <= LONGEST_MS else LONGEST_MS + 1
    if not 0 <= ms <= LONGEST_MS:
        raise InputError("a duration is between 0 and 100 years")
    return round(ms)


def _parse_text(text: str) -> float:
    found = text.strip()[:100]
    short = _SHORT.fullmatch(found.lower().replace("min", "m"))
    if short and found:
        return _total(short.groups(), list(_UNITS.values()))
    iso = _ISO.fullmatch(found.upper())
    if iso and any(iso.groups()):
        return _total(iso.groups(), list(_UNITS.values())[:5])
    if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", found, re.ASCII):
        return float(found) * 1000
    raise InputError(f"{found[:40]!r} is not a duration; {_FORMS}")


def _total(numbers: Sequence[str | None], units: Sequence[int]) -> float:
    pairs = zip(numbers, units, strict=True)
    return sum(float(number.replace(",", ".")) * unit for number, unit in pairs if number)


def format_duration(ms: int) -> str:
    """Return the shortest form that `parse_duration` reads back: `1h30m`, `250ms`, `0s`."""
    parts, rest = [], max(0, ms)
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def zone(name: str) -> tzinfo:
    """Return the time zone of an IANA name; raises InputError with the nearest known one."""
    if name in ("UTC", "Z", "utc"):
        return UTC
    if len(name) <= 64 and re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", name):
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):  # not there, or a folder of zones
            pass
    raise InputError(f"{name[:64]!r} is not a time zone{_near_zone(name)}")


def _near_zone(name: str) -> str:
    from zoneinfo import available_timezones

    return did_you_mean(name, sorted(available_timezones()))


def parse_time(text: str, local: tzinfo = UTC) -> int:
    """Return UTC milliseconds of an RFC 3339 time, or of one without an offset in the zone `local`.

    A date alone is its midnight; a local time that a change of the clock skips is moved on by the gap. Raises
    InputError.
    """
    found = _TIME.fullmatch(text.strip()[:64])
    if not found:
        raise InputError(f"{text[:40]!r} is not a time; write 2026-01-31T07:00:00Z, or 2026-01-31 07:00 for local time")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    micro = int((found[7] or "0").ljust(6, "0")[:6])
    try:
        naive = datetime(year, month, day, hour, minute, min(second, 59), micro)  # noqa: DTZ001 -- placed below
        when = naive.replace(tzinfo=_offset(found[8], local))
        ms = (when.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{text[:40]!r} is not a time: {error}") from None
    if not EARLIEST_MS <= ms <= LATEST_MS:
        raise InputError(f"{text[:40]!r} is too far away")
    return ms


def _offset(text: str | None, local: tzinfo) -> tzinfo:
    if text is None:
        return local
    if text in "Zz":
        return UTC
    from datetime import timezone

    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=minutes if text[0] == "+" else -minutes))


def format_time(ms: int, local: tzinfo = UTC) -> str:
    """Return RFC 3339 with milliseconds, `Z` for UTC."""
    return to_datetime(ms, local).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_datetime(ms: int, local: tzinfo = UTC) -> datetime:
    """Return the moment as a datetime in the zone `local`."""
    return (_EPOCH + timedelta(milliseconds=ms)).astimezone(local)
