"""What goes, and when."""

from __future__ import annotations

import pytest

from areabox.deployment import housekeeping
from areabox.deployment.housekeeping import AGAIN_S, BITE, EVERY_S, Ended, Housekeeping, Space, Sweep

DAY_MS = 86_400_000


class Rows:
    """Rows with a time each, 1 kB large."""

    def __init__(self, times: list[int]) -> None:
        self.times = sorted(times)
        self.shrunk = 0
        self.size = len(times)

    async def prune(self, before_ms: int, limit: int) -> int:
        old = [time for time in self.times if time < before_ms][:limit]
        self.times = self.times[len(old) :]
        return len(old)

    async def count(self) -> int:
        return len(self.times)

    async def used_bytes(self) -> int:
        return self.size * 1000

    async def shrink(self) -> None:
        self.shrunk += 1
        self.size = len(self.times)


def keeper(clock, rows, *, keep_ms=30 * DAY_MS, runs=10**9, size=10**12) -> Housekeeping:
    return Housekeeping(
        clock,
        [Sweep("runs", keep_ms, rows.prune)],
        Ended(runs, rows.count, rows.prune),
        Space(size, rows.used_bytes, rows.shrink),
    )


async def test_what_is_older_than_its_age_goes_and_the_file_shrinks(clock):
    rows = Rows([clock.now_ms() - day * DAY_MS for day in range(60)])
    assert await keeper(clock, rows).tick() == EVERY_S
    assert len(rows.times) == 31
    assert rows.shrunk == 1


async def test_nothing_to_do_costs_nothing(clock):
    rows = Rows([clock.now_ms()])
    assert await keeper(clock, rows).tick() == EVERY_S
    assert rows.shrunk == 0


async def test_the_oldest_go_when_there_are_too_many(clock):
    rows = Rows([clock.now_ms() - n for n in range(1, 1001)])
    await keeper(clock, rows, runs=600).tick()
    assert len(rows.times) == 600
    assert min(rows.times) == clock.now_ms() - 600


async def test_the_oldest_go_when_they_are_too_large(clock):
    rows = Rows([clock.now_ms() - n for n in range(1, 1001)])
    await keeper(clock, rows, size=500_000).tick()
    assert 500 - BITE < len(rows.times) <= 500


async def test_a_mountain_is_carried_off_in_bites(clock, monkeypatch):
    monkeypatch.setattr(housekeeping, "BITES_MAX", 3)
    rows = Rows([clock.now_ms() - 40 * DAY_MS] * (BITE * 4))
    house = keeper(clock, rows)
    assert await house.tick() == AGAIN_S
    assert len(rows.times) == BITE
    assert await house.tick() == EVERY_S
    assert rows.times == []


async def test_what_cannot_shrink_is_said_once_and_not_tried_forever(clock, caplog):
    rows = Rows([clock.now_ms() + 1] * 10)
    assert await keeper(clock, rows, size=1).tick() == EVERY_S
    assert "no ended run is left" in caplog.text


@pytest.mark.parametrize("limit", [BITE * 2, BITE + 1])
async def test_the_number_is_met_exactly(clock, limit):
    rows = Rows([clock.now_ms() - 1] * (BITE * 3))
    await keeper(clock, rows, runs=limit).tick()
    assert len(rows.times) == limit
