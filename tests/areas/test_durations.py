"""Durations and times as people write them."""

from __future__ import annotations

from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from areabox.areas.durations import format_duration, format_time, parse_duration, parse_time, zone
from areabox.errors import InputError


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("1w", 604_800_000),
        ("1.5h", 5_400_000), ("1w2d3h4m5s6ms", 788_645_006), ("90", 90_000), (90, 90_000), (0.25, 250), ("0s", 0), (0, 0),
        ("PT1H30M", 5_400_000), ("P2D", 172_800_000), ("P1W", 604_800_000), ("P1DT12H", 129_600_000), ("pt0.5s", 500),
        (" 1h 30m ", 5_400_000), ("1H", 3_600_000), ("5min", 300_000),
    ],
)  # fmt: skip
def test_a_duration_means_so_many_milliseconds(text: Any, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    "text",
    ["", "soon", "1m1h", "1x", "-5m", "P", "PT", "P1H", "1h-30m", None, True, [], -1, float("nan"), float("inf"), 10**15, "1" * 400,
     "P1M", "5 m m", "1e3s"],
)  # fmt: skip
def test_what_is_no_duration_is_refused(text: Any) -> None:
    with pytest.raises(InputError):
        parse_duration(text)


@pytest.mark.parametrize("ms", [0, 1, 999, 1_000, 61_000, 3_599_999, 86_400_000, 604_800_000, 1_234_567_890])
def test_a_duration_is_written_so_that_it_reads_back(ms: int) -> None:
    assert parse_duration(format_duration(ms)) == ms


def test_a_duration_is_written_short() -> None:
    assert [format_duration(ms) for ms in (0, 250, 90_000, 5_400_000, 86_400_000)] == [
        "0s",
        "250ms",
        "1m30s",
        "1h30m",
        "1d",
    ]


@pytest.mark.parametrize(
    ("text", "local", "shown"),
    [
        ("2026-01-31T07:00:00Z", UTC, "2026-01-31T07:00:00.000Z"),
        ("2026-01-31T07:00:00.123456Z", UTC, "2026-01-31T07:00:00.123Z"),
        ("2026-01-31 07:00", UTC, "2026-01-31T07:00:00.000Z"),
        ("2026-01-31", UTC, "2026-01-31T00:00:00.000Z"),
        ("2026-01-31T07:00:00+02:00", UTC, "2026-01-31T05:00:00.000Z"),
        ("2026-01-31t07:00:00-0130", UTC, "2026-01-31T08:30:00.000Z"),
        ("2026-07-01 07:00", ZoneInfo("Europe/Paris"), "2026-07-01T05:00:00.000Z"),
        (
            "2026-03-29 02:30",
            ZoneInfo("Europe/Paris"),
            "2026-03-29T01:30:00.000Z",
        ),  # the clock skips it: 03:30 summer time
        ("2026-10-25 02:30", ZoneInfo("Europe/Paris"), "2026-10-25T00:30:00.000Z"),  # twice there: the first
        ("2016-12-31T23:59:60Z", UTC, "2016-12-31T23:59:59.000Z"),
    ],
)
def test_a_time_means_a_moment(text: str, local: Any, shown: str) -> None:
    assert format_time(parse_time(text, local)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "2026-13-01",
        "2026-02-30",
        "07:00",
        "2026-01-31T25:00",
        "0000-01-01",
        "2026-01-01T00:00:00+99:00",
        "9" * 100,
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_time(text)


def test_a_zone_is_found_by_its_name() -> None:
    assert zone("UTC") is UTC
    assert str(zone("Europe/Paris")) == "Europe/Paris"
    for name in ("Europe/Pari", "../../etc/passwd", "/etc/localtime", "", "Europe", "x" * 100, "Europe/Paris\x00"):
        with pytest.raises(InputError, match="is not a time zone"):
            zone(name)
    with pytest.raises(InputError, match="did you mean Europe/Paris"):
        zone("Europe/Pari")
