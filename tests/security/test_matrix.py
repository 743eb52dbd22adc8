"""Who may do what to whom: every route of the tables, every role, what is one's own and what is another's.

The cases come from the tables, with real ids in the addresses: a new route is in the matrix the moment it exists.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import httpx2
import pytest

from areabox.app import App
from areabox.gateway.http import routes
from areabox.gateway.routes import Route
from areabox.users.accounts import Account
from areabox.users.policy import BY_ROLE, PUBLIC, Actor
from tests.gateway.conftest import HELLO, ROLES, Connect
from tests.security.figures import figure

GUARDED = [route for route in routes() if route.permission != PUBLIC and route.path != "/api/v1/stream"]
WITH_IDS = [route for route in GUARDED if "{" in route.path]
SHARED = {"services", "users"}  # what is everybody's, or the administrators': no owner stands in its rows
MANAGED = ("/api/v1/system", "/api/v1/audit", "/admin/", "/api/v1/tokens/")
TRIED: Counter[str] = Counter()
MARK = "belongs-to-the-owner"
OWNED = HELLO.replace("area: hello", f"area: {MARK}").replace("name: Hello", f"name: {MARK}")


@pytest.fixture
async def things(running: App, owner: httpx2.AsyncClient, accounts: dict[str, Account]) -> dict[str, str]:
    """Return one thing of every kind that the owner has, by the word in an address that leads to it."""
    made = (await owner.post("/api/v1/areas", content=OWNED, headers={"Content-Type": "application/yaml"})).json()
    run = (await owner.post(f"/api/v1/areas/{MARK}/runs?wait=10", json={"trigger": {"json": MARK}})).json()
    hook = made["subscriptions"][0]["url"].rpartition("/hooks/")[2]
    event = (await owner.post(f"/hooks/{hook}", json={"a": MARK})).json()["event"]
    values = {"site": "http://127.0.0.1:9", "key": MARK}
    connection = (await owner.post("/api/v1/connections", json={"service": "http", "name": MARK, "auth": "token", "values": values, "test": False})).json()
    token = (await owner.get("/api/v1/tokens")).json()["items"][0]["id"]
    await running.outbox.message(accounts["owner"].id, MARK, MARK, "", "k")
    notice = (await owner.get("/api/v1/notices")).json()["items"][0]["id"]
    await running.sessions.start(accounts["owner"], MARK)
    session = (await owner.get("/api/v1/me/sessions")).json()["items"][0]["id"]
    return {"areas": MARK, "runs": run["id"], "events": event, "connections": connection["id"], "tokens": token,
            "notices": notice, "sessions": session, "users": accounts["owner"].id}  # fmt: skip


def address(route: Route, things: dict[str, str]) -> str:
    """Return a route's address with the owner's own thing in it, a step or a version where more is asked."""
    parts, kind, filled = route.path.split("/"), "", []
    for part in parts:
        if not part.startswith("{"):
            kind = part
            filled.append(part)
        elif part == "{number}":
            filled.append("1")
        else:
            filled.append(things.get(kind, "s1" if kind in ("steps", "asks") else MARK))
    return "/".join(filled)


def body_of(route: Route) -> dict[str, Any]:
    """Return arguments for the client: a document where one is taken, else an empty object."""
    if route.method == "GET":
        return {}
    if route.page:
        return {"data": {}}
    return {"json": {}}


async def footprint(app: App) -> list[tuple[Any, ...]]:
    """Return everything of the owner's that somebody else could change."""
    found = []
    for sql in (
        "select id, slug, head, enabled, updated from area", "select id, state, result, ended from run order by id", "select id, reason from event",
        "select id, name, config, state, version from connection", "select id, name, hash from token where name not like 'own%'", "select id, seen from notice",
        "select id, account from session", "select id, email, role, password, disabled from account", "select area, version from area_version",
    ):  # fmt: skip
        found += [tuple(row) for row in await app.backend.read(sql)]
    return found


@pytest.mark.parametrize("role", [*ROLES, "nobody"])
async def test_every_route_with_the_things_of_another(
    role: str, things: dict[str, str], connect: Connect, running: App, accounts: dict[str, Account]
) -> None:
    """As another account of this role: nothing of the owner's is seen or changed, and what a role lacks is refused first."""
    client = connect()
    if role != "nobody":
        other = await running.accounts.create(f"other-{role}@example.org", None, role)
        _, text = await running.tokens.create(other.id, other.email, f"own {role}", ["all"])
        client = connect(text)
    before = await footprint(running)
    for route in GUARDED:
        kind = next((part for part in route.path.split("/") if part in SHARED), "")
        if role in ("owner", "admin") and (kind == "users" or route.path.startswith(MANAGED)):
            continue  # administrators manage accounts, tokens and the machine, and read the audit log
        answer = await client.request(route.method, address(route, things), **body_of(route))
        TRIED[role] += 1
        allowed = role != "nobody" and route.permission in BY_ROLE[role]
        told = f"{role}: {route.method} {address(route, things)} → {answer.status_code} {answer.text[:200]}"
        assert answer.status_code < 500, told
        if not allowed:
            expected = (401, 303) if role == "nobody" else (403,)
            assert answer.status_code in expected or (route.page and answer.status_code in (303, 401, 403)), told
        elif "{" in route.path and kind not in SHARED:
            assert answer.status_code in (204, 400, 403, 404, 405, 409, 415, 422) if route.method == "DELETE" else answer.status_code >= 400, told
        if role != "nobody" and MARK in answer.text:
            assert answer.status_code >= 400, told
            assert MARK in address(route, things), told  # it may say that there is no such thing
    assert await footprint(running) == before
    if role == "nobody":
        figure("G15", f"{len(GUARDED)} routes × {len(TRIED)} roles, {sum(TRIED.values())} requests for what is another's: 0 seen, 0 changed")


@pytest.mark.parametrize("role", ROLES)
async def test_every_route_that_reads_with_ones_own_things(role: str, running: App, connect: Connect, accounts: dict[str, Account], tokens: dict[str, str]) -> None:
    """An account of this role that has an area reads all of it, and no more than its role allows."""
    account = accounts[role]
    await running.areas.apply(Actor(account.id, account.email, "owner"), [("own.yaml", OWNED)])
    run = await running.runs.start(Actor(account.id, account.email, "owner"), MARK, {"json": 1})
    await running.runs.wait(run, 5)
    client = connect(tokens[role])
    for route in GUARDED:
        if route.method != "GET" or not re.search(r"/(areas|runs)(/|$)", route.path):
            continue
        answer = await client.get(address(route, {"areas": MARK, "runs": run}))
        allowed = route.permission in BY_ROLE[role]
        assert answer.status_code == (200 if allowed else 403), (role, route.path, answer.text[:200])


def test_the_matrix_has_every_route() -> None:
    assert len(GUARDED) >= 50
    assert len(WITH_IDS) >= 25
    assert all(route.permission in BY_ROLE["owner"] for route in GUARDED)
