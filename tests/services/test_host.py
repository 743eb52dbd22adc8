"""What does the house itself do for its own services?"""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from areabox.database import Unit
from areabox.database.sqlite import SqliteBackend
from areabox.errors import Permanent
from areabox.services import host as hosts
from areabox.services.host import House
from tests.support import FakeClock


@pytest.fixture
def house(backend: SqliteBackend, clock: FakeClock) -> House:
    return House(backend, clock)


async def test_what_is_stored_is_there_for_its_owner(house: House) -> None:
    ann, bob = house.of("ann"), house.of("bob")
    assert await ann.store_get("a") is None
    assert await ann.store_set("a", {"b": [1]}, "e1") == {"b": [1]}
    assert await ann.store_get("a") == {"b": [1]}
    assert await bob.store_get("a") is None


async def test_a_repeat_changes_nothing_and_gives_the_same_answer(house: House) -> None:
    ann = house.of("ann")
    assert await ann.store_increment("n", 5, "e1") == 5
    assert await ann.store_increment("n", 1, "e2") == 6
    assert await ann.store_increment("n", 5, "e1") == 5
    assert await ann.store_get("n") == 6
    await ann.store_set("a", "old", "e3")
    await ann.store_set("a", "new", "e4")
    await ann.store_set("a", "old", "e3")
    assert await ann.store_get("a") == "new"


async def test_many_at_once_all_count(house: House) -> None:
    ann = house.of("ann")
    sums = await asyncio.gather(*(ann.store_increment("n", 1, f"e{n}") for n in range(60)))
    assert sorted(sums) == list(range(1, 61))


async def test_another_process_that_was_faster_counts_too(house: House, backend: SqliteBackend, clock: FakeClock) -> None:
    other, once = House(backend, clock).of("ann"), iter([True])
    commit = backend.commit

    async def late(unit: Unit) -> bool:
        if next(once, False):
            await other.store_increment("n", 10, "theirs")
        return await commit(unit)

    backend.commit = late  # type: ignore[method-assign]
    assert await house.of("ann").store_increment("n", 1, "ours") == 11


async def test_whole_numbers_stay_whole(house: House) -> None:
    ann = house.of("ann")
    assert repr(await ann.store_increment("n", 2.0, "e1")) == "2"
    assert await ann.store_increment("n", 0.5, "e2") == 2.5


async def test_nothing_is_added_to_what_is_no_number(house: House) -> None:
    ann = house.of("ann")
    for number, value in enumerate(("text", True, [1])):
        await ann.store_set("a", value, f"e{number}")
        with pytest.raises(Permanent, match="is no number"):
            await ann.store_increment("a", 1, f"f{number}")


async def test_there_is_a_limit_on_everything(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = house.of("ann")
    with pytest.raises(Permanent, match="at most 256 KiB"):
        await ann.store_set("a", "x" * 300_000, "e1")
    for key in ("", "x" * 257):
        with pytest.raises(Permanent, match="1 to 256 characters"):
            await ann.store_set(key, 1, "e2")
    monkeypatch.setattr(hosts, "KEYS_MAX", 2)
    await ann.store_set("a", 1, "e3")
    await ann.store_set("b", 1, "e4")
    with pytest.raises(Permanent, match="2 keys already"):
        await ann.store_set("c", 1, "e5")
    assert await ann.store_set("a", 2, "e6") == 2
    assert await house.of("bob").store_set("c", 1, "e7") == 1


async def test_old_effects_are_forgotten(house: House, backend: SqliteBackend, clock: FakeClock) -> None:
    await house.of("ann").store_set("a", 1, "old")
    clock.advance(1000)
    await house.of("ann").store_set("a", 2, "new")
    assert await house.prune(clock.now) == 1
    with sqlite3.connect(backend.path) as db:
        assert db.execute("select key from effect").fetchall() == [("new",)]


async def test_a_notice_is_passed_on_with_its_key(backend: SqliteBackend, clock: FakeClock) -> None:
    told: list[tuple[str, ...]] = []

    async def notify(*words: str) -> None:
        told.append(words)

    await House(backend, clock, notify).of("ann").notify("Hi", "There", "/runs/1", "e1")
    assert told == [("ann", "Hi", "There", "/runs/1", "e1")]
    with pytest.raises(Permanent):
        await House(backend, clock).of("ann").notify("Hi", "", "", "e1")
