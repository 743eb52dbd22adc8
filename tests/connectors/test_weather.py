"""`weather`, against a server on the loopback that answers as Open-Meteo's documentation shows."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from areabox.connectors import weather
from areabox.errors import Permanent, Transient
from areabox.services.calls import Services
from tests.connectors.calls import poll, react
from tests.services.web import Request, Server, reply


@pytest.fixture
def services(alone: Services) -> Services:
    return alone


class Meteo:
    """The weather as a test wants it."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.now: dict[str, Any] = {"temperature_2m": 20.0}
        self.hours: list[tuple[float, float]] = []

    def __call__(self, request: Request) -> bytes:
        parts = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append({"path": parts.path} | query)
        if parts.path == "/search":
            paris = {"id": 2988507, "name": "Paris", "latitude": 48.85341, "longitude": 2.3488, "country": "France", "admin1": "\xcele-de-France"}
            return reply(200, {"results": [paris]} if query["name"].startswith("Par") else {"generationtime_ms": 0.5})
        answer: dict[str, Any] = {"latitude": 48.86, "longitude": 2.36, "timezone": "Europe/Paris", "utc_offset_seconds": 3600}
        if "current" in query:
            answer["current"] = {"time": "2026-01-01T13:00", "interval": 900, "weather_code": 61, "is_day": 1} | self.now
        if "hourly" in query:
            count = int(query["forecast_hours"])
            rows = (self.hours + [(0.0, 0.0)] * count)[:count]
            answer["hourly"] = {
                "time": [f"2026-01-01T{13 + number}:00" for number in range(count)],
                "precipitation": [row[0] for row in rows], "precipitation_probability": [row[1] for row in rows],
            }  # fmt: skip
        if "daily" in query:
            count = int(query["forecast_days"])
            names = query["daily"].split(",")
            answer["daily"] = {"time": [f"2026-01-0{1 + day}" for day in range(count)]} | {
                name: ["2026-01-01T08:44" if name.startswith("sun") else float(number)] * count for number, name in enumerate(names)
            }
        return reply(200, answer)


@pytest.fixture
def meteo(server: Server, monkeypatch: pytest.MonkeyPatch) -> Meteo:
    made = server.answer = Meteo()
    monkeypatch.setattr(weather, "FORECAST", f"{server.url}/forecast")
    monkeypatch.setattr(weather, "PLACES", f"{server.url}/search")
    return made


async def test_the_weather_of_now_is_given(services: Services, meteo: Meteo) -> None:
    meteo.now = dict(zip(weather.NOW.values(), (6.4, 3.1, 81, 0.2, 100, 1009.3, 18.4, 37.1, 230), strict=True))
    assert await react(services, "weather.now", place="48.85, 2.35") == {
        "temperature": 6.4, "feels_like": 3.1, "humidity": 81.0, "rain": 0.2, "clouds": 100.0, "pressure": 1009.3, "wind": 18.4,
        "gusts": 37.1, "wind_from": 230.0, "code": 61, "text": "rain", "is_day": True, "time": "2026-01-01T13:00",
    }  # fmt: skip
    (asked,) = meteo.asked
    assert (asked["latitude"], asked["longitude"], asked["timezone"]) == ("48.85", "2.35", "auto")


async def test_a_place_may_be_named_and_is_looked_up_once(services: Services, meteo: Meteo) -> None:
    cursor: dict[str, Any] = {}
    for _ in range(3):
        await poll(services, "weather.above", cursor, place="Paris", limit=30)
    assert [asked["path"] for asked in meteo.asked] == ["/search", "/forecast", "/forecast", "/forecast"]
    assert meteo.asked[1]["latitude"] == "48.85341"
    with pytest.raises(Permanent, match="no place of the name 'Nowhere'"):
        await react(services, "weather.now", place="Nowhere")


async def test_places_are_offered_while_one_types(services: Services, meteo: Meteo) -> None:
    found = await services.options("reaction", "weather.now", "place", {}, owner="ann", q="Pari")
    assert msgspec.to_builtins(found) == [{"value": "48.85341,2.3488", "label": "Paris, \xcele-de-France, France"}]
    assert await services.options("reaction", "weather.now", "place", {}, owner="ann", q="P") == []


async def test_the_days_to_come_are_given(services: Services, meteo: Meteo) -> None:
    found = await react(services, "weather.forecast", place="48.85,2.35", days=3, units="imperial")
    assert [day["date"] for day in found["days"]] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert found["days"][0] == {
        "date": "2026-01-01", "low": 0.0, "high": 1.0, "rain": 2.0, "rain_chance": 3.0, "snow": 4.0, "wind": 5.0, "gusts": 6.0,
        "uv": 7.0, "code": 8, "text": "fog", "sunrise": "2026-01-01T08:44", "sunset": "2026-01-01T08:44",
    }  # fmt: skip
    assert meteo.asked[0]["temperature_unit"] == "fahrenheit"


@pytest.mark.parametrize(("action", "values", "fires"), [
    ("weather.above", (29, 30, 30.1, 31, 29, 31), (0, 0, 1, 0, 0, 1)),
    ("weather.below", (31, 30, 29.9, 20, 31, 29), (0, 0, 1, 0, 0, 1)),
    ("weather.above", (31, 32, 29, 31), (0, 0, 0, 1)),
])  # fmt: skip
async def test_a_value_that_crosses_a_limit_fires_each_time(services: Services, meteo: Meteo, action: str, values: tuple[float, ...], fires: tuple[int, ...]) -> None:
    cursor: dict[str, Any] = {}
    found = []
    for value in values:
        meteo.now = {"wind_speed_10m": value}
        found.append(await poll(services, action, cursor, place="1,2", what="wind", limit=30))
    assert tuple(map(len, found)) == fires
    (last,) = found[-1]
    assert (last["what"], last["value"], last["limit"], last["place"]) == ("wind", values[-1], 30.0, "1,2")
    assert len({event["id"] for events in found for event in events}) == sum(fires)


async def test_rain_that_is_to_come_fires_once_until_none_is(services: Services, meteo: Meteo) -> None:
    cursor: dict[str, Any] = {}
    look = [[], [(0.0, 90.0), (0.4, 40.0)], [(0.0, 90.0), (0.4, 80.0), (0.8, 70.0)], [(0.4, 80.0)], [], [(0.1, 50.0)]]
    found = []
    for meteo.hours in look:
        found.append(await poll(services, "weather.rain", cursor, place="1,2", hours=3, chance=50))
    assert [len(events) for events in found] == [0, 0, 1, 0, 0, 1]
    assert found[2][0] == {"id": "1", "place": "1,2", "starts": "2026-01-01T14:00", "hours": 1, "amount": 1.2, "chance": 80.0}


async def test_an_answer_without_weather_is_no_bug(services: Services, server: Server, meteo: Meteo) -> None:
    server.answer = reply(200, {"latitude": 1})
    with pytest.raises(Transient, match="holds no current weather"):
        await react(services, "weather.now", place="1,2")
    server.answer = reply(400, {"error": True, "reason": "Latitude must be in range of -90 to 90"})
    with pytest.raises(Permanent, match="Latitude must be in range"):
        await react(services, "weather.now", place="95,2")
