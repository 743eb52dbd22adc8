"""What is half done, and browsers that were there before."""

from __future__ import annotations

import asyncio

import pytest

from areabox.database import Backend
from areabox.users.accounts import Account
from areabox.users.devices import Devices, fingerprint
from areabox.users.pending import VALID_MS, Pending
from tests.support import FakeClock

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def pending(backend: Backend, clock: FakeClock) -> Pending:
    return Pending(backend, clock)


async def test_what_waits_is_taken_once_by_its_cookie_and_kind(pending: Pending, owner: Account) -> None:
    value = await pending.put("second", owner.id, {"next": "/"})
    assert await pending.take("oidc", value) is None
    assert await pending.take("second", "guess") is None
    answers = await asyncio.gather(*(pending.take("second", value) for _ in range(5)))
    assert [answer for answer in answers if answer] == [(owner.id, {"next": "/"})]


async def test_it_is_gone_after_ten_minutes_and_after_five_wrong_answers(
    pending: Pending, owner: Account, clock: FakeClock
) -> None:
    value = await pending.put("second", owner.id, {})
    clock.advance(VALID_MS)
    assert await pending.look("second", value) is None
    value = await pending.put("second", owner.id, {})
    for _ in range(5):
        assert await pending.look("second", value) is not None
        await pending.miss("second", value)
    assert await pending.look("second", value) is None


async def test_the_cookie_is_not_stored(pending: Pending, backend: Backend) -> None:
    value = await pending.put("oidc", None, {})
    [row] = await backend.read("select * from pending")
    assert value not in str(tuple(row))


async def test_a_new_browser_is_noticed_and_an_update_is_not(backend: Backend, clock: FakeClock, owner: Account) -> None:
    devices = Devices(backend, clock)
    assert not await devices.note(owner.id, FIREFOX, "192.0.2.7"), "there is nothing to compare the first one with"
    assert not await devices.note(owner.id, FIREFOX.replace("140", "141"), "192.0.2.9")
    assert await devices.note(owner.id, "curl/8", "192.0.2.7")
    assert await devices.note(owner.id, FIREFOX, "198.51.100.7")
    assert not await devices.note(owner.id, FIREFOX, "198.51.100.7")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("2001:db8::1", "2001:db8:0:ffff::9", True), ("2001:db8::1", "2001:db9::1", False), ("::ffff:192.0.2.1", "192.0.2.200", True), ("local", "local", True)],
)
def test_networks_are_what_a_household_has(one: str, other: str, same: bool) -> None:
    assert (fingerprint("x", one) == fingerprint("x", other)) == same
