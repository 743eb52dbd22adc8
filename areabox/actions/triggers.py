"""When schedules fire. Pure: rules and times in, times out.

Three kinds: a cron expression in a time zone, every so often, at one moment. Cron follows Debian's cron through
`cronsim`: a local time that does not exist fires at the next valid instant, one that exists twice fires once, while an
hour or minute of `*` follows real time. The trigger is an APScheduler trigger; its scheduler is not used, since rows
are the truth (see docs/decisions).
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from apscheduler.triggers.base import BaseTrigger
from cronsim import CronSim, CronSimError

from areabox.errors import InputError
from areabox.sdk import duration_ms

Missed = Literal["skip", "latest", "each"]

EACH_MAX = 100  # how many missed times are made up for
SKIP_GRACE_MS = 60_000  # a time that is late by less was not missed, only slow
EVERY_MS_MIN = 1_000
EVERY_MS_MAX = 366 * 86_400_000
SPREAD_MS_MAX = 5_000

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Cron(msgspec.Struct, frozen=True):
    """At the times that a cron expression names in a time zone."""

    expression: str
    zone: str = "UTC"


class Every(msgspec.Struct, frozen=True):
    """Every so often, counted from `anchor_ms` so that it never drifts."""

    every_ms: int
    anchor_ms: int


class At(msgspec.Struct, frozen=True):
    """Once."""

    at_ms: int


Spec = Cron | Every | At


class CronTrigger(BaseTrigger):  # type: ignore[misc]
    """A cron expression as an APScheduler trigger."""

    __slots__ = ("_expression", "_zone")

    def __init__(self, expression: str, zone: tzinfo) -> None:
        self._expression = expression
        self._zone = zone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the first time after the previous one (or after now), or None if there is none in 50 years."""
        after = now if previous_fire_time is None else max(previous_fire_time, now)
        return next(self.after(after), None)

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield all times later than `moment`, in UTC, each once and in order."""
        last = moment.astimezone(UTC)
        for found in self._simulation(moment.astimezone(self._zone)):
            at = found.astimezone(UTC)
            if at > last:  # begun in the second of two equal hours, cronsim first names times of the first
                yield at
                last = at

    def _simulation(self, moment: datetime) -> CronSim:
        """Return cronsim's iterator, with its rules for two equal hours also where seconds are given."""
        simulation = CronSim(self._expression, moment)
        _, minute, hour, *_ = simulation.parts
        if self._zone is not UTC and not minute.startswith("*") and not hour.startswith("*"):
            simulation.fixup_tz = self._zone
            simulation.dt = simulation.dt.replace(tzinfo=None)
        return simulation


