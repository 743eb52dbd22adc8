"""Ids sort by the time of their making, whatever the machine's clock does."""

from __future__ import annotations

import re

import pytest

from areabox.clock import SystemClock, encode_id


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the times that a clock says next, the last of them again and again."""
    given = [1_767_225_600_000]
    monkeypatch.setattr(SystemClock, "now_ms", lambda _: given.pop(0) if len(given) > 1 else given[0])
    return given


def test_ids_are_26_characters_that_sort_and_are_never_the_same() -> None:
    clock = SystemClock()
    ids = [clock.new_id() for _ in range(50_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-hjkmnp-tv-z]{26}", id) for id in ids)


def test_an_id_begins_with_its_time(times: list[int]) -> None:
    assert SystemClock().new_id()[:10] == encode_id(times[0] << 80)[:10]


def test_ids_go_on_while_the_clock_stands_still_or_goes_back(times: list[int]) -> None:
    clock = SystemClock()
    times[:] = [5, 5, 9, 3, 3, 4, 10]
    ids = [clock.new_id() for _ in range(8)]
    assert ids == sorted(set(ids))


def test_two_clocks_do_not_give_the_same_ids(times: list[int]) -> None:
    one, other = SystemClock(), SystemClock()
    assert not {one.new_id() for _ in range(100)} & {other.new_id() for _ in range(100)}


def test_more_ids_in_a_millisecond_than_are_counted_are_the_next_ones(times: list[int]) -> None:
    clock = SystemClock()
    first = clock.new_id()
    clock._count = 1 << 20
    assert clock.new_id() > first
    assert clock.new_id()[:10] == encode_id((times[0] + 1) << 80)[:10]
