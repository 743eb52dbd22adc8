"""Tokens: how programs come in."""

from __future__ import annotations

import re

import pytest

from areabox.database import Backend
from areabox.errors import InputError, NotFoundError
from areabox.users.accounts import Account, Accounts
from areabox.users.tokens import Tokens
from tests.support import FakeClock


@pytest.fixture
def tokens(backend: Backend, clock: FakeClock) -> Tokens:
    return Tokens(backend, clock)


async def test_a_token_has_the_form_that_scanners_know(tokens: Tokens, owner: Account) -> None:
    token, text = await tokens.create(owner.id, owner.email, "script", ["all"])
    assert re.fullmatch(r"abx_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}[0-9A-Za-z]{6}", text)
    assert text[4:12] == token.id


async def test_it_stands_for_its_account_with_its_scopes(tokens: Tokens, owner: Account) -> None:
    _, text = await tokens.create(owner.id, owner.email, "script", ["runs:read", "areas:read"])
    found = await tokens.find(text)
    assert found is not None
    assert found.actor().account_id == owner.id
    assert found.actor().permissions == {"areas:read", "runs:read", "events:read", "me:read", "services:read"}


async def test_only_its_hash_is_stored(tokens: Tokens, owner: Account, backend: Backend) -> None:
    _, text = await tokens.create(owner.id, owner.email, "script", ["all"])
    [row] = await backend.read("select * from token")
    assert not any(text[13:40] in str(column) for column in tuple(row))


async def test_every_changed_character_makes_it_wrong(tokens: Tokens, owner: Account) -> None:
    _, text = await tokens.create(owner.id, owner.email, "script", ["all"])
    for place in range(len(text)):
        other = "x" if text[place] != "x" else "y"
        assert await tokens.find(text[:place] + other + text[place + 1 :]) is None
    for wrong in ("", "abx_", text + "0", text[:-1], f" {text}"):
        assert await tokens.find(wrong) is None


async def test_it_ends_when_it_says(tokens: Tokens, owner: Account, clock: FakeClock) -> None:
    _, text = await tokens.create(owner.id, owner.email, "script", ["all"], expires=clock.now_ms() + 1_000)
    clock.advance(999)
    assert await tokens.find(text) is not None
    clock.advance(1)
    assert await tokens.find(text) is None
    with pytest.raises(InputError, match="expired already"):
        await tokens.create(owner.id, owner.email, "script", ["all"], expires=clock.now_ms())


async def test_it_is_dead_while_its_account_is_disabled(tokens: Tokens, owner: Account, accounts: Accounts) -> None:
    editor = await accounts.create("editor@example.org", None, "editor")
    _, text = await tokens.create(editor.id, editor.email, "script", ["all"])
    await accounts.disable(editor)
    assert await tokens.find(text) is None


async def test_a_role_that_changes_changes_what_the_token_may(
    tokens: Tokens, owner: Account, accounts: Accounts
) -> None:
    editor = await accounts.create("editor@example.org", None, "editor")
    _, text = await tokens.create(editor.id, editor.email, "script", ["all"])
    await accounts.set_role(editor, "viewer")
    found = await tokens.find(text)
    assert found is not None
    assert not found.actor().allows("areas:write")


async def test_use_is_noted_but_not_at_every_request(tokens: Tokens, owner: Account, clock: FakeClock) -> None:
    _, text = await tokens.create(owner.id, owner.email, "script", ["all"])
    await tokens.find(text)
    clock.advance(1_000)
    await tokens.find(text)
    [token] = await tokens.list(owner.id)
    assert token.used == clock.start


async def test_a_token_is_revoked_by_its_account_only(tokens: Tokens, owner: Account, accounts: Accounts) -> None:
    token, text = await tokens.create(owner.id, owner.email, "script", ["all"])
    other = await accounts.create("other@example.org", None, "admin")
    with pytest.raises(NotFoundError):
        await tokens.delete(other.id, token.id)
    await tokens.delete(owner.id, token.id)
    assert await tokens.find(text) is None
    with pytest.raises(NotFoundError):
        await tokens.delete(None, token.id)


async def test_a_token_needs_a_name_and_known_scopes(tokens: Tokens, owner: Account) -> None:
    with pytest.raises(InputError, match="needs a name"):
        await tokens.create(owner.id, owner.email, "  ", ["all"])
    with pytest.raises(InputError, match="there is no scope"):
        await tokens.create(owner.id, owner.email, "script", ["everything"])
