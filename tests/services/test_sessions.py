"""One long-lived client for each connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from areabox.errors import Permanent, Transient
from areabox.services.sessions import Sessions, Taps


class Opener:
    """Makes sessions and counts them."""

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.error: Exception | None = None

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[int]:
        if self.error is not None:
            raise self.error
        self.opened += 1
        try:
            yield self.opened
        finally:
            self.closed += 1



async def test_users_at_the_same_time_and_soon_after_share_one() -> None:
    opener, sessions = Opener(), Sessions()

    async def use() -> int:
        async with sessions.use("a", opener) as client:
            await asyncio.sleep(0)
            return int(client)

    assert await asyncio.gather(*(use() for _ in range(3))) == [1, 1, 1]
    assert await use() == 1
    await sessions.close()
    assert (opener.opened, opener.closed) == (1, 1)


async def test_one_that_nobody_uses_is_closed_after_a_while() -> None:
    opener, sessions = Opener(), Sessions(idle_s=0.0)
    async with sessions.use("a", opener):
        assert opener.closed == 0
    for _ in range(5):
        await asyncio.sleep(0)
    assert opener.closed == 1
    await sessions.close()


async def test_an_error_of_one_user_ends_it_for_the_next() -> None:
    opener, sessions = Opener(), Sessions()
    with pytest.raises(Transient):
        async with sessions.use("a", opener):
            raise Transient("broken pipe")
    async with sessions.use("a", opener) as client:
        assert client == 2
    await sessions.close()
    assert opener.closed == 2


async def test_a_refusal_of_one_request_is_no_end_for_the_others() -> None:
    opener, sessions = Opener(), Sessions()
    async with sessions.use("a", opener) as first:
        with pytest.raises(Permanent):
            async with sessions.use("a", opener):
                raise Permanent("not this topic")
        async with sessions.use("a", opener) as client:
            assert client == first
    await sessions.close()
    assert (opener.opened, opener.closed) == (1, 1)


async def test_what_cannot_be_opened_says_why_and_is_tried_again() -> None:
    opener, sessions = Opener(), Sessions()
    opener.error = Transient("no broker")
    for _ in range(2):
        with pytest.raises(Transient, match="no broker"):
            async with sessions.use("a", opener):
                pass
    opener.error = None
    async with sessions.use("a", opener) as client:
        assert client == 1
    await sessions.close()


async def test_a_user_that_is_cancelled_leaves_it_to_the_others() -> None:
    opener, sessions = Opener(), Sessions()

    async def use() -> None:
        async with sessions.use("a", opener):
            await asyncio.Event().wait()

    first, second = asyncio.create_task(use()), asyncio.create_task(use())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert (opener.opened, opener.closed) == (1, 0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    await sessions.close()
    assert opener.closed == 1


async def test_closing_waits_for_slow_ones_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def stubborn() -> AsyncIterator[None]:
        yield
        await asyncio.Event().wait()

    make: Callable[[], AbstractAsyncContextManager[Any]] = stubborn
    monkeypatch.setattr("areabox.services.sessions.CLOSE_S", 0.01)
    sessions = Sessions()
    async with sessions.use("a", make):
        pass
    await asyncio.wait_for(sessions.close(), 30)


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number
        await asyncio.sleep(0)


async def test_every_reader_of_a_tap_gets_everything_and_learns_of_the_end() -> None:
    taps, source = Taps(), numbers(50)

    async def read() -> list[int]:
        reader = taps.read(source)
        found = [await anext(reader) for _ in range(50)]
        with pytest.raises(Transient, match="the source ended"):
            await anext(reader)
        return found

    assert await asyncio.gather(read(), read()) == [list(range(50))] * 2
    assert taps._taps == {}


async def test_a_slow_reader_slows_the_source_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("areabox.services.sessions.TAP_ITEMS", 2)
    taps, read, reader = Taps(), 0, None
    given: list[int] = []

    async def source() -> AsyncIterator[int]:
        for number in range(20):
            given.append(number)
            yield number

    reader = taps.read(source())
    async for item in reader:
        assert item == read
        assert len(given) <= read + 5
        read += 1
        if read == 20:
            break
    await reader.aclose()  # type: ignore[attr-defined]
    assert taps._taps == {}


async def test_an_error_of_the_source_reaches_its_readers() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        raise Transient("connection lost")

    reader = Taps().read(source())
    assert await anext(reader) == 1
    with pytest.raises(Transient, match="connection lost"):
        await anext(reader)
