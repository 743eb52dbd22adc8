"""Accounts: made, changed, entered."""

from __future__ import annotations

import asyncio

import pytest

from areabox.database import Backend, Unit
from areabox.errors import ConflictError, InputError, NotAllowedError, NotFoundError
from areabox.users.accounts import Account, Accounts
from areabox.users.passwords import Passwords
from areabox.users.sessions import Sessions
from areabox.users.throttle import Throttle, TooManyTriesError
from tests.support import FakeClock

PASSWORD = "correct horse battery"
FAR = "198.51.100.7"


async def test_the_right_password_opens_the_account(accounts: Accounts, owner: Account, clock: FakeClock) -> None:
    clock.advance(5_000)
    found = await accounts.check(" Owner@Example.org ", PASSWORD, address=FAR)
    assert found.id == owner.id
    assert (await accounts.get(owner.id)).seen == clock.now_ms()


@pytest.mark.parametrize(("email", "password"), [("owner@example.org", "wrong"), ("nobody@example.org", PASSWORD)])
async def test_everything_else_is_refused_with_the_same_words(
    accounts: Accounts, owner: Account, email: str, password: str
) -> None:
    with pytest.raises(NotAllowedError, match=r"^the e-mail address or the password is wrong$"):
        await accounts.check(email, password, address=FAR)


async def test_a_disabled_account_stays_shut_with_the_right_password(accounts: Accounts, owner: Account) -> None:
    editor = await accounts.create("editor@example.org", PASSWORD, "editor")
    await accounts.disable(editor)
    with pytest.raises(NotAllowedError):
        await accounts.check(editor.email, PASSWORD, address=FAR)
    await accounts.disable(editor, disabled=False)
    assert (await accounts.check(editor.email, PASSWORD, address=FAR)).id == editor.id


async def test_many_tries_at_once_count_as_many(accounts: Accounts, owner: Account) -> None:
    answers = await asyncio.gather(
        *(accounts.check(owner.email, f"guess {n}", address=FAR) for n in range(50)), return_exceptions=True
    )
    assert sum(isinstance(answer, NotAllowedError) for answer in answers) == 10
    assert sum(isinstance(answer, TooManyTriesError) for answer in answers) == 40


async def test_an_account_without_a_password_cannot_be_entered(accounts: Accounts) -> None:
    await accounts.create("robot@example.org", None, "editor")
    with pytest.raises(NotAllowedError):
        await accounts.check("robot@example.org", "", address=FAR)


async def test_an_address_is_taken_once_however_it_is_written(accounts: Accounts, owner: Account) -> None:
    with pytest.raises(ConflictError, match=r"there is an account owner@example\.org already"):
        await accounts.create("OWNER@example.org", PASSWORD, "viewer")


@pytest.mark.parametrize(
    "email", ["", "nobody", "a@b@c", "a b@example.org", "@example.org", "a@", "x" * 300 + "@a.org"]
)
async def test_what_is_no_address_is_refused(accounts: Accounts, email: str) -> None:
    with pytest.raises(InputError):
        await accounts.create(email, PASSWORD, "viewer")


async def test_only_one_of_two_first_accounts_is_made(accounts: Accounts) -> None:
    answers = await asyncio.gather(
        *(accounts.create(f"{n}@example.org", PASSWORD, "owner", first=True) for n in range(5)), return_exceptions=True
    )
    assert sum(isinstance(answer, Account) for answer in answers) == 1
    assert sum(isinstance(answer, ConflictError) for answer in answers) == 4


async def test_the_last_owner_stays_one(accounts: Accounts, owner: Account) -> None:
    for change in (accounts.set_role(owner, "admin"), accounts.disable(owner), accounts.delete(owner)):
        with pytest.raises(ConflictError, match="last owner"):
            await change
    await accounts.create("second@example.org", PASSWORD, "owner")
    await accounts.set_role(owner, "admin")
    assert (await accounts.get(owner.id)).role == "admin"


async def test_a_disabled_owner_does_not_count_as_one(accounts: Accounts, owner: Account) -> None:
    second = await accounts.create("second@example.org", PASSWORD, "owner")
    await accounts.disable(second)
    with pytest.raises(ConflictError, match="last owner"):
        await accounts.disable(owner)


async def test_a_new_password_or_role_ends_all_sessions(
    accounts: Accounts, owner: Account, backend: Backend, clock: FakeClock
) -> None:
    sessions = Sessions(backend, clock)
    editor = await accounts.create("editor@example.org", PASSWORD, "editor")
    mine, other = await sessions.start(editor), await sessions.start(editor)
    current = await sessions.find(mine)
    assert current is not None
    await accounts.set_password(editor, "another good password", keep_session=current.session.id)
    assert await sessions.find(other) is None
    assert await sessions.find(mine) is not None
    await accounts.set_role(editor, "viewer")
    assert await sessions.find(mine) is None


async def test_an_account_with_areas_is_not_removed(accounts: Accounts, owner: Account, backend: Backend) -> None:
    editor = await accounts.create("editor@example.org", PASSWORD, "editor")
    insert = (
        "insert into area (id, owner, slug, name, head, enabled, created, updated) values ('a', ?, 's', '', 1, 1, 0, 0)"
    )
    await backend.commit(Unit().do(insert, editor.id))
    with pytest.raises(ConflictError, match="still has areas"):
        await accounts.delete(editor)
    await backend.commit(Unit().do("delete from area"))
    await accounts.delete(editor)
    with pytest.raises(NotFoundError):
        await accounts.get(editor.id)


async def test_a_login_makes_an_old_hash_new(backend: Backend, clock: FakeClock, throttle: Throttle) -> None:
    old = Accounts(backend, clock, Passwords(memory_kib=64, passes=1), throttle)
    await old.create("owner@example.org", PASSWORD, "owner")
    new = Accounts(backend, clock, Passwords(memory_kib=128, passes=1), throttle)
    await new.check("owner@example.org", PASSWORD, address=FAR)
    [row] = await backend.read("select password from account")
    assert "m=128," in row["password"]
    assert PASSWORD not in row["password"]


async def test_accounts_are_listed_page_by_page(accounts: Accounts, owner: Account) -> None:
    made = [owner] + [await accounts.create(f"{n}@example.org", None, "viewer") for n in range(4)]
    first = await accounts.list(limit=3)
    assert first + await accounts.list(limit=3, after=first[-1].id) == made
    assert await accounts.first_owner() == owner
