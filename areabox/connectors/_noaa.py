"""Where does the sun stand, and when does it rise and set? The formulas of NOAA's solar calculator.

After Jean Meeus, Astronomical Algorithms (gml.noaa.gov/grad/solcalc/calcdetails.html): good to a minute or so between
the polar circles, from 1901 to 2099.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from math import acos, asin, atan2, cos, degrees, radians, sin, tan

ALTITUDES = {"official": -0.833, "civil": -6.0, "nautical": -12.0, "astronomical": -18.0}
_J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)


def moment(day: date, latitude: float, longitude: float, altitude: float, *, rising: bool) -> datetime | None:
    """Return when the sun passes an altitude (degrees) on a local day, None if it does not; longitude is east."""
    noon = transit(day, longitude)
    found = noon
    for _ in range(3):  # the sun moves on until then, so the answer is used to ask again
        declination, _ = _sun(found)
        cosine = (sin(radians(altitude)) - sin(radians(latitude)) * sin(declination)) / (
            cos(radians(latitude)) * cos(declination)
        )
        if not -1 <= cosine <= 1:
            return None
        angle = degrees(acos(cosine)) / 15
        found = transit(day, longitude, near=found) + timedelta(hours=-angle if rising else angle)
    return found.replace(microsecond=0)


def transit(day: date, longitude: float, near: datetime | None = None) -> datetime:
    """Return when the sun is highest on a local day, with the equation of time of a moment `near`."""
    mean = datetime.combine(day, time(12), UTC) - timedelta(hours=longitude / 15)
    _, equation_s = _sun(near or mean)
    return mean - timedelta(seconds=equation_s)


def position(at: datetime, latitude: float, longitude: float) -> tuple[float, float]:
    """Return the sun's altitude, without refraction, and its azimuth from north over east, in degrees."""
    declination, equation_s = _sun(at)
    seconds = at.hour * 3600 + at.minute * 60 + at.second
    hour = radians((seconds + equation_s) / 240 + longitude - 180)
    phi = radians(latitude)
    altitude = asin(sin(phi) * sin(declination) + cos(phi) * cos(declination) * cos(hour))
    azimuth = atan2(sin(hour), cos(hour) * sin(phi) - tan(declination) * cos(phi))
    return degrees(altitude), (degrees(azimuth) + 180) % 360


def _sun(at: datetime) -> tuple[float, float]:
    """Return the sun's declination (radians) and the equation of time (seconds) of a moment."""
    t = (at - _J2000).total_seconds() / 86_400 / 36_525  # Julian centuries
    mean = radians((280.46646 + t * (36000.76983 + t * 0.0003032)) % 360)
    anomaly = radians(357.52911 + t * (35999.05029 - 0.0001537 * t))
    excentricity = 0.016708634 - t * (0.000042037 + 0.0000001267 * t)
    centre = (
        sin(anomaly) * (1.914602 - t * (0.004817 + 0.000014 * t))
        + sin(2 * anomaly) * (0.019993 - 0.000101 * t)
        + sin(3 * anomaly) * 0.000289
    )
    node = radians(125.04 - 1934.136 * t)
    longitude = mean + radians(centre - 0.00569 - 0.00478 * sin(node))
    seconds = 21.448 - t * (46.8150 + t * (0.00059 - t * 0.001813))
    obliquity = radians(23 + (26 + seconds / 60) / 60 + 0.00256 * cos(node))
    y = tan(obliquity / 2) ** 2
    equation = (
        y * sin(2 * mean)
        - 2 * excentricity * sin(anomaly)
        + 4 * excentricity * y * sin(anomaly) * cos(2 * mean)
        - 0.5 * y * y * sin(4 * mean)
        - 1.25 * excentricity * excentricity * sin(2 * anomaly)
    )
    return asin(sin(obliquity) * sin(longitude)), degrees(equation) * 240
