"""G4. Exactly what should fire does, whatever the zone, however long areabox was off, and wherever the clock jumps.

The rules are written down a second time here, as simply as can be: every minute of local time is looked at.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from areabox.actions.subscriptions import Wanted
from areabox.actions.triggers import instant, milliseconds, moment_ms
from tests.actions.conftest import Watched, World
from tests.faults.daemon import FULL
from tests.support import FakeClock

ZONES = (
    "UTC", "Europe/Paris", "Europe/London", "America/New_York", "America/Sao_Paulo", "America/St_Johns", "Africa/Casablanca",
    "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Auckland", "Pacific/Apia",
)  # fmt: skip
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
YEAR = 365 * DAY
POLICIES = ("skip", "latest", "each")
LOCAL = {"30 2 * * *": (2, 30), "5 0 * * *": (0, 5), "0 7 * * *": (7, 0)}  # fire at a local time of each day
EVERY_15 = "*/15 * * * *"  # fires as real time goes by
CRONS = (*LOCAL, EVERY_15)
STORIES = 40 if FULL else 1


@cache
def daily(zone: str, day: int, hour: int, minute: int) -> int:
    """Return when a local time comes on a day (counted from 1970): where it does not exist, at the next that does."""
    tz, date = ZoneInfo(zone), datetime(1970, 1, 1) + timedelta(days=day)
    wanted = date.replace(hour=hour, minute=minute)
    near = [wanted.replace(tzinfo=tz) + timedelta(days=days) for days in (-1, 1)]
    ahead = max(moment.utcoffset() or timedelta() for moment in near)  # the earliest that it can be
    at = milliseconds(wanted.replace(tzinfo=UTC) - ahead)
    for step in range(26 * 60):  # the first instant at which local clocks show this time, or a later one
        if instant(at + step * MINUTE).astimezone(tz).replace(tzinfo=None) >= wanted:
            return at + step * MINUTE
    raise AssertionError(f"{zone} {wanted}")


def all_due(cron: str, zone: str, first: int, last: int) -> list[int]:
    """Return every time in (first, last]."""
    if cron == EVERY_15:
        offset = instant(first).astimezone(ZoneInfo(zone)).utcoffset() or timedelta()
        assert offset % timedelta(minutes=15) == timedelta()
        return list(range((first // (15 * MINUTE) + 1) * 15 * MINUTE, last + 1, 15 * MINUTE))
    days = range(first // DAY - 2, last // DAY + 3)
    return sorted({at for day in days if first < (at := daily(zone, day, *LOCAL[cron])) <= last})


class Rule:
    """What one schedule should do, said anew: what was due since it was looked at last, by its policy, each once."""

    def __init__(self, cron: str, zone: str, policy: str, now: int) -> None:
        self.cron, self.zone, self.policy = cron, zone, policy
        self.seen, self.fired = now, set[int]()
        self.next = self.after(now)

    def after(self, now: int) -> int:
        return all_due(self.cron, self.zone, now, now + 3 * DAY)[0]

    def look(self, now: int) -> None:
        if now < self.seen:  # the clock was set back: from there on as ever, but nothing twice
            self.next = min(self.next, self.after(now))
        self.seen = now
        if now < self.next:
            return
        since = max(self.next - 1, now - 110 * DAY)  # more than 100 times
        due = all_due(self.cron, self.zone, since, now)
        self.next = self.after(now)
        kept = due[-100:] if self.policy == "each" else due[-1:]
        if self.policy == "skip" and now - kept[-1] > MINUTE:
            kept = []
        self.fired.update(kept)


def story(chance: random.Random) -> Iterator[tuple[str, int]]:
    """Yield what happens: it runs for some time, is off for some time, or the clock jumps."""
    for _ in range(7):
        yield "run", chance.choice((20 * MINUTE, 3 * HOUR, 26 * HOUR))
        match chance.randrange(4):
            case 0:
                yield "off", chance.choice((MINUTE, 40 * MINUTE, 5 * HOUR, 3 * DAY, 30 * DAY))
            case 1:
                yield "jump", chance.choice((-HOUR, HOUR))
            case 2:
                yield "jump", chance.choice((-YEAR, YEAR))
            case _:
                yield "restart", 0
    yield "run", 2 * HOUR


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = FakeClock()
    backend = Watched(tmp_path / "areabox.db", clock)
    await backend.open()
    yield World(backend, clock)
    await backend.close()


def beginnings() -> list[str]:
    """Return moments a day before clocks change somewhere."""
    return ["2026-03-28T20:00:00Z", "2026-10-24T20:00:00Z", "2026-03-07T20:00:00Z", "2026-04-04T02:00:00Z"]


@pytest.mark.parametrize("seed", range(STORIES))
async def test_what_fires_is_exactly_what_the_rules_say(world: World, seed: int) -> None:
    chance = random.Random(seed)
    clock = world.clock
    clock.now = moment_ms(chance.choice(beginnings()))
    rules: dict[str, Rule] = {}
    for zone in ZONES:
        for policy in POLICIES:
            cron = chance.choice(CRONS)
            wanted = Wanted(place="s", action="schedule.cron", params={"cron": cron, "timezone": zone}, missed=policy)
            (sub,) = await world.area(f"{zone} {policy}", wanted)
            rules[sub.id] = Rule(cron, zone, policy, clock.now)
    scheduler = world.scheduler()

    async def tick() -> None:
        while await scheduler.tick() == 0.0:
            pass
        for rule in rules.values():
            rule.look(clock.now)

    told = []
    await tick()
    for what, ms in story(chance):
        told.append(f"{what} {ms / HOUR:g} h")
        if what == "run":
            for _ in range(ms // (5 * MINUTE)):
                clock.advance(5 * MINUTE)
                await tick()
        elif what == "jump":
            clock.advance(ms)
            await tick()
        else:
            clock.advance(ms)
            scheduler = world.scheduler()
            await tick()
    found: dict[str, list[int]] = {id: [] for id in rules}
    for id, due in await world.rows("select subscription, json_extract(payload, '$.due') from event"):
        found[id].append(moment_ms(due))
    wrong = {
        (rule.zone, rule.cron, rule.policy): (sorted(rule.fired - set(found[id])), sorted(set(found[id]) - rule.fired))
        for id, rule in rules.items()
        if sorted(found[id]) != sorted(rule.fired)
    }
    total = sum(map(len, found.values()))
    print(f"\nG4: story {seed}: {len(ZONES)} zones, {len(rules)} schedules, {total} firings, {len(wrong)} wrong")
    assert total > 0
    assert not wrong, f"(missed, too many) after {told}: {wrong}"
