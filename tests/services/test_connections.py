"""Whose accounts are there at services?"""

from __future__ import annotations

import sqlite3
from typing import Annotated, Any

import pytest

from areabox.database.sqlite import SqliteBackend
from areabox.errors import AuthExpired, ConflictError, InputError, NotFoundError, Permanent
from areabox.sdk import Basic, Connector, Context, Field, Fields, Key, Secret, Url
from areabox.services.catalogue import Catalogue
from areabox.services.connections import Connections
from areabox.services.vault import Vault
from tests.support import FakeClock

CANARY = "canary-5ecret"
VALUES = {"url": "https://gong.home.example.org", "token": CANARY}


@pytest.fixture
def catalogue() -> Catalogue:
    found = Catalogue.discover()
    gong = Connector(
        "gong", "gong", about="Push.", base=lambda auth: auth.url,
        auth=[
            Fields(url=Url, token=Annotated[Secret, Field("Token")], topic=(str, "home"), bearer="token"),
            Basic(url=Url),
        ],
    )  # fmt: skip

    @gong.test
    async def who(ctx: Context) -> str:
        return "ann"

    found.add(gong, source="test")
    found.add(Connector("git", "Git", base="https://api.example.org", auth=Key(header="X-Key", prefix="")), source="x")
    return found


async def test_secrets_go_in_and_never_come_out(connections: Connections, backend: SqliteBackend) -> None:
    made = await connections.create("ann", "gong", VALUES)
    assert made.name == "gong"
    assert made.config == {"url": "https://gong.home.example.org", "topic": "home"}
    assert made.secrets == ("token",)
    assert made.state == "new"
    assert CANARY not in repr(made)
    with sqlite3.connect(backend.path) as db:
        assert CANARY not in str(db.execute("select * from connection").fetchall())


async def test_an_account_opens_up_for_a_call_and_still_prints_nothing(connections: Connections) -> None:
    made = await connections.create("ann", "gong", VALUES)
    account = await connections.account(made.id)
    assert account.view.token == CANARY
    assert account.route.base == VALUES["url"]
    assert account.route.credentials is not None
    assert dict(account.route.credentials.headers) == {"Authorization": f"Bearer {CANARY}"}
    assert account.route.credentials.hosts == {"gong.home.example.org:443"}
    assert CANARY not in f"{account!r} {account.view!r}"
    assert connections.scrubber.text(f"Bearer {CANARY}") == "Bearer ***"


async def test_a_name_is_made_if_none_is_given_and_taken_ones_are_refused(connections: Connections) -> None:
    names = [(await connections.create("ann", "gong", VALUES)).name for _ in range(3)]
    assert names == ["gong", "gong-2", "gong-3"]
    await connections.create("bob", "gong", VALUES, name="gong")
    with pytest.raises(ConflictError, match="there is a connection gong already"):
        await connections.create("ann", "gong", VALUES, name="gong")
    with pytest.raises(InputError, match="1 to 64 characters"):
        await connections.create("ann", "gong", VALUES, name="a/b")


async def test_values_are_checked_like_every_form(connections: Connections) -> None:
    with pytest.raises(InputError) as failed:
        await connections.create("ann", "gong", {"url": "home", "tokn": "x"})
    assert {problem.pointer for problem in failed.value.problems} == {"/url", "/tokn", "/token"}
    with pytest.raises(InputError, match="no way in called oauth; there is fields, basic"):
        await connections.create("ann", "gong", VALUES, auth="oauth")
    with pytest.raises(InputError, match="store works without a connection"):
        await connections.create("ann", "store", {})
    with pytest.raises(NotFoundError, match="there is no service moon"):
        await connections.create("ann", "moon", {})


async def test_another_way_in_may_be_chosen(connections: Connections) -> None:
    values = {"url": "http://10.0.0.5:8080", "username": "ann", "password": CANARY}
    made = await connections.create("ann", "gong", values, auth="basic")
    account = await connections.account(made.id)
    assert account.route.credentials is not None
    assert account.route.credentials.hosts == {"10.0.0.5:8080"}
    assert dict(account.route.credentials.headers)["Authorization"].startswith("Basic ")
    assert account.scrubber.text("Basic YW5uOmNhbmFyeS01ZWNyZXQ=") == "Basic ***"


async def test_a_connection_belongs_to_its_owner(connections: Connections) -> None:
    made = await connections.create("ann", "gong", VALUES)
    assert await connections.list("bob") == []
    for forbidden in (connections.get("bob", made.id), connections.delete("bob", made.id)):
        with pytest.raises(NotFoundError):
            await forbidden
    assert (await connections.get("ann", made.name)).id == made.id


async def test_what_is_not_given_stays(connections: Connections) -> None:
    made = await connections.create("ann", "gong", VALUES)
    changed = await connections.update("ann", "gong", values={"topic": "alerts", "token": None}, rename="push")
    assert (changed.name, changed.config["topic"], changed.secrets) == ("push", "alerts", ("token",))
    assert changed.version == made.version + 1
    assert (await connections.account(made.id)).view.token == CANARY


async def test_a_change_of_what_was_changed_meanwhile_is_refused(connections: Connections) -> None:
    made = await connections.create("ann", "gong", VALUES)
    await connections.update("ann", "gong", rename="push", version=made.version)
    with pytest.raises(ConflictError, match="was changed since it was read"):
        await connections.update("ann", "push", rename="other", version=made.version)


async def test_a_new_address_asks_for_the_secrets_again(connections: Connections) -> None:
    await connections.create("ann", "gong", VALUES)
    with pytest.raises(InputError, match="the secrets must be given again"):
        await connections.update("ann", "gong", values={"url": "https://evil.example.org"})
    moved = {"url": "https://new.example.org", "token": "another-5ecret"}
    assert (await connections.update("ann", "gong", values=moved)).config["url"] == "https://new.example.org"


