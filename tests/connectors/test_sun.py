"""`sun`: against known days of known places, and against the sky itself."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from areabox.connectors import _noaa
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from tests.connectors.calls import poll, react
from tests.support import FakeClock

PARIS = {"latitude": 48.85, "longitude": 2.35}
TROMSO = {"latitude": 69.65, "longitude": 18.96}


@pytest.fixture
def services(alone: Services) -> Services:
    return alone


@pytest.mark.parametrize(
    ("latitude", "longitude", "day", "rise", "set"),
    [  # in UTC, as almanacs print them
        (51.48, 0.0, "2026-06-21", "03:43", "20:21"),  # Greenwich
        (51.48, 0.0, "2026-12-21", "08:03", "15:53"),
        (40.71, -74.01, "2026-01-01", "12:20", "21:39"),  # New York
        (40.71, -74.01, "2026-06-21", "09:25", "00:31"),
        (-33.87, 151.21, "2026-12-22", "18:41", "09:05"),  # Sydney
        (0.0, 0.0, "2026-03-20", "06:04", "18:11"),  # the equator at the equinox
    ],
)
def test_it_rises_and_sets_when_almanacs_say_so(latitude: float, longitude: float, day: str, rise: str, set: str) -> None:
    for rising, known in ((True, rise), (False, set)):
        at = _noaa.moment(date.fromisoformat(day), latitude, longitude, -0.833, rising=rising)
        assert at is not None
        hour, minute = map(int, known.split(":"))
        off = (at.hour * 60 + at.minute + at.second / 60) - (hour * 60 + minute)
        assert abs((off + 720) % 1440 - 720) <= 2


@pytest.mark.parametrize("latitude", [-54.8, -33.9, 0.0, 23.4, 48.9, 60.2])
def test_at_that_moment_it_stands_there(latitude: float) -> None:
    for days in range(0, 365, 13):
        day = date(2026, 1, 1) + timedelta(days=days)
        for altitude in _noaa.ALTITUDES.values():
            for rising in (True, False):
                at = _noaa.moment(day, latitude, 100.0, altitude, rising=rising)
                assert at is None or abs(_noaa.position(at, latitude, 100.0)[0] - altitude) < 0.05


def test_where_it_does_not_rise_or_set_there_is_no_moment() -> None:
    for day, altitude in ((date(2026, 12, 21), -0.833), (date(2026, 6, 21), -0.833), (date(2026, 6, 21), -18)):
        for rising in (True, False):
            assert _noaa.moment(day, 69.65, 18.96, altitude, rising=rising) is None
    assert _noaa.moment(date(2026, 12, 21), 69.65, 18.96, -6, rising=True) is not None


def test_at_noon_it_stands_in_the_south_or_in_the_north() -> None:
    for latitude, azimuth in ((48.85, 180), (-33.9, 0)):
        found = _noaa.position(_noaa.transit(date(2026, 3, 1), 2.35), latitude, 2.35)[1]
        assert abs((found - azimuth + 180) % 360 - 180) < 0.1


async def days(services: Services, clock: FakeClock, action: str, count: int, **params: Any) -> list[Any]:
    """Poll every ten minutes for some days; the first poll is a baseline, which areabox itself drops."""
    cursor: dict[str, Any] = {}
    await poll(services, action, cursor, **params)
    found = []
    for _ in range(count * 144):
        clock.advance(600_000)
        found += await poll(services, action, cursor, **params)
    return found


async def test_it_fires_once_a_day_within_the_poll(services: Services, clock: FakeClock) -> None:
    found = await days(services, clock, "sun.rise", 3, **PARIS)
    assert [event["id"] for event in found] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    for event in found:
        late = datetime.fromisoformat(event["fired"]) - datetime.fromisoformat(event["due"])
        assert timedelta() <= late <= timedelta(minutes=10)
    assert found[0]["due"].startswith("2026-01-01T07:44")


@pytest.mark.parametrize(("offset", "due"), [("-30m", "2026-01-01T15:3"), ("1h", "2026-01-01T17:0"), ("9h", "2026-01-02T01:0")])
async def test_it_may_be_earlier_or_later(services: Services, clock: FakeClock, offset: str, due: str) -> None:
    found = await days(services, clock, "sun.set", 2, **PARIS, offset=offset)
    assert next(event["id"] for event in found if event["due"] >= "2026-01-01T12") == "2026-01-01"
    assert next(event["due"] for event in found if event["id"] == "2026-01-01").startswith(due)


async def test_far_east_and_west_every_day_fires(services: Services, clock: FakeClock) -> None:
    for longitude in (-179.9, 179.9):
        clock.now = clock.start
        found = await days(services, clock, "sun.set", 3, latitude=0, longitude=longitude)
        assert len({event["id"] for event in found}) == len(found) >= 3


async def test_what_came_due_while_areabox_was_off_fires_late_and_once(services: Services, clock: FakeClock) -> None:
    cursor: dict[str, Any] = {}
    await poll(services, "sun.rise", cursor, **PARIS)
    clock.advance(5 * 86_400_000 + 12 * 3_600_000)
    (event,) = await poll(services, "sun.rise", cursor, **PARIS)
    assert (event["id"], event["fired"]) == ("2026-01-06", "2026-01-06T12:00:00Z")
    assert await poll(services, "sun.rise", cursor, **PARIS) == []


async def test_in_the_polar_night_nothing_fires(services: Services, clock: FakeClock) -> None:
    assert await days(services, clock, "sun.rise", 2, **TROMSO) == []


async def test_the_times_of_a_day_are_given(services: Services, clock: FakeClock) -> None:
    clock.now = int(datetime(2026, 6, 21, 12, tzinfo=UTC).timestamp() * 1000)
    found = await react(services, "sun.times", **PARIS)
    assert {name: value[:16] for name, value in found.items() if isinstance(value, str)} == {
        "date": "2026-06-21", "noon": "2026-06-21T11:52", "sunrise": "2026-06-21T03:46", "sunset": "2026-06-21T19:57",
        "dawn": "2026-06-21T03:04", "dusk": "2026-06-21T20:40",
    }  # fmt: skip
    assert (found["is_up"], found["is_dark"], round(found["altitude"])) == (True, False, 65)
    found = await react(services, "sun.times", **TROMSO, day="2026-12-21")
    assert (found["sunrise"], found["date"]) == (None, "2026-12-21")


@pytest.mark.parametrize(("params", "pointer"), [({"latitude": 91}, "/latitude"), ({"offset": "soon"}, "/offset"), ({"offset": "-13h"}, "/offset")])
def test_mistakes_are_found_when_the_area_is_stored(catalogue: Catalogue, params: dict[str, Any], pointer: str) -> None:
    operation = catalogue.action("sun.rise")
    assert operation is not None
    assert [problem.pointer for problem in operation.check(PARIS | params)] == [pointer]
