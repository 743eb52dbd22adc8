"""What a time inside an expression is.

`now` and the results of `to_time` are moments: they print as RFC 3339, compare with each other and with time texts, and
count in seconds (`now + 3600`, `now - trigger.at | to_time`).
"""

from __future__ import annotations

import re
from datetime import UTC, tzinfo
from typing import Any

from areabox.areas import durations
from areabox.errors import InputError

_DIRECTIVE = re.compile(r"%(-?[A-Za-z%]|.|$)", re.DOTALL)
_ALLOWED = frozenset("aAbBcdfFgGHIjmMpSTuUVwWxXyYzZ%")
_UNPADDED = frozenset("dHIjmMSy")


class Moment:
    """A point in time, in a zone for printing; immutable."""

    __slots__ = ("ms", "zone")

    def __init__(self, ms: int, zone: tzinfo = UTC) -> None:
        self.ms, self.zone = ms, zone

    def __str__(self) -> str:
        return durations.format_time(self.ms, self.zone)

    def __repr__(self) -> str:
        return repr(str(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moment) and other.ms == self.ms

    def __hash__(self) -> int:
        return hash(self.ms)

    def __lt__(self, other: Moment) -> bool:
        return self.ms < other.ms

    def __le__(self, other: Moment) -> bool:
        return self.ms <= other.ms

    def after(self, seconds: float) -> Moment:
        """Return the moment so many seconds later."""
        ms = self.ms + round(seconds * 1000)
        if not durations.EARLIEST_MS <= ms <= durations.LATEST_MS:
            raise InputError("the time is too far away")
        return Moment(ms, self.zone)

    def part(self, name: str) -> Any:
        """Return `year`, `month`, … `weekday` (0 is Monday), `date`, `time` or `timestamp`; None for other names."""
        when = durations.to_datetime(self.ms, self.zone)
        if name in ("year", "month", "day", "hour", "minute", "second", "microsecond"):
            return getattr(when, name)  # a fixed list of names on a datetime that was just made
        if name == "timestamp":
            return self.ms / 1000
        parts = {"weekday": when.weekday(), "date": when.date().isoformat(), "time": when.strftime("%H:%M:%S")}
        return parts.get(name)

    def format(self, pattern: str) -> str:
        """Return it in the words of strftime: C's portable directives, and `%-d` without padding; raises InputError."""
        if len(pattern) > 200:
            raise InputError("a date format has at most 200 characters")
        when = durations.to_datetime(self.ms, self.zone)

        def one(found: re.Match[str]) -> str:
            letter = found[1].removeprefix("-")
            bare = found[1].startswith("-")
            if letter not in (_UNPADDED if bare else _ALLOWED) or not letter:
                raise InputError(f"%{found[1]} is not a date directive")
            if letter == "F":
                return when.date().isoformat()
            text = f"{when.year:04d}" if letter == "Y" else when.strftime(f"%{letter}")
            return text.lstrip("0") or "0" if bare else text

        return _DIRECTIVE.sub(one, pattern)


def moment(value: Any, local: tzinfo = UTC) -> Moment:
    """Return the moment that a time text or a number of seconds since 1970 means; raises InputError."""
    if isinstance(value, Moment):
        return value
    if isinstance(value, str):
        return Moment(durations.parse_time(value, local), local)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Moment(0, local).after(value)
    raise InputError("not a time: give a time text, or seconds since 1970")