async def test_the_one_that_fits_is_found_and_else_the_others_are_named(connections: Connections) -> None:
    with pytest.raises(InputError, match="gong needs a connection; you have none for gong yet"):
        await connections.resolve("ann", "gong", None)
    first = await connections.create("ann", "gong", VALUES, name="home")
    assert await connections.resolve("ann", "gong", None) == first.id
    second = await connections.create("ann", "gong", VALUES, name="work")
    assert await connections.resolve("ann", "gong", "work") == second.id
    with pytest.raises(InputError, match="say which connection is meant: home, work"):
        await connections.resolve("ann", "gong", None)
    with pytest.raises(InputError, match="there is no connection shed for gong; there is home, work"):
        await connections.resolve("ann", "gong", "shed")
    await connections.delete("ann", "home")
    assert await connections.resolve("ann", "gong", None) == second.id


async def test_a_service_that_needs_none_goes_without(connections: Connections) -> None:
    assert await connections.resolve("ann", "http", None) is None


async def test_asking_again_costs_no_reading(connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await connections.create("ann", "gong", VALUES)
    first = await connections.account(made.id)
    await connections.resolve("ann", "gong", None)
    monkeypatch.setattr(connections._backend, "read", None)
    assert await connections.account(made.id) is first
    assert await connections.resolve("ann", "gong", None) == made.id


async def test_a_dead_connection_is_told_once_and_wakes_with_new_values(connections: Connections) -> None:
    told: list[tuple[str, str]] = []

    async def listener(id: str, state: str) -> None:
        told.append((id, state))

    connections.on_state.append(listener)
    made = await connections.create("ann", "gong", VALUES)
    await connections.dead(made.id, f"refused Bearer {CANARY}", version=1)
    await connections.account(made.id)
    await connections.dead(made.id, "refused again", version=1)
    dead = await connections.get("ann", "gong")
    assert dead.state == "dead"
    assert dead.error == "refused Bearer ***"
    assert (await connections.account(made.id)).dead is not None
    assert told == [(made.id, "dead")]
    await connections.update("ann", "gong", values={"token": "new-5ecret"})
    assert (await connections.account(made.id)).dead is None
    assert told[1:] == [(made.id, "new")]


async def test_a_refusal_of_the_old_secret_does_not_kill_the_new_one(connections: Connections) -> None:
    made = await connections.create("ann", "gong", VALUES)
    await connections.update("ann", "gong", values={"token": "new-5ecret"})
    await connections.dead(made.id, "401", version=made.version)
    assert (await connections.get("ann", "gong")).state == "new"


async def test_a_test_notes_the_accounts_name_or_why_it_does_not_work(connections: Connections, clock: FakeClock) -> None:
    outcome: list[Any] = ["ann@example.org", AuthExpired("the token was withdrawn"), "ann@example.org"]

    async def tester(account: Any) -> str:
        assert account.dead is None, "a test of a dead connection is a real one"
        found = outcome.pop(0)
        if isinstance(found, Exception):
            raise found
        return str(found)

    connections.tester = tester
    await connections.create("ann", "gong", VALUES)
    fine = await connections.test("ann", "gong")
    assert (fine.state, fine.account, fine.checked) == ("ok", "ann@example.org", clock.now)
    dead = await connections.test("ann", "gong")
    assert (dead.state, dead.error, dead.account) == ("dead", "the token was withdrawn", "ann@example.org")
    assert (await connections.test("ann", "gong")).state == "ok"


async def test_a_connection_that_is_gone_needs_a_person(connections: Connections) -> None:
    made = await connections.create("ann", "gong", VALUES)
    await connections.delete("ann", made.id)
    with pytest.raises(AuthExpired, match="was removed"):
        await connections.account(made.id)


async def test_without_its_connector_a_connection_is_kept_but_cannot_be_used(
    backend: SqliteBackend, clock: FakeClock, vault: Vault, connections: Connections
) -> None:
    made = await connections.create("ann", "gong", VALUES)
    bare = Connections(backend, clock, Catalogue(), vault)
    assert (await bare.get("ann", "gong")).id == made.id
    with pytest.raises(Permanent, match="is its connector still installed"):
        await bare.account(made.id)


async def test_only_a_trusted_owners_address_may_be_at_home(
    backend: SqliteBackend, clock: FakeClock, catalogue: Catalogue, vault: Vault
) -> None:
    async def trusts(owner: str) -> bool:
        return owner == "ann"

    connections = Connections(backend, clock, catalogue, vault, trusts=trusts)
    literal = {}
    for owner in ("ann", "bob"):
        made = await connections.create(owner, "gong", {**VALUES, "url": "http://192.168.1.20:8123"})
        literal[owner] = (await connections.account(made.id)).route.literal
    assert literal == {"ann": {"192.168.1.20"}, "bob": set()}


async def test_after_a_change_of_keys_everything_is_sealed_anew(
    backend: SqliteBackend, clock: FakeClock, catalogue: Catalogue, vault: Vault, connections: Connections
) -> None:
    made = await connections.create("ann", "gong", VALUES)
    await connections.create("bob", "git", {"key": CANARY})
    rotated = vault.rotated()
    again = Connections(backend, clock, catalogue, rotated)
    assert await again.reseal(1) == 1
    assert await again.reseal() == 1
    assert await again.reseal() == 0
    only_new = Connections(backend, clock, catalogue, rotated.without_old())
    assert (await only_new.account(made.id)).view.token == CANARY
