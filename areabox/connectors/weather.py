"""Weather: what it is like and what it will be, by Open-Meteo (open-meteo.com/en/docs), without an account.

Tested against a replay of its documented API.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec

from areabox.sdk import Connector, Context, Event, Field, Option, Permanent, Transient

FORECAST = "https://api.open-meteo.com/v1/forecast"
PLACES = "https://geocoding-api.open-meteo.com/v1/search"
NOW = {
    "temperature": "temperature_2m", "feels_like": "apparent_temperature", "humidity": "relative_humidity_2m",
    "rain": "precipitation", "clouds": "cloud_cover", "pressure": "pressure_msl", "wind": "wind_speed_10m",
    "gusts": "wind_gusts_10m", "wind_from": "wind_direction_10m",
}  # fmt: skip
DAY = {
    "low": "temperature_2m_min", "high": "temperature_2m_max", "rain": "precipitation_sum",
    "rain_chance": "precipitation_probability_max", "snow": "snowfall_sum", "wind": "wind_speed_10m_max",
    "gusts": "wind_gusts_10m_max", "uv": "uv_index_max",
}  # fmt: skip
WORDS = (  # WMO code table 4677, as Open-Meteo uses it
    (0, "clear"), (1, "mainly clear"), (2, "partly cloudy"), (3, "overcast"), (48, "fog"), (57, "drizzle"),
    (67, "rain"), (77, "snow"), (82, "rain showers"), (86, "snow showers"), (99, "thunderstorm"),
)  # fmt: skip
_POINT = re.compile(r"\s*(-?\d{1,2}(?:\.\d+)?)\s*,\s*(-?\d{1,3}(?:\.\d+)?)\s*")

weather = Connector(
    "weather",
    "Weather",
    about="What it is like outside, and what it will be.",
    icon="cloud",
    docs="https://open-meteo.com/",
)


async def places(ctx: Context, q: str) -> list[Option]:
    """Return the places of a name, the largest first."""
    if len(q) < 2:
        return []
    found = (await ctx.http.get(PLACES, params={"name": q, "count": 10})).json() or {}
    return [
        Option(
            f"{one['latitude']},{one['longitude']}",
            ", ".join(filter(None, map(one.get, ("name", "admin1", "country")))),
        )
        for one in found.get("results", ())
    ]


Place = Annotated[
    str, Field("Place", "Its name, or latitude and longitude.", options=places, min_length=2, placeholder="48.85,2.35")
]
Units = Annotated[Literal["metric", "imperial"], Field("Units", "metric: °C, km/h, mm. imperial: °F, mph, inches.")]


class Now(msgspec.Struct):
    """The weather of this moment."""

    temperature: float
    feels_like: float
    humidity: float
    rain: float
    clouds: float
    pressure: float
    wind: float
    gusts: float
    wind_from: float  # degrees
    code: int  # WMO 4677
    text: str
    is_day: bool
    time: str  # local


class Day(msgspec.Struct):
    """The weather of a day."""

    date: str
    text: str
    code: int
    low: float | None
    high: float | None
    rain: float | None
    rain_chance: float | None  # in %
    snow: float | None
    wind: float | None
    gusts: float | None
    uv: float | None
    sunrise: str
    sunset: str


class Forecast(msgspec.Struct):
    """The weather of the days to come, today first."""

    days: list[Day]
    timezone: str


class Crossed(Event):
    """A value that went above or below a limit."""

    place: str
    what: str
    value: float
    limit: float


class Rain(Event):
    """Rain, or snow, that is to come."""

    place: str
    starts: str  # local
    hours: int  # until it starts
    amount: float
    chance: float  # in %


TODAY = Day("2026-01-01", "rain", 61, 2.1, 6.4, 3.2, 80, 0.0, 21.6, 48.2, 0.6, "2026-01-01T08:44", "2026-01-01T17:04")


@weather.reaction(
    "Weather now", sentence="ask for the weather in {place}", effect="read",
    sample=Now(6.4, 3.1, 81, 0.2, 100, 1009.3, 18.4, 37.1, 230, 61, "rain", True, "2026-01-01T12:00"),
)  # fmt: skip
async def now(ctx: Context, place: Place, units: Units = "metric") -> Now:
    """Give the weather of this moment."""
    found = await _current(ctx, place, units)
    values = {name: found.get(field) or 0.0 for name, field in NOW.items()}
    code = int(found.get("weather_code") or 0)
    return Now(**values, code=code, text=_word(code), is_day=bool(found.get("is_day")), time=str(found.get("time", "")))


@weather.reaction(
    "Forecast", sentence="ask for the forecast of {place}", effect="read", sample=Forecast([TODAY], "Europe/Paris")
)
async def forecast(
    ctx: Context, place: Place, days: Annotated[int, Field("Days", "Today is the first.", ge=1, le=16)] = 2,
    units: Units = "metric",
) -> Forecast:  # fmt: skip
    """Give the weather of today and the days to come."""
    wanted = ",".join([*DAY.values(), "weather_code", "sunrise", "sunset"])
    found = await _asked(ctx, place, units, daily=wanted, forecast_days=days)
    table = _table(found, "daily")
    return Forecast([_day(row) for row in _rows(table)], str(found.get("timezone", "")))


@weather.action(
    "Goes above", poll="15m", sentence="{what} in {place} goes above {limit}",
    sample=Crossed(id="1", place="Paris", what="temperature", value=30.4, limit=30),
)  # fmt: skip
async def above(
    ctx: Context, place: Place, limit: float, what: Literal["temperature", "feels_like", "humidity", "wind", "gusts",
    "rain", "clouds", "pressure"] = "temperature", units: Units = "metric",
) -> AsyncIterator[Crossed]:  # fmt: skip
    """Fires when a value goes above a limit, and again after it was below."""
    async for event in _crossed(ctx, place, what, limit, units, sign=1):
        yield event


@weather.action(
    "Goes below", poll="15m", sentence="{what} in {place} goes below {limit}",
    sample=Crossed(id="1", place="Paris", what="temperature", value=-0.3, limit=0),
)  # fmt: skip
async def below(
    ctx: Context, place: Place, limit: float, what: Literal["temperature", "feels_like", "humidity", "wind", "gusts",
    "rain", "clouds", "pressure"] = "temperature", units: Units = "metric",
) -> AsyncIterator[Crossed]:  # fmt: skip
    """Fires when a value goes below a limit, and again after it was above."""
    async for event in _crossed(ctx, place, what, limit, units, sign=-1):
        yield event


@weather.action(
    "Rain is coming", poll="30m", sentence="rain is coming to {place} within {hours} hours",
    sample=Rain(id="1", place="Paris", starts="2026-01-01T15:00", hours=3, amount=1.2, chance=80),
)  # fmt: skip
async def rain(
    ctx: Context, place: Place, hours: Annotated[int, Field("Within hours", ge=1, le=48)] = 3,
    chance: Annotated[float, Field("Chance at least", "In %.", ge=0, le=100)] = 50, units: Units = "metric",
) -> AsyncIterator[Rain]:  # fmt: skip
    """Fires when rain or snow is foreseen soon, and again after none was."""
    found = await _asked(ctx, place, units, hourly="precipitation,precipitation_probability", forecast_hours=hours + 1)
    wet = [
        (number, row) for number, row in enumerate(_rows(_table(found, "hourly")))
        if (row["precipitation"] or 0) > 0 and (row["precipitation_probability"] or 0) >= chance
    ]  # fmt: skip
    if _turned(ctx, to=bool(wet)):
        number, row = wet[0]
        amount = round(sum(float(other["precipitation"]) for _, other in wet), 2)
        yield Rain(id=str(ctx.cursor["count"]), place=place, starts=str(row["time"]), hours=number, amount=amount,
                   chance=float(row["precipitation_probability"]))  # fmt: skip


async def _crossed(
    ctx: Context, place: str, what: str, limit: float, units: str, *, sign: int
) -> AsyncIterator[Crossed]:
    value = float((await _current(ctx, place, units)).get(NOW[what]) or 0.0)
    if _turned(ctx, to=value * sign > limit * sign):
        yield Crossed(id=str(ctx.cursor["count"]), place=place, what=what, value=value, limit=limit)


def _turned(ctx: Context, *, to: bool) -> bool:
    """Tell whether something has become true since the last poll; the cursor keeps whether it was."""
    was, ctx.cursor["is"] = ctx.cursor.get("is", to), to
    if to and not was:
        ctx.cursor["count"] = ctx.cursor.get("count", 0) + 1
    return to and not was


async def _current(ctx: Context, place: str, units: str) -> dict[str, Any]:
    found = await _asked(ctx, place, units, current=",".join([*NOW.values(), "weather_code", "is_day"]))
    return _table(found, "current")


async def _asked(ctx: Context, place: str, units: str, **params: Any) -> dict[str, Any]:
    latitude, longitude = await _point(ctx, place)
    if units == "imperial":
        params |= {"temperature_unit": "fahrenheit", "wind_speed_unit": "mph", "precipitation_unit": "inch"}
    where = {"latitude": latitude, "longitude": longitude, "timezone": "auto"}
    found = (await ctx.http.get(FORECAST, params=where | params)).json()
    return found if isinstance(found, dict) else {}


async def _point(ctx: Context, place: str) -> tuple[str, str]:
    """Return the latitude and longitude of a place; a poll asks for those of a name once."""
    if point := _POINT.fullmatch(place):
        return point[1], point[2]
    known = ctx.cursor.get("point")
    if known is None:
        found = (await ctx.http.get(PLACES, params={"name": place, "count": 1})).json()
        results = found.get("results") if isinstance(found, dict) else None
        if not results:
            raise Permanent(f"no place of the name {place!r} is known")
        known = ctx.cursor["point"] = [str(results[0]["latitude"]), str(results[0]["longitude"])]
    return known[0], known[1]


def _table(found: dict[str, Any], name: str) -> dict[str, Any]:
    table = found.get(name)
    if not isinstance(table, dict):
        raise Transient(f"the answer of Open-Meteo holds no {name} weather")
    return table


def _rows(table: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]


def _day(row: dict[str, Any]) -> Day:
    code = int(row.get("weather_code") or 0)
    values: dict[str, Any] = {name: row.get(field) for name, field in DAY.items()}
    times: dict[str, Any] = {name: str(row.get(name, "")) for name in ("sunrise", "sunset")}
    return Day(date=str(row.get("time", "")), code=code, text=_word(code), **values, **times)


def _word(code: int) -> str:
    return next((word for most, word in WORDS if code <= most), "unknown")
