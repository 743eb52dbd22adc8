"""What is shared, how far, and what is not there for anybody else."""

from __future__ import annotations

import pytest

from areabox.database import Backend, Unit
from areabox.errors import ConflictError, InputError, NotFoundError
from areabox.users.accounts import Account, Accounts
from areabox.users.shares import Shares
from tests.support import FakeClock

_AREA = "insert into area (id, owner, slug, name, head, enabled, created, updated) values (?, ?, ?, '', 1, 1, 0, 0)"


@pytest.fixture
def shares(backend: Backend, clock: FakeClock) -> Shares:
    return Shares(backend, clock)


@pytest.fixture
async def editor(accounts: Accounts) -> Account:
    return await accounts.create("editor@example.org", None, "editor")


@pytest.fixture
async def door(backend: Backend, owner: Account) -> str:
    await backend.commit(Unit().do(_AREA, "a1", owner.id, "door"))
    return "door"


@pytest.mark.parametrize(
    ("level", "allowed"), [("see", {"see"}), ("run", {"see", "run"}), ("edit", {"see", "run", "edit"})]
)
async def test_a_level_allows_what_it_says_and_less(
    level: str, allowed: set[str], shares: Shares, owner: Account, editor: Account, door: str
) -> None:
    await shares.put(owner.actor(), "area", door, editor, level)
    for wanted in ("see", "run", "edit"):
        actor, slug = await shares.area(editor.actor(), "door", wanted)
        assert actor.owner == (owner.id if wanted in allowed else editor.id)
        assert (actor.account_id, actor.role, slug) == (editor.id, "editor", "door")
    by_id, slug = await shares.area(editor.actor(), "a1", "see")
    assert (by_id.owner, slug) == (owner.id, "door")


async def test_what_is_ones_own_goes_before_what_is_shared(
    shares: Shares, owner: Account, editor: Account, door: str, backend: Backend
) -> None:
    await shares.put(owner.actor(), "area", door, editor, "edit")
    await backend.commit(Unit().do(_AREA, "a2", editor.id, "door"))
    assert (await shares.area(editor.actor(), "door", "see"))[0].owner == editor.id
    assert (await shares.area(editor.actor(), "a1", "see"))[0].owner == owner.id


async def test_nobody_shares_what_is_not_theirs(
    shares: Shares, owner: Account, editor: Account, door: str, accounts: Accounts
) -> None:
    other = await accounts.create("other@example.org", None, "viewer")
    await shares.put(owner.actor(), "area", door, editor, "edit")
    for name in ("door", "a1", "nothing"):
        with pytest.raises(NotFoundError):
            await shares.put(editor.actor(), "area", name, other, "see")
    with pytest.raises(ConflictError):
        await shares.put(owner.actor(), "area", door, owner, "see")


@pytest.mark.parametrize(("kind", "level"), [("area", "use"), ("connection", "see"), ("run", "see"), ("area", "")])
async def test_only_levels_that_fit_are_taken(
    kind: str, level: str, shares: Shares, owner: Account, editor: Account, door: str
) -> None:
    with pytest.raises(InputError):
        await shares.put(owner.actor(), kind, door, editor, level)


async def test_a_share_is_changed_listed_and_ended_by_either_side(
    shares: Shares, owner: Account, editor: Account, door: str, accounts: Accounts
) -> None:
    first = await shares.put(owner.actor(), "area", door, editor, "see")
    second = await shares.put(owner.actor(), "area", door, editor, "run")
    assert (first.id, second.level) == (second.id, "run")
    assert await shares.list(owner.actor()) == await shares.list(editor.actor()) == [second]
    other = await accounts.create("other@example.org", None, "owner")
    assert await shares.list(other.actor()) == []
    with pytest.raises(NotFoundError):
        await shares.delete(other.actor(), second.id)
    await shares.delete(editor.actor(), second.id)
    assert await shares.list(owner.actor()) == []


async def test_a_share_goes_with_its_account_and_its_area(
    shares: Shares, owner: Account, editor: Account, door: str, accounts: Accounts, backend: Backend
) -> None:
    await shares.put(owner.actor(), "area", door, editor, "see")
    await backend.commit(Unit().do("delete from area"))
    assert await shares.list(editor.actor()) == []
    assert await shares.prune() == 1
    await backend.commit(Unit().do(_AREA, "a3", owner.id, "door"))
    await shares.put(owner.actor(), "area", door, editor, "see")
    await accounts.delete(editor)
    assert await backend.read("select * from share") == []


async def test_there_may_be_more_shares_than_a_list_shows(
    shares: Shares, backend: Backend, owner: Account, editor: Account, door: str
) -> None:
    for number in range(1_000):
        area = f"x{number:04}"
        await backend.commit(Unit().do(_AREA, area, owner.id, area).do(
            "insert into share (id, kind, object, account, level, created) values (?, 'area', ?, ?, 'see', 0)",
            f"0{number:04}", area, editor.id,
        ))  # fmt: skip
    made = await shares.put(owner.actor(), "area", door, editor, "run")
    assert (made.name, made.level, made.account) == ("door", "run", editor.email)
    assert (await shares.put(owner.actor(), "area", door, editor, "see")).id == made.id
    assert (await shares.delete(editor.actor(), made.id)).name == "door"
    with pytest.raises(NotFoundError):
        await shares.get(owner.actor(), made.id)
