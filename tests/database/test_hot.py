"""Who is next: lanes, owners in turn, and what does not fit."""

from __future__ import annotations

import random

import pytest

from areabox.database import Lane, Pointer
from areabox.database.hot import HotQueue


def pointers(owner: str, count: int, lane: int = Lane.RUN, start: int = 0) -> list[Pointer]:
    return [Pointer(f"{owner}{lane}{n}", owner, lane) for n in range(start, start + count)]


def taken(queue: HotQueue, count: int) -> list[Pointer]:
    """Take so many, each done at once."""
    found = []
    for _ in range(count):
        pointer = queue.take()
        assert pointer is not None
        queue.done(pointer)
        found.append(pointer)
    return found


def test_one_owner_is_served_in_the_order_of_arrival():
    queue = HotQueue()
    queue.offer(pointers("a", 10))
    assert taken(queue, 10) == pointers("a", 10)
    assert queue.take() is None


def test_a_flood_of_one_owner_holds_up_nobody_else():
    queue = HotQueue()
    queue.offer(pointers("flood", 1_000))
    queue.offer(pointers("a", 3) + pointers("b", 3))
    assert [p.owner for p in taken(queue, 9)] == ["flood", "a", "b"] * 3


def test_owners_keep_their_turn_while_more_of_them_arrive():
    queue = HotQueue()
    queue.offer(pointers("a", 50) + pointers("b", 50))
    taken(queue, 7)
    queue.offer(pointers("c", 50))
    owners = [p.owner for p in taken(queue, 30)]
    assert {owner: owners.count(owner) for owner in "abc"} == {"a": 10, "b": 10, "c": 10}


def test_what_someone_waits_for_goes_first():
    queue = HotQueue()
    queue.offer(pointers("a", 3, Lane.BULK) + pointers("a", 3, Lane.RUN) + pointers("a", 3, Lane.NOW))
    assert [p.lane for p in taken(queue, 9)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_no_lane_starves_however_much_comes_in_above_it():
    queue = HotQueue()
    queue.offer(pointers("a", 5, Lane.BULK) + pointers("a", 50, Lane.RUN))
    lanes = []
    for n in range(128):
        queue.offer(pointers("b", 1, Lane.NOW, start=n))
        lanes += [p.lane for p in taken(queue, 1)]
    assert lanes.count(Lane.RUN) == 12
    assert lanes.count(Lane.BULK) == 4
    assert lanes.count(Lane.NOW) == 112


def test_an_unknown_lane_counts_as_the_ordinary_one():
    queue = HotQueue()
    queue.offer([Pointer("j", "a", 7)])
    assert queue.take() == Pointer("j", "a", Lane.RUN)


def test_a_job_that_is_queued_is_not_taken_in_again():
    queue = HotQueue()
    queue.offer(pointers("a", 1))
    queue.offer(pointers("a", 1))
    assert len(queue) == 1


def test_a_job_offered_while_it_executes_runs_once_more_afterwards_and_never_twice_at_once():
    queue = HotQueue()
    queue.offer(pointers("a", 1))
    pointer = queue.take()
    queue.offer(pointers("a", 1))
    queue.offer(pointers("a", 1))
    assert queue.take() is None
    assert queue.executing == 1
    queue.done(pointer)
    assert queue.take() == pointer
    queue.done(pointer)
    assert queue.take() is None
    assert queue.executing == 0


def test_what_is_over_the_window_is_forgotten_but_not_that_there_is_more():
    queue = HotQueue(window=10)
    queue.offer(pointers("a", 25))
    assert len(queue) == 10
    assert queue.thirsty() is None  # there is no room yet
    taken(queue, 5)
    assert queue.thirsty() == ("a", Lane.RUN)


def test_the_window_is_of_one_owner_in_one_lane():
    queue = HotQueue(window=10)
    queue.offer(pointers("a", 25))
    queue.offer(pointers("a", 5, Lane.NOW) + pointers("b", 10))
    assert len(queue) == 25


def test_what_comes_after_a_spill_waits_its_turn_in_the_rows():
    queue = HotQueue(window=10)
    queue.offer(pointers("a", 11))
    taken(queue, 5)
    queue.offer(pointers("a", 1, start=99))  # younger than the one that was spilled
    assert len(queue) == 5


def test_a_refill_brings_the_rest_without_doubles():
    queue = HotQueue(window=10)
    queue.offer(pointers("a", 25))
    first = [queue.take() for _ in range(6)]
    queue.drink("a", Lane.RUN)
    queue.refill("a", Lane.RUN, pointers("a", 10), limit=10)  # the rows' oldest, most of them known
    assert queue.thirsty() == ("a", Lane.RUN)  # as many as the limit: there may be more
    for pointer in first:
        queue.done(pointer)
    queue.drink("a", Lane.RUN)
    queue.refill("a", Lane.RUN, pointers("a", 9, start=6), limit=10)
    assert queue.thirsty() is None
    assert taken(queue, 9) == pointers("a", 9, start=6)


def test_what_is_offered_while_the_rows_are_read_is_not_lost():
    queue = HotQueue(window=10)
    queue.offer(pointers("a", 11))
    taken(queue, 10)
    queue.drink("a", Lane.RUN)
    queue.offer(pointers("a", 1, start=99))  # committed after the rows were read
    queue.refill("a", Lane.RUN, pointers("a", 1, start=10), limit=10)
    assert {p.job for p in taken(queue, 2)} == {"a110", "a199"}


@pytest.mark.parametrize("seed", range(100))
def test_whatever_the_order_every_ready_job_is_handed_out(seed: int):
    """The rows are a dict here; a job is ready until it is taken, as in `reactions.queue`."""
    chance = random.Random(seed)
    queue, rows, executing = HotQueue(window=4), {}, []

    def refill():
        while (place := queue.thirsty()) is not None:
            queue.drink(*place)
            found = [p for p in rows.values() if (p.owner, p.lane) == place][:4]
            queue.refill(*place, found, limit=4)
            if len(found) == 4:
                break

    def take() -> bool:
        pointer = queue.take()
        if pointer is not None:
            executing.append(pointer)
            rows.pop(pointer.job, None)
        return pointer is not None

    for n in range(120):
        owner, lane = chance.choice("abc"), chance.choice((Lane.NOW, Lane.RUN, Lane.BULK))
        pointer = Pointer(f"{owner}{lane}{n % 31}", owner, lane)  # some of them come back
        rows[pointer.job] = pointer
        queue.offer([pointer])
        for _ in range(chance.randrange(3)):
            take()
        if executing and chance.random() < 0.6:
            queue.done(executing.pop(chance.randrange(len(executing))))
        assert len({p.job for p in executing}) == len(executing)
        refill()
    for _ in range(1_000):
        while executing:
            queue.done(executing.pop())
        refill()
        if not take():
            break
    assert rows == {}
    assert len(queue) == 0
