"""Links that work once: invitations, registrations, new passwords."""

from __future__ import annotations

import asyncio

import pytest

from areabox.database import Backend
from areabox.errors import ConflictError, InputError, NotFoundError
from areabox.users.accounts import Account, Accounts
from areabox.users.links import INVITE_MS, RESET_MS, Links
from areabox.users.sessions import Sessions
from tests.support import FakeClock

PASSWORD = "correct horse battery"


@pytest.fixture
def links(backend: Backend, clock: FakeClock, accounts: Accounts) -> Links:
    return Links(backend, clock, accounts)


async def test_an_invitation_makes_one_account_with_its_role(links: Links, owner: Account, accounts: Accounts) -> None:
    made = await links.invite(owner.id, "editor", "New@example.org")
    account = await links.join(made.secret, "other@example.org", PASSWORD, " Ann  Lee ")
    assert (account.email, account.role, account.name) == ("new@example.org", "editor", "Ann Lee")
    with pytest.raises(NotFoundError, match="has been used"):
        await links.join(made.secret, "again@example.org", PASSWORD)
    assert (await accounts.check("new@example.org", PASSWORD, address="x")).id == account.id


async def test_many_who_open_one_invitation_make_one_account(links: Links, owner: Account) -> None:
    made = await links.invite(owner.id, "viewer")
    answers = await asyncio.gather(
        *(links.join(made.secret, f"{n}@example.org", PASSWORD) for n in range(5)), return_exceptions=True
    )
    assert sum(isinstance(answer, Account) for answer in answers) == 1


async def test_what_does_not_fit_leaves_the_invitation(links: Links, owner: Account) -> None:
    made = await links.invite(owner.id, "viewer")
    for email, password in (("new@example.org", "short"), ("nonsense", PASSWORD)):
        with pytest.raises(InputError):
            await links.join(made.secret, email, password)
    with pytest.raises(ConflictError):
        await links.join(made.secret, owner.email, PASSWORD)
    assert (await links.join(made.secret, "new@example.org", PASSWORD)).role == "viewer"


async def test_an_invitation_ends(links: Links, owner: Account, clock: FakeClock, backend: Backend) -> None:
    made = await links.invite(owner.id, "viewer")
    assert [link.id for link in await links.list()] == [made.link.id]
    clock.advance(INVITE_MS)
    with pytest.raises(NotFoundError):
        await links.find(made.secret)
    assert await links.list() == []
    clock.advance(1)
    assert await links.prune() == 1


async def test_an_invitation_can_be_taken_back(links: Links, owner: Account) -> None:
    made = await links.invite(owner.id, "viewer")
    await links.withdraw(made.link.id)
    for secret in (made.secret, "guess"):
        with pytest.raises(NotFoundError):
            await links.join(secret, "new@example.org", PASSWORD)
    with pytest.raises(NotFoundError):
        await links.withdraw(made.link.id)


async def test_whoever_has_an_account_is_not_invited(links: Links, owner: Account) -> None:
    with pytest.raises(ConflictError, match="already"):
        await links.invite(owner.id, "viewer", owner.email)
    with pytest.raises(InputError):
        await links.invite(owner.id, "viewer", valid_ms=91 * 86_400_000)
    assert await links.register(owner.email) is None


async def test_only_the_hash_of_a_link_is_stored(links: Links, owner: Account, backend: Backend) -> None:
    made = await links.invite(owner.id, "viewer", "new@example.org")
    [row] = await backend.read("select * from link")
    assert made.secret not in str(tuple(row))


async def test_a_reset_gives_a_new_password_once_and_ends_all_sessions(
    links: Links, owner: Account, accounts: Accounts, backend: Backend, clock: FakeClock
) -> None:
    sessions = Sessions(backend, clock)
    cookie = await sessions.start(owner)
    first, second = await links.reset(owner.email), await links.reset(owner.email)
    assert first is not None
    assert second is not None
    with pytest.raises(NotFoundError):
        await links.renew(first.secret, "another good password")
    await links.renew(second.secret, "another good password")
    assert await sessions.find(cookie) is None
    assert await accounts.check(owner.email, "another good password", address="x")
    with pytest.raises(NotFoundError):
        await links.renew(second.secret, "one more good password")


async def test_a_reset_is_no_invitation_and_an_invitation_no_reset(links: Links, owner: Account) -> None:
    reset, invitation = await links.reset(owner.email), await links.invite(owner.id, "viewer")
    assert reset is not None
    with pytest.raises(NotFoundError):
        await links.join(reset.secret, "new@example.org", PASSWORD)
    with pytest.raises(NotFoundError):
        await links.renew(invitation.secret, PASSWORD)


async def test_a_reset_ends_after_an_hour_and_with_another_new_password(
    links: Links, owner: Account, accounts: Accounts, clock: FakeClock
) -> None:
    made = await links.reset(owner.email)
    assert made is not None
    clock.advance(RESET_MS)
    with pytest.raises(NotFoundError):
        await links.find(made.secret)
    made = await links.reset(owner.email)
    assert made is not None
    await accounts.set_password(owner, "another good password")
    with pytest.raises(NotFoundError):
        await links.find(made.secret)


async def test_nobody_disabled_unknown_or_a_program_gets_a_reset(links: Links, owner: Account, accounts: Accounts) -> None:
    gone = await accounts.create("gone@example.org", PASSWORD, "viewer")
    await accounts.disable(gone)
    await accounts.create("robot@example.org", None, "editor", kind="service")
    for email in ("gone@example.org", "robot@example.org", "nobody@example.org"):
        assert await links.reset(email) is None
