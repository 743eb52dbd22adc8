"""Jobs are handed to as many tasks as there are slots, and a handler that fails takes nothing along."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from areabox.database import Lane, Pointer
from areabox.database.dispatch import Dispatcher
from areabox.database.hot import HotQueue


class Handled:
    """A handler whose jobs end when they are told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.most = 0
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._gates: dict[str, asyncio.Event] = {}

    async def __call__(self, job: str) -> None:
        self.begun.append(job)
        self.most = max(self.most, len(self.begun) - len(self.ended))
        self.tasks[job] = asyncio.current_task()
        gate = self._gates[job] = asyncio.Event()
        try:
            await gate.wait()
        finally:
            self.ended.append(job)

    def end(self, *jobs: str) -> None:
        for job in jobs:
            self._gates[job].set()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def pointers(count: int, owner: str = "a") -> list[Pointer]:
    return [Pointer(f"{owner}{n}", owner) for n in range(count)]


@pytest.fixture
def handled() -> Handled:
    return Handled()


@pytest.fixture
async def dispatcher(handled: Handled) -> AsyncIterator[Dispatcher]:
    dispatcher = Dispatcher(HotQueue(window=4))
    consuming = asyncio.create_task(dispatcher.consume(handled, slots=2))
    await settle()
    yield dispatcher
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    await dispatcher.close()


async def test_no_more_jobs_run_at_once_than_there_are_slots(dispatcher: Dispatcher, handled: Handled):
    dispatcher.offer(pointers(4))
    await settle()
    assert handled.begun == ["a0", "a1"]
    assert dispatcher.stats().ready == 2
    assert dispatcher.stats().executing == 2
    handled.end("a0")
    await settle()
    assert handled.begun == ["a0", "a1", "a2"]
    assert handled.most == 2


async def test_a_handler_that_fails_is_logged_and_gives_its_slot_back(caplog: pytest.LogCaptureFixture):
    dispatcher, done = Dispatcher(HotQueue()), []

    async def handler(job: str) -> None:
        done.append(job)
        raise RuntimeError("a bug")

    dispatcher.offer(pointers(5))
    with caplog.at_level(logging.ERROR):
        consuming = asyncio.create_task(dispatcher.consume(handler, slots=1))
        while len(done) < 5:
            await asyncio.sleep(0)
        await settle()
    consuming.cancel()
    assert len(caplog.records) == 5
    assert dispatcher.stats().executing == 0


async def test_a_cancelled_handler_gives_its_slot_back(dispatcher: Dispatcher, handled: Handled):
    dispatcher.offer(pointers(3))
    await settle()
    handled.tasks["a0"].cancel()
    await settle()
    assert len(handled.begun) == 3


async def test_draining_hands_out_nothing_more_and_lets_run_what_runs(dispatcher: Dispatcher, handled: Handled):
    dispatcher.offer(pointers(4))
    await settle()
    dispatcher.drain()
    handled.end("a0", "a1")
    await settle()
    assert handled.ended == ["a0", "a1"]
    assert handled.begun == ["a0", "a1"]
    assert dispatcher.stats().ready == 2


async def test_whoever_stops_consuming_leaves_running_jobs_alone():
    dispatcher, handled = Dispatcher(HotQueue()), Handled()
    dispatcher.offer(pointers(1))
    consuming = asyncio.create_task(dispatcher.consume(handled, slots=1))
    await settle()
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    assert handled.ended == []
    handled.end("a0")
    await settle()
    assert handled.ended == ["a0"]
    assert dispatcher.stats().executing == 0


async def test_consuming_again_goes_on_where_it_stopped():
    dispatcher, handled = Dispatcher(HotQueue()), Handled()
    dispatcher.drain()
    dispatcher.offer(pointers(2))
    consuming = asyncio.create_task(dispatcher.consume(handled, slots=2))
    await settle()
    assert handled.begun == ["a0", "a1"]
    consuming.cancel()
    await dispatcher.close()


async def test_closing_cuts_off_what_still_runs(dispatcher: Dispatcher, handled: Handled):
    dispatcher.offer(pointers(2))
    await settle()
    await dispatcher.close()
    assert sorted(handled.ended) == ["a0", "a1"]
    assert dispatcher.stats().executing == 0


async def test_what_did_not_fit_is_read_from_the_rows_when_there_is_room(dispatcher: Dispatcher, handled: Handled):
    asked = []

    async def refill(owner: str, lane: int, limit: int) -> list[Pointer]:
        asked.append((owner, lane, limit))
        return [p for p in pointers(7) if p.job not in handled.begun][:limit]

    dispatcher.refill = refill
    dispatcher.offer(pointers(7))
    await settle()
    while len(handled.ended) < 7:
        handled.end(*(set(handled.begun) - set(handled.ended)))
        await settle()
    assert sorted(handled.begun) == [f"a{n}" for n in range(7)]
    assert set(asked) == {("a", Lane.RUN, 4)}


async def test_a_refill_holds_up_nobody_else(dispatcher: Dispatcher, handled: Handled):
    never = asyncio.Event()

    async def refill(owner: str, lane: int, limit: int) -> list[Pointer]:
        await never.wait()
        raise AssertionError

    dispatcher.refill = refill
    dispatcher.offer(pointers(7))
    dispatcher.offer(pointers(2, "b"))
    for _ in range(6):
        await settle()
        handled.end(*(set(handled.begun) - set(handled.ended)))
    assert sorted(handled.begun) == ["a0", "a1", "a2", "a3", "b0", "b1"]


async def test_rows_that_cannot_be_read_are_logged_once_and_left_to_the_next_offer(
    dispatcher: Dispatcher, handled: Handled, caplog: pytest.LogCaptureFixture
):
    async def refill(owner: str, lane: int, limit: int) -> list[Pointer]:
        raise OSError("no disk")

    dispatcher.refill = refill
    with caplog.at_level(logging.ERROR):
        dispatcher.offer(pointers(5))
        await settle()
        handled.end("a0", "a1")
        await settle()
    assert [record.message for record in caplog.records] == ["ready jobs could not be read"]
    dispatcher.offer(pointers(5))
    await settle()
    assert dispatcher.stats().ready == 3  # a2 and a3 run; a4, which had not fitted, and a0 and a1, offered anew
