"""When schedules fire: cron in every zone and on both nights of the year, intervals without drift, what was missed."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from areabox.actions.triggers import At, CronTrigger, Every, cron, due_times, moment_ms, next_after, spec, stamp
from areabox.errors import InputError

# Twelve zones and two nights of each on which its clocks change (the last ones change by half an hour, or at midnight).
NIGHTS = [
    ("Europe/Paris", "2026-03-29", "2026-10-25"),
    ("Europe/London", "2026-03-29", "2026-10-25"),
    ("Europe/Lisbon", "2026-03-29", "2026-10-25"),
    ("America/New_York", "2026-03-08", "2026-11-01"),
    ("America/Los_Angeles", "2026-03-08", "2026-11-01"),
    ("America/St_Johns", "2026-03-08", "2026-11-01"),
    ("America/Santiago", "2026-09-06", "2026-04-05"),
    ("America/Havana", "2026-03-08", "2026-11-01"),
    ("Australia/Sydney", "2026-10-04", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04", "2026-04-05"),
    ("Pacific/Auckland", "2026-09-27", "2026-04-05"),
    ("Asia/Beirut", "2026-03-29", "2026-10-25"),
]


def ms(text: str, zone: str = "UTC") -> int:
    return moment_ms(text, zone)


def firings(rule, after: int, until: int) -> list[int]:
    found = []
    while (at := next_after(rule, after)) is not None and at <= until:
        found.append(at)
        after = at
    return found


def local_minutes(zone: ZoneInfo, day: datetime) -> list[datetime]:
    """Every minute of real time of a local day, as the wall clock shows it."""
    at = (day - timedelta(hours=6)).astimezone(UTC)
    return [
        local
        for step in range(36 * 60)
        if (local := (at + timedelta(minutes=step)).astimezone(zone)).date() == day.date()
    ]


@pytest.mark.parametrize(("zone", "spring", "autumn"), NIGHTS)
def test_a_daily_time_fires_exactly_once_a_day_on_both_nights(zone, spring, autumn):
    for night, (hour, minute) in itertools.product((spring, autumn), itertools.product(range(24), (0, 15, 30))):
        noon = datetime.fromisoformat(f"{night}T12:00")
        start, end = ((noon + timedelta(days=days)).isoformat() for days in (-3, 3))
        times = firings(cron(f"{minute} {hour} * * *", zone), ms(start, zone), ms(end, zone))
        days = [datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).date() for at in times]
        assert (len(times), len(set(days))) == (6, 6), (night, hour, minute)


@pytest.mark.parametrize(("zone", "spring", "autumn"), NIGHTS)
def test_a_local_time_that_does_not_exist_fires_at_the_next_valid_instant(zone, spring, autumn):
    there = ZoneInfo(zone)
    minutes = local_minutes(there, datetime.fromisoformat(spring).replace(tzinfo=there))
    shown = {(m.hour, m.minute) for m in minutes}
    missing = [(h, m) for h in range(24) for m in range(60) if (h, m) not in shown]
    assert len(missing) in {30, 60}
    after_gap = next(m for m in minutes if (m.hour, m.minute) > missing[-1])
    for hour, minute in missing:
        rule = cron(f"{minute} {hour} * * *", zone)
        day_before = int(minutes[0].timestamp() * 1000) - 3_600_000
        assert firings(rule, day_before, day_before + 9 * 3_600_000) == [int(after_gap.timestamp() * 1000)]


@pytest.mark.parametrize(("zone", "spring", "autumn"), NIGHTS)
def test_a_local_time_that_exists_twice_fires_the_first_time(zone, spring, autumn):
    there = ZoneInfo(zone)
    day = datetime.fromisoformat(autumn).replace(tzinfo=there)
    minutes = local_minutes(there, day) + local_minutes(there, day - timedelta(days=1))
    first: dict = {}
    twice = set()
    for local in sorted(minutes, key=lambda m: m.astimezone(UTC)):
        key = local.replace(tzinfo=None, fold=0)
        if key in first:
            twice.add(key)
        first.setdefault(key, local)
    assert len(twice) in {30, 60}
    for key in twice:
        rule = cron(f"{key.minute} {key.hour} {key.day} {key.month} *", zone)
        at = int(first[key].timestamp() * 1000)
        assert firings(rule, at - 86_400_000, at + 86_400_000) == [at]
        for passed in range(0, 7_200_000, 600_000):  # also where areabox starts between the two
            assert firings(rule, at + passed, at + 86_400_000) == []


@pytest.mark.parametrize(("zone", "spring", "autumn"), NIGHTS)
def test_an_hour_of_star_follows_real_time(zone, spring, autumn):
    for night in (spring, autumn):
        start = ms(f"{night}T12:00", zone) - 86_400_000
        times = firings(cron("*/30 * * * *", zone), start, start + 2 * 86_400_000)
        assert {after - before for before, after in itertools.pairwise(times)} == {1_800_000}


def test_seconds_follow_the_same_rules():
    rule = cron("0 30 2 * * *", "Europe/Paris")
    start = ms("2026-10-24T12:00", "Europe/Paris")
    assert firings(rule, start, start + 86_400_000) == [ms("2026-10-25T02:30:00+02:00")]
    assert len(firings(cron("*/10 * * * * *"), start, start + 60_000)) == 6


def test_a_whole_day_that_a_zone_left_out_fires_when_the_next_begins():
    rule = cron("0 10 * * *", "Pacific/Apia")  # 30 December 2011 did not exist there
    assert next_after(rule, ms("2011-12-29T11:00", "Pacific/Apia")) == ms("2011-12-31T00:00", "Pacific/Apia")


@pytest.mark.parametrize(
    ("expression", "when"),
    [
        ("0 9 * * 0", "2026-11-29T09:00"),  # Sunday, also as 7
        ("0 9 * * 7", "2026-11-29T09:00"),
        ("0 9 * * MON", "2026-11-30T09:00"),
        ("0 0 13 * FRI", "2026-11-27T00:00"),  # either, as cron has it
        ("0 0 L * *", "2026-11-30T00:00"),
        ("0 0 * * 5#2", "2026-12-11T00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00"),
        ("@daily", "2026-11-26T00:00"),
        ("@hourly", "2026-11-25T13:00"),
        ("@weekly", "2026-11-29T00:00"),
        ("@monthly", "2026-12-01T00:00"),
        ("@yearly", "2027-01-01T00:00"),
    ],
)
def test_cron_means_what_cron_means(expression, when):
    assert stamp(next_after(cron(expression), ms("2026-11-25T12:30"))) == f"{when}:00.000Z"


@pytest.mark.parametrize("expression", ["", "* * *", "0 0 31 2 *", "61 * * * *", "@often", "0 9 * * MOO", "* " * 50])
def test_a_wrong_expression_is_refused_at_once(expression):
    with pytest.raises(InputError):
        cron(expression)


def test_an_unknown_zone_is_refused():
    for zone in ("Mars/Olympus", "../etc/passwd", "", "x" * 500):
        with pytest.raises(InputError):
            cron("* * * * *", zone)


def test_the_trigger_is_apschedulers():
    trigger = CronTrigger("0 7 * * *", ZoneInfo("Europe/Paris"))
    now = datetime(2026, 7, 1, 12, tzinfo=UTC)
    first = trigger.get_next_fire_time(None, now)
    assert first == datetime(2026, 7, 2, 5, tzinfo=UTC)
    assert trigger.get_next_fire_time(first, now) == datetime(2026, 7, 3, 5, tzinfo=UTC)


def test_an_interval_keeps_its_phase_whenever_it_is_asked():
    rule = Every(600_000, 1_000)
    assert next_after(rule, 1_000) == 601_000
    assert next_after(rule, 600_999) == 601_000
    assert next_after(rule, 601_000) == 1_201_000
    assert next_after(rule, 123_456_789) % 600_000 == 1_000


def test_intervals_of_many_spread_over_a_few_seconds():
    rules = [spec({"every": "10m"}, anchor=0, seed=str(n)) for n in range(200)]
    shifts = [rule.anchor_ms for rule in rules]
    assert len(set(shifts)) > 150
    assert max(shifts) < 5_000
    assert spec({"every": "10m"}, anchor=0, seed="7") == rules[7]


def test_a_moment_comes_once():
    rule = spec({"at": "2026-12-24T18:00", "timezone": "Europe/Paris"}, anchor=0)
    assert rule == At(ms("2026-12-24T17:00Z"))
    assert next_after(rule, ms("2026-12-24T16:59Z")) == ms("2026-12-24T17:00Z")
    assert next_after(rule, ms("2026-12-24T17:00Z")) is None


def test_a_local_moment_that_does_not_exist_is_the_next_that_does():
    assert ms("2026-03-29T02:30", "Europe/Paris") == ms("2026-03-29T03:00+02:00")
    assert ms("2026-10-25T02:30", "Europe/Paris") == ms("2026-10-25T02:30+02:00")


MINUTELY, HOUR = cron("* * * * *"), 3_600_000
START = ms("2026-01-01T00:00")


@pytest.mark.parametrize("off_ms", [60_000, 5 * 60_000, HOUR, 24 * HOUR, 30 * 24 * HOUR, 365 * 24 * HOUR])
def test_latest_fires_once_for_all_that_was_missed(off_ms):
    due, after = due_times(MINUTELY, START, START + off_ms + 5_000, "latest")
    assert due == [START + off_ms]
    assert after == START + off_ms + 60_000


@pytest.mark.parametrize("off_ms", [0, 60_000, HOUR, 24 * HOUR, 365 * 24 * HOUR])
def test_each_fires_all_that_was_missed_the_last_hundred_at_most(off_ms):
    due, _ = due_times(MINUTELY, START, START + off_ms, "each")
    wanted = list(range(START, START + off_ms + 1, 60_000))[-100:]
    assert due == wanted


def test_skip_fires_only_what_is_hardly_late():
    daily = cron("0 7 * * *")
    seven = START + 7 * HOUR
    assert due_times(daily, seven, seven + 30_000, "skip") == ([seven], seven + 24 * HOUR)
    assert due_times(daily, seven, seven + 61_000, "skip") == ([], seven + 24 * HOUR)
    assert due_times(daily, seven, seven + 72 * HOUR + 1, "skip") == ([seven + 72 * HOUR], seven + 96 * HOUR)


@pytest.mark.parametrize("missed", ["skip", "latest", "each"])
def test_nothing_is_due_before_its_time(missed):
    assert due_times(MINUTELY, START, START - 1, missed) == ([], START)


@pytest.mark.parametrize("missed", ["latest", "each"])
def test_a_moment_that_was_missed_fires_late(missed):
    assert due_times(At(START), START, START + 48 * HOUR, missed) == ([START], None)
    assert due_times(At(START), START, START + 48 * HOUR, "skip") == ([], None)


def test_intervals_make_up_for_missed_times_too():
    rule = Every(10_000, START)
    due, after = due_times(rule, START + 10_000, START + 35_000, "each")
    assert (due, after) == ([START + 10_000, START + 20_000, START + 30_000], START + 40_000)


@pytest.mark.parametrize(
    "params",
    [{"every": "9999w"}, {"every": "1ms"}, {}, {"timezone": "UTC"}, {"at": "tomorrow"}, {"cron": "x"}, {"every": "x"}],
)
def test_a_schedule_that_says_nothing_is_refused(params):
    with pytest.raises(InputError):
        spec(params, anchor=0)
