"""The first account."""

from __future__ import annotations

from pathlib import Path

import pytest

from areabox.errors import ConflictError, InputError, NotAllowedError
from areabox.users.accounts import Accounts
from areabox.users.setup import Setup
from tests.support import FakeClock

PASSWORD = "correct horse battery"


@pytest.fixture
def setup(accounts: Accounts, clock: FakeClock, tmp_path: Path) -> Setup:
    return Setup(accounts, clock, tmp_path)


async def test_the_token_lies_in_a_file_that_only_its_owner_reads(setup: Setup, tmp_path: Path) -> None:
    token = await setup.issue()
    file = tmp_path / "setup-token"
    assert file.read_text() == f"{token}\n"
    assert file.stat().st_mode & 0o777 == 0o600


async def test_it_makes_one_owner_and_is_used_up(setup: Setup, tmp_path: Path) -> None:
    token = await setup.issue()
    assert token is not None
    account = await setup.create_owner(token, "owner@example.org", PASSWORD)
    assert account.role == "owner"
    assert not (tmp_path / "setup-token").exists()
    with pytest.raises(NotAllowedError):
        await setup.create_owner(token, "second@example.org", PASSWORD)
    assert await setup.issue() is None


async def test_a_wrong_token_makes_nobody(setup: Setup, accounts: Accounts) -> None:
    await setup.issue()
    for wrong in ("", "0" * 32):
        with pytest.raises(NotAllowedError):
            await setup.create_owner(wrong, "owner@example.org", PASSWORD)
    assert not await accounts.exist()


async def test_without_a_token_there_is_none_to_guess(setup: Setup) -> None:
    with pytest.raises(NotAllowedError):
        await setup.create_owner("", "owner@example.org", PASSWORD)


async def test_a_weak_password_leaves_the_token_good(setup: Setup) -> None:
    token = await setup.issue()
    assert token is not None
    with pytest.raises(InputError):
        await setup.create_owner(token, "owner@example.org", "short")
    await setup.create_owner(token, "owner@example.org", PASSWORD)


async def test_after_half_an_hour_another_token_is_needed(setup: Setup, clock: FakeClock) -> None:
    token = await setup.issue()
    assert token == await setup.issue()
    clock.advance(1_800_000)
    with pytest.raises(NotAllowedError):
        await setup.create_owner(token or "", "owner@example.org", PASSWORD)
    assert await setup.issue() != token


async def test_it_closes_when_the_first_account_was_made_elsewhere(setup: Setup, accounts: Accounts) -> None:
    token = await setup.issue()
    await accounts.create("owner@example.org", PASSWORD, "owner")
    with pytest.raises(ConflictError):
        await setup.create_owner(token or "", "second@example.org", PASSWORD)
    assert await setup.issue() is None
