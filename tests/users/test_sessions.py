"""Sessions: browsers that are logged in."""

from __future__ import annotations

import pytest

from areabox.database import Backend
from areabox.errors import NotFoundError
from areabox.users.accounts import Account, Accounts
from areabox.users.sessions import ABSOLUTE_MS, IDLE_MS, SEEN_EVERY_MS, Sessions, csrf, is_csrf
from tests.support import FakeClock

DAY = 86_400_000


@pytest.fixture
def sessions(backend: Backend, clock: FakeClock) -> Sessions:
    return Sessions(backend, clock)


async def test_the_cookies_value_finds_the_account(sessions: Sessions, owner: Account) -> None:
    value = await sessions.start(owner, "Firefox")
    found = await sessions.find(value)
    assert found is not None
    assert found.account == owner
    assert found.session.agent == "Firefox"
    assert await sessions.find(value + "x") is None
    assert await sessions.find("") is None


async def test_the_value_itself_is_nowhere_in_the_database(
    sessions: Sessions, owner: Account, backend: Backend
) -> None:
    value = await sessions.start(owner)
    [row] = await backend.read("select * from session")
    assert value not in [str(column) for column in tuple(row)]


async def test_two_idle_weeks_end_it(sessions: Sessions, owner: Account, clock: FakeClock) -> None:
    value = await sessions.start(owner)
    clock.advance(IDLE_MS - 1)
    assert await sessions.find(value) is not None
    clock.advance(IDLE_MS)
    assert await sessions.find(value) is None


async def test_ninety_days_end_it_however_busy_it_is(sessions: Sessions, owner: Account, clock: FakeClock) -> None:
    value = await sessions.start(owner)
    for _ in range(89):
        clock.advance(DAY)
        assert await sessions.find(value) is not None
    clock.advance(DAY)
    assert await sessions.find(value) is None


async def test_looking_writes_at_most_every_five_minutes(sessions: Sessions, owner: Account, clock: FakeClock) -> None:
    value = await sessions.start(owner)
    clock.advance(SEEN_EVERY_MS - 1)
    await sessions.find(value)
    assert (await sessions.list(owner.id))[0].seen == clock.start
    clock.advance(1)
    await sessions.find(value)
    assert (await sessions.list(owner.id))[0].seen == clock.now_ms()


async def test_a_new_login_takes_the_place_of_the_old_session(sessions: Sessions, owner: Account) -> None:
    old = await sessions.start(owner)
    new = await sessions.start(owner, instead_of=old)
    assert new != old
    assert await sessions.find(old) is None


async def test_ended_and_revoked_sessions_are_over(sessions: Sessions, owner: Account, accounts: Accounts) -> None:
    first, second = await sessions.start(owner), await sessions.start(owner)
    await sessions.end(first)
    [left] = await sessions.list(owner.id)
    other = await accounts.create("other@example.org", None, "viewer")
    with pytest.raises(NotFoundError):
        await sessions.revoke(other, left.id)
    await sessions.revoke(owner, left.id)
    assert await sessions.find(first) is None
    assert await sessions.find(second) is None


async def test_what_is_over_is_pruned(sessions: Sessions, owner: Account, clock: FakeClock) -> None:
    await sessions.start(owner)
    clock.advance(ABSOLUTE_MS)
    fresh = await sessions.start(owner)
    assert await sessions.prune() == 1
    assert await sessions.find(fresh) is not None


async def test_a_forms_token_belongs_to_one_session(sessions: Sessions, owner: Account) -> None:
    first, second = await sessions.start(owner), await sessions.start(owner)
    assert is_csrf(first, csrf(first))
    assert not is_csrf(first, csrf(second))
    assert not is_csrf(first, "")
