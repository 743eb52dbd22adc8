"""Every due time fires once, however the clock jumps, the daemon dies, or rows change."""

from __future__ import annotations

import itertools

import pytest

from areabox.actions.subscriptions import Wanted
from areabox.actions.triggers import moment_ms
from areabox.errors import StorageFullError

MINUTELY = Wanted(place="m", action="schedule.cron", params={"cron": "* * * * *"})
HOUR = 3_600_000


async def due(world) -> list[str]:
    return [payload["due"][11:19] for payload in await world.payloads()]


async def run(world, scheduler, ms: int, step: int = 10_000) -> None:
    for _ in range(ms // step):
        world.clock.advance(step)
        await scheduler.tick()


async def test_a_due_time_fires_with_what_was_due_and_when(world):
    await world.area("a", MINUTELY)
    scheduler = world.scheduler()
    assert await scheduler.tick() == 10.0
    assert await world.count("event") == 0
    world.clock.advance(60_007)
    await scheduler.tick()
    assert await world.payloads() == [{"due": "2026-01-01T00:01:00.000Z", "fired": "2026-01-01T00:01:00.007Z"}]
    assert await world.count("run") == 1


async def test_the_tick_says_how_long_until_the_next(world):
    await world.area("a", MINUTELY)
    scheduler = world.scheduler()
    world.clock.advance(57_500)
    assert await scheduler.tick() == 2.5


async def test_the_row_shows_last_and_next(world):
    (sub,) = await world.area("a", MINUTELY)
    scheduler = world.scheduler()
    await run(world, scheduler, 120_000)
    sub = await world.subscriptions.load(sub.id)
    assert (sub.last, sub.next) == (world.clock.start + 120_000, world.clock.start + 180_000)


async def test_each_minute_fires_once_in_an_hour(world):
    await world.area("a", MINUTELY)
    await run(world, world.scheduler(), HOUR)
    assert await world.rows("select count(*), count(distinct dedupe) from event") == [(60, 60)]


@pytest.mark.parametrize(("missed", "fired"), [("skip", ["01:30:00"]), ("latest", ["01:30:00"]), ("each", None)])
async def test_what_was_missed_while_off_follows_the_policy(world, missed, fired):
    import msgspec

    await world.area("a", msgspec.structs.replace(MINUTELY, missed=missed))
    world.clock.advance(90 * 60_000 + 5_000)
    await world.scheduler().tick()
    assert await due(world) == (fired or [f"{m // 60:02}:{m % 60:02}:00" for m in range(1, 91)])


async def test_skip_fires_nothing_that_is_a_minute_late(world):
    await world.area("a", Wanted(place="d", action="schedule.cron", params={"cron": "0 7 * * *"}, missed="skip"))
    world.clock.advance(9 * HOUR)
    scheduler = world.scheduler()
    await scheduler.tick()
    assert await due(world) == []
    world.clock.advance(22 * HOUR)
    await scheduler.tick()
    assert await due(world) == ["07:00:00"]


async def test_a_second_scheduler_on_the_same_rows_fires_nothing_twice(world):
    await world.area("a", MINUTELY)
    one, two = world.scheduler(), world.scheduler()
    await one.tick(), await two.tick()
    for _ in range(30):
        world.clock.advance(30_000)
        await one.tick()
        await two.tick()
    assert await world.rows("select count(*), count(distinct dedupe) from event") == [(15, 15)]


async def test_a_clock_set_back_lives_through_the_hour_again_and_fires_once(world):
    await world.area("a", MINUTELY)
    scheduler = world.scheduler()
    await run(world, scheduler, 30 * 60_000)
    world.clock.advance(-20 * 60_000)
    await run(world, scheduler, 30 * 60_000)
    assert await world.rows("select count(*), count(distinct dedupe) from event") == [(40, 40)]


async def test_a_clock_set_back_by_a_year_does_not_starve(world):
    world.clock.now += 365 * 24 * HOUR
    await world.area("a", MINUTELY)
    scheduler = world.scheduler()
    await run(world, scheduler, 120_000)
    world.clock.advance(-365 * 24 * HOUR)
    await run(world, scheduler, 180_000)
    assert await world.count("event") == 5
    await run(world, world.scheduler(), 120_000)  # nor after a restart
    assert await world.count("event") == 7


async def test_what_was_missed_after_a_clock_was_set_back_is_made_up_for(world):
    world.clock.now += 365 * 24 * HOUR
    await world.area("a", Wanted(place="d", action="schedule.cron", params={"cron": "0 7 * * *"}))
    scheduler = world.scheduler()
    await scheduler.tick()
    world.clock.advance(-365 * 24 * HOUR)
    await scheduler.tick()
    world.clock.advance(9 * HOUR)  # it is off at seven
    await world.scheduler().tick()
    assert await due(world) == ["07:00:00"]


@pytest.mark.parametrize("missed", ["skip", "latest", "each"])
async def test_a_clock_set_ahead_by_a_year_does_not_burst(world, missed):
    import msgspec

    await world.area("a", msgspec.structs.replace(MINUTELY, missed=missed))
    scheduler = world.scheduler()
    await scheduler.tick()
    world.clock.advance(365 * 24 * HOUR)
    await scheduler.tick()
    await scheduler.tick()
    assert await world.count("event") == {"skip": 1, "latest": 1, "each": 100}[missed]


async def test_a_death_between_firing_and_moving_on_is_impossible(world):
    await world.area("a", MINUTELY)
    scheduler = world.scheduler()
    await scheduler.tick()
    world.clock.advance(60_000)

    async def full(unit):
        raise StorageFullError("the disk is full")

    world.backend.before_commit = full
    with pytest.raises(StorageFullError):
        await scheduler.tick()
    assert await world.count("event") == 0
    await scheduler.tick()  # it heals by itself
    assert await due(world) == ["00:01:00"]


async def test_a_schedule_that_was_off_goes_on_from_now(world):
    await world.area("a", MINUTELY)
    scheduler = world.scheduler()
    await scheduler.tick()
    await world.switch("a", False)
    scheduler.changed()
    world.clock.advance(HOUR)
    await scheduler.tick()
    await world.switch("a", True)
    scheduler.changed()
    await scheduler.tick()
    assert await due(world) == []
    world.clock.advance(60_000)
    await scheduler.tick()
    assert await due(world) == ["01:01:00"]


async def test_a_change_is_taken_up_at_once(world):
    scheduler = world.scheduler()
    await scheduler.tick()
    (sub,) = await world.area("a", MINUTELY)
    scheduler.changed(sub.id)
    world.clock.advance(60_000)
    await scheduler.tick()
    assert await due(world) == ["00:01:00"]


async def test_a_change_that_nobody_told_is_not_fired_over(world):
    await world.area("a", MINUTELY)
    scheduler = world.scheduler()
    await scheduler.tick()
    await world.switch("a", False)
    world.clock.advance(60_000)
    await scheduler.tick()
    assert await due(world) == []


async def test_one_moment_fires_once_and_is_over(world):
    at = {"at": "2026-01-01T01:00:00", "timezone": "Europe/Paris"}
    (sub,) = await world.area("a", Wanted(place="at", action="schedule.at", params=at))
    assert sub.next == moment_ms("2026-01-01T00:00:00Z") or sub.next is None
    later = {"at": "2026-01-01T03:00:00", "timezone": "Europe/Paris"}
    await world.area("b", Wanted(place="at", action="schedule.at", params=later))
    await run(world, world.scheduler(), 3 * HOUR, step=60_000)
    await run(world, world.scheduler(), HOUR, step=60_000)
    assert await due(world) == ["02:00:00"]


async def test_an_interval_does_not_drift(world):
    await world.area("a", Wanted(place="e", action="schedule.every", params={"every": "10s"}))
    await run(world, world.scheduler(), 600_000, step=700)
    times = [moment_ms(payload["due"]) for payload in await world.payloads()]
    assert {after - before for before, after in itertools.pairwise(times)} == {10_000}


async def test_a_herd_is_fired_in_portions_and_drained(world):
    for n in range(1_100):
        world.backend.db.execute(
            "insert into subscription (id, owner, identity, action, params, kind, active, baseline, next, created) "
            "values (?, 'u', ?, 'schedule.cron', '{\"cron\":\"* * * * *\"}', 'schedule', 1, 0, ?, 0)",
            (f"s{n:05}", f"s{n}", world.clock.now),
        )
    scheduler = world.scheduler()
    pauses = [await scheduler.tick() for _ in range(3)]
    assert pauses[:2] == [0.0, 0.0]
    assert pauses[2] > 0
    assert await world.rows("select count(*), count(distinct subscription) from event") == [(1100, 1100)]


async def test_schedules_that_are_due_soon_after_another_fire_together_and_none_is_early(world):
    for n in range(30):
        await world.area(f"a{n:02}", Wanted(place="e", action="schedule.every", params={"every": "10m"}))
        world.clock.advance(10)
    scheduler = world.scheduler()
    world.clock.advance(round(1000 * await scheduler.tick()))
    while not await due(world):
        world.clock.advance(round(1000 * await scheduler.tick()))
    ticks = 1
    while len(await due(world)) < 30:
        pause_s = await scheduler.tick()
        assert pause_s >= 0.2
        world.clock.advance(round(1000 * pause_s))
        ticks += 1
    times = [(moment_ms(payload["due"]), moment_ms(payload["fired"])) for payload in await world.payloads()]
    assert all(0 <= fired - due <= 200 for due, fired in times)
    assert ticks <= (max(times)[0] - min(times)[0]) // 200 + 2
