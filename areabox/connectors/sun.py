"""Sun: when it rises and sets at a place, and where it stands; worked out here, nobody is asked.

Tested against the tables of almanacs, for known days of known places.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

import msgspec

from areabox.connectors import _noaa
from areabox.sdk import Connector, Context, Event, Field, duration_ms

sun = Connector("sun", "Sun", about="When the sun rises and sets, and whether it is dark.", icon="sun")

OFFSET_MS_MAX = 12 * 3_600_000
LATE = timedelta(hours=24)


def _check_offset(text: str) -> None:
    if abs(_offset(text)) > timedelta(milliseconds=OFFSET_MS_MAX):
        raise ValueError("must lie within 12 hours")


Latitude = Annotated[float, Field("Latitude", "North is positive.", ge=-90, le=90, example=48.85)]
Longitude = Annotated[float, Field("Longitude", "East is positive.", ge=-180, le=180, example=2.35)]
Offset = Annotated[
    str,
    Field("Earlier or later", "-30m is half an hour before, 1h an hour after.", check=_check_offset, example="-30m"),
]
Twilight = Annotated[
    Literal["official", "civil", "nautical", "astronomical"],
    Field("Counts", "official: its upper edge. The others: dawn and dusk, when it stands 6, 12 or 18 degrees below."),
]


class Due(Event):
    """A moment of the sun that has come."""

    due: str  # when it was to fire, RFC 3339
    fired: str  # when it did


class Times(msgspec.Struct):
    """The sun's day at a place, in UTC; null where it does not happen, as in polar nights."""

    date: str
    noon: str
    sunrise: str | None
    sunset: str | None
    dawn: str | None  # civil
    dusk: str | None
    altitude: float  # now, in degrees
    azimuth: float
    is_up: bool
    is_dark: bool  # below civil dusk


SAMPLE = Due(id="2026-01-01", due="2026-01-01T07:44:00Z", fired="2026-01-01T07:44:12Z")


@sun.action("Sunrise", poll="30s", sentence="the sun rises ({offset})", sample=SAMPLE)
async def rise(
    ctx: Context, latitude: Latitude, longitude: Longitude, offset: Offset = "0m", twilight: Twilight = "official"
) -> AsyncIterator[Due]:
    """Fires when the sun rises, or so long before or after it, to half a minute.

    Where it does not rise that day, nothing fires. What came due while areabox was off fires late, the last day's once.
    """
    async for due in _due(ctx, latitude, longitude, offset, twilight, rising=True):
        yield due


@sun.action("Sunset", poll="30s", sentence="the sun sets ({offset})", sample=SAMPLE)
async def set(
    ctx: Context, latitude: Latitude, longitude: Longitude, offset: Offset = "0m", twilight: Twilight = "official"
) -> AsyncIterator[Due]:
    """Fires when the sun sets, or so long before or after it, to half a minute; as for sunrise."""
    async for due in _due(ctx, latitude, longitude, offset, twilight, rising=False):
        yield due


@sun.reaction(
    "Times of the sun", sentence="ask for the sun's times", effect="read",
    sample=Times("2026-01-01", "2026-01-01T11:54:00Z", "2026-01-01T07:44:00Z", "2026-01-01T16:04:00Z",
                 "2026-01-01T07:08:00Z", "2026-01-01T16:40:00Z", 18.1, 178.2, True, False),
)  # fmt: skip
async def times(
    ctx: Context, latitude: Latitude, longitude: Longitude,
    day: Annotated[str, Field("Day", "As 2026-12-24; empty: today.", pattern=r"^(\d{4}-\d\d-\d\d)?$")] = "",
) -> Times:  # fmt: skip
    """Give when the sun rises, sets and stands highest, and where it stands now."""
    local = _local_day(ctx.now, longitude) if not day else date.fromisoformat(day)
    altitude, azimuth = _noaa.position(ctx.now, latitude, longitude)
    at = {
        name: _text(_noaa.moment(local, latitude, longitude, _noaa.ALTITUDES[kind], rising=rising))
        for name, kind, rising in (
            ("sunrise", "official", True), ("sunset", "official", False),
            ("dawn", "civil", True), ("dusk", "civil", False),
        )
    }  # fmt: skip
    return Times(
        date=str(local), noon=str(_text(_noaa.transit(local, longitude))), **at, altitude=round(altitude, 2),
        azimuth=round(azimuth, 2), is_up=altitude > _noaa.ALTITUDES["official"],
        is_dark=altitude < _noaa.ALTITUDES["civil"],
    )  # fmt: skip


async def _due(
    ctx: Context, latitude: float, longitude: float, offset: str, twilight: str, *, rising: bool
) -> AsyncIterator[Due]:
    """Yield the moment of the last day that is over, unless it was yielded before."""
    today, shift = _local_day(ctx.now, longitude), _offset(offset)
    for days in (-1, 0, 1):
        day = today + timedelta(days=days)
        at = _noaa.moment(day, latitude, longitude, _noaa.ALTITUDES[twilight], rising=rising)
        if at is None or not ctx.now - LATE < at + shift <= ctx.now or ctx.cursor.get("day", "") >= str(day):
            continue
        ctx.cursor["day"] = str(day)
        yield Due(id=str(day), due=str(_text(at + shift)), fired=str(_text(ctx.now)))


def _local_day(now: datetime, longitude: float) -> date:
    """Return the day by the sun, whose noon the times belong to."""
    return (now + timedelta(hours=longitude / 15)).date()


def _offset(text: str) -> timedelta:
    sign = -1 if text.strip().startswith("-") else 1
    return sign * timedelta(milliseconds=duration_ms(text.strip().lstrip("+-")))


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