def spec(params: dict[str, Any], *, anchor: int, seed: str = "", zone: str = "UTC") -> Spec:
    """Return what `cron`, `every` or `at` (with `timezone`) of an action's parameters mean.

    `every` counts from `anchor`, shifted by up to 5 s that depend on `seed`, so that herds spread. Raises `InputError`.
    """
    zone = params.get("timezone") or zone
    if "cron" in params:
        return cron(params["cron"], zone)
    if "every" in params:
        every_ms = _every_ms(params["every"])
        return Every(every_ms, anchor + _shift(seed, min(every_ms // 10, SPREAD_MS_MAX)))
    if "at" in params:
        return At(moment_ms(params["at"], zone))
    raise InputError("a schedule needs one of cron, every, at")


def cron(expression: str, zone: str = "UTC") -> Cron:
    """Return a checked cron expression; raises `InputError` that says what is wrong."""
    written = _MACROS.get(expression.strip().lower(), expression.strip())
    if written.startswith("@"):
        raise InputError(f"{expression} is no cron macro: there are {', '.join(sorted(_MACROS))}")
    try:
        CronSim(written, datetime(2000, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError) as error:
        raise InputError(f"{expression!r} is no cron expression: {error}") from error
    zone_of(zone)
    return Cron(written, zone)


def next_after(spec: Spec, after_ms: int) -> int | None:
    """Return the first time later than `after_ms`, or None if there is none."""
    if isinstance(spec, At):
        return spec.at_ms if spec.at_ms > after_ms else None
    if isinstance(spec, Every):
        return spec.anchor_ms + max((after_ms - spec.anchor_ms) // spec.every_ms + 1, 1) * spec.every_ms
    found = CronTrigger(spec.expression, zone_of(spec.zone)).get_next_fire_time(None, instant(after_ms))
    return None if found is None else milliseconds(found)


def due_times(spec: Spec, due_ms: int, now_ms: int, missed: Missed) -> tuple[list[int], int | None]:
    """Return which times from `due_ms` to now fire, oldest first, and when the next one is.

    `due_ms` is the earliest time that has not fired. More than one is past: areabox was off, or slow. skip fires the
    last only if it is late by less than a minute; latest fires the last; each fires all, at most the last 100.
    """
    if due_ms > now_ms:
        return [], due_ms
    past, following = [due_ms], next_after(spec, due_ms)
    if following is not None and following <= now_ms:
        past = _last(spec, due_ms, now_ms, EACH_MAX if missed == "each" else 1)
        following = next_after(spec, now_ms)
    if missed == "skip" and now_ms - past[-1] > SKIP_GRACE_MS:
        past = []
    return past, following


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its IANA name; raises `InputError`."""
    try:
        return _zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(f"{name!r} is no time zone; an IANA name is, such as Europe/Paris") from error


def moment_ms(value: str, zone: str = "UTC") -> int:
    """Return an RFC 3339 time, or one local to `zone`, in UTC milliseconds; raises `InputError`."""
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError as error:
        raise InputError(f"{value!r} is no time; 2026-12-24T18:00:00+01:00 is, or without its offset") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone_of(zone))
        while moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) != moment.replace(tzinfo=None):
            moment += timedelta(minutes=1)  # a local time that does not exist: the next one that does
    return milliseconds(moment)


def instant(at_ms: int) -> datetime:
    """Return UTC milliseconds as a time."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def milliseconds(moment: datetime) -> int:
    """Return a time in UTC milliseconds."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def stamp(at_ms: int) -> str:
    """Return UTC milliseconds as RFC 3339 text."""
    return f"{instant(at_ms).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _last(spec: Spec, due_ms: int, now_ms: int, keep: int) -> list[int]:
    """Return the last `keep` times from `due_ms` to `now_ms`, without walking through the whole of a long absence."""
    window_ms = 60_000
    while True:
        after_ms = max(due_ms - 1, now_ms - window_ms)
        found = list(itertools.takewhile(lambda at_ms: at_ms <= now_ms, _walk(spec, after_ms)))
        if len(found) >= keep or after_ms == due_ms - 1:
            return found[-keep:]
        window_ms *= 8


def _walk(spec: Spec, after_ms: int) -> Iterator[int]:
    """Yield every time later than `after_ms`, oldest first."""
    if isinstance(spec, Cron):
        yield from map(milliseconds, CronTrigger(spec.expression, zone_of(spec.zone)).after(instant(after_ms)))
        return
    at_ms = next_after(spec, after_ms)
    while at_ms is not None:
        yield at_ms
        at_ms = next_after(spec, at_ms)


def _every_ms(text: str) -> int:
    try:
        every_ms = duration_ms(str(text))
    except ValueError as error:
        raise InputError(str(error)) from error
    if not EVERY_MS_MIN <= every_ms <= EVERY_MS_MAX:
        raise InputError(f"{text!r} does not lie between a second and a year")
    return every_ms


def _shift(seed: str, below_ms: int) -> int:
    if not seed or below_ms <= 0:
        return 0
    return int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest(), "big") % below_ms


@functools.lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo:
    return UTC if name.upper() == "UTC" else ZoneInfo(name)
