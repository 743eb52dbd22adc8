"""Who may call what: every route, made from the tables, by every role, by nobody, for what belongs to others."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest
from litestar import Litestar, get

from areabox.app import App
from areabox.errors import ConfigurationError
from areabox.gateway.http import refuse_unguarded, routes
from areabox.gateway.routes import Route
from areabox.users.policy import BY_ROLE, PUBLIC
from tests.gateway.conftest import ROLES, Connect

API = [route for route in routes() if route.path.startswith("/api/v1")]
GUARDED = [route for route in routes() if route.permission != PUBLIC and not route.page]
PUBLIC_PATHS = {
    "/about.json", "/ready", "/login", "/login/2fa", "/logout", "/setup", "/static/{name}", "/favicon.ico", "/api/v1/schema/area.json",
    "/answer/{token}", "/answer/{token}/{number}", "/invite/{token}", "/register", "/reset", "/reset/{token}",
}  # fmt: skip


def filled(route: Route, value: str = "nothing") -> str:
    return re.sub(r"{\w+}", value, route.path)


def test_only_these_addresses_are_open_to_everybody() -> None:
    assert {route.path for route in routes() if route.permission == PUBLIC} == PUBLIC_PATHS


def test_every_route_has_a_name_of_its_own() -> None:
    names = [(route.method, route.name) for route in routes()]
    assert len(names) == len(set(names))
    assert len({route.name for route in API}) == len(API)


def test_a_route_without_a_permission_cannot_be_made() -> None:
    async def handle(ask: Any) -> None: ...

    with pytest.raises(ValueError, match="no permission that exists"):
        Route("GET", "/x", handle, "")


def test_a_handler_from_elsewhere_stops_the_start() -> None:
    @get("/backdoor")
    async def backdoor() -> str:
        return "open"

    app = Litestar([backdoor], openapi_config=None, logging_config=None)
    with pytest.raises(ConfigurationError, match="/backdoor does not say who may call it"):
        refuse_unguarded(app)


async def test_nobody_gets_in(connect: Connect, tokens: dict[str, str]) -> None:
    client = connect()
    for route in GUARDED:
        answer = await client.request(route.method, filled(route))
        assert answer.status_code == 401, route.name
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("role", ROLES)
async def test_every_role_gets_what_it_may_and_no_more(role: str, connect: Connect, tokens: dict[str, str]) -> None:
    client = connect(tokens[role])
    for route in GUARDED:
        if route.path == "/api/v1/stream":
            continue
        answer = await client.request(route.method, filled(route), json={} if route.method != "GET" else None)
        allowed = route.permission in BY_ROLE[role]
        assert (answer.status_code != 403) == allowed or "only an owner" in answer.text, (route.name, answer.text)
        assert answer.status_code < 500, (route.name, answer.text)


@pytest.mark.parametrize("role", ["owner", "admin", "editor", "viewer"])
async def test_what_belongs_to_others_is_not_there(
    role: str, connect: Connect, tokens: dict[str, str], running: App, hello: dict[str, Any], owner: httpx2.AsyncClient
) -> None:
    """The owner's area, run, event and notice, asked for by everybody."""
    run = (await owner.post("/api/v1/areas/hello/runs?wait=10", json={"trigger": {"json": 1}})).json()
    hook = hello["subscriptions"][0]["url"].rpartition("/hooks/")[2]
    event = (await owner.post(f"/hooks/{hook}", json={"a": 1})).json()["event"]
    client = connect(tokens[role])
    paths = (
        "/api/v1/areas/hello", "/api/v1/areas/hello/versions", "/api/v1/areas/hello/versions/1",
        f"/api/v1/runs/{run['id']}", f"/api/v1/events/{event}", "/areas/hello", f"/runs/{run['id']}",
    )  # fmt: skip
    for path in paths:
        answer = await client.get(path)
        assert answer.status_code == (200 if role == "owner" else 404), path
    for path in ("/api/v1/areas", "/api/v1/runs", "/api/v1/events"):
        items = (await client.get(path)).json()["items"]
        assert bool(items) == (role == "owner"), path
    if role == "admin":
        for path in (
            f"/api/v1/runs/{run['id']}/cancel",
            f"/api/v1/events/{event}/replay",
            "/api/v1/areas/hello/disable",
        ):
            assert (await client.post(path, json={})).status_code == 404, path
        assert (await client.delete("/api/v1/areas/hello")).status_code == 404


@pytest.mark.parametrize("token", ["", "abx_", "abx_12345678_" + "x" * 49, "Basic eDp5", "null"])
async def test_a_wrong_token_is_refused_even_on_this_machine(token: str, connect: Connect, accounts: Any) -> None:
    client = connect(address="127.0.0.1", Authorization=f"Bearer {token}")
    assert (await client.get("/api/v1/me")).status_code == 401
    assert (await client.get("/metrics")).status_code == 401


async def test_a_token_in_the_query_does_not_count(connect: Connect, tokens: dict[str, str]) -> None:
    assert (
        await connect().get(f"/api/v1/me?token={tokens['owner']}&access_token={tokens['owner']}")
    ).status_code == 401


async def test_a_narrow_token_gets_its_scope_only(connect: Connect, app: App, accounts: Any) -> None:
    account = accounts["owner"]
    _, text = await app.tokens.create(account.id, account.email, "narrow", ["areas:read"])
    client = connect(text)
    assert (await client.get("/api/v1/areas")).status_code == 200
    for path in (
        "/api/v1/runs",
        "/api/v1/events",
        "/api/v1/tokens",
        "/api/v1/users",
        "/metrics",
        "/api/v1/connections",
    ):
        assert (await client.get(path)).status_code == 403, path
    assert (await client.post("/api/v1/tokens", json={"name": "wider"})).status_code == 403


@pytest.mark.parametrize("path", ["/metrics", "/api/openapi.json", "/api/docs"])
async def test_metrics_and_docs_need_nobodys_name_on_this_machine_only(
    path: str, connect: Connect, tokens: Any
) -> None:
    assert (await connect(address="127.0.0.1").get(path)).status_code == 200
    assert (await connect(address="::1", host="[::1]").get(path)).status_code == 200
    assert (await connect().get(path)).status_code == 401
    assert (await connect(tokens["owner"]).get(path)).status_code == 200
    forwarded = connect(address="127.0.0.1", X_Forwarded_For="203.0.113.9")
    assert (await forwarded.get(path)).status_code == 401, "a proxy on this machine is not its owner"
    rebound = connect(address="127.0.0.1", host="rebound.example")
    assert (await rebound.get(path)).status_code == 421


async def test_whoever_may_open_the_data_directory_is_the_first_owner(here: httpx2.AsyncClient, accounts: Any) -> None:
    me = (await here.get("/api/v1/me")).json()
    assert (me["email"], me["via"]) == ("owner@example.org", "local")
    other = (await here.get("/api/v1/me", headers={"X-Areabox-As": "viewer@example.org"})).json()
    assert other["role"] == "viewer"
    assert (await here.get("/api/v1/me", headers={"X-Areabox-As": "x@example.org"})).status_code == 404


async def test_the_machines_owner_is_not_believed_from_outside(connect: Connect, accounts: Any) -> None:
    client = connect(X_Areabox_As="owner@example.org", address="127.0.0.1")
    assert (await client.get("/api/v1/me")).status_code == 401


async def test_before_there_is_an_account_only_that_can_be_made(here: httpx2.AsyncClient) -> None:
    refused = await here.get("/api/v1/areas")
    assert refused.status_code == 403
    assert "areabox user add" in refused.json()["detail"]
    weaker = await here.post("/api/v1/users", json={"email": "a@example.org", "role": "viewer", "password": None})
    assert weaker.status_code == 422
    made = await here.post(
        "/api/v1/users", json={"email": "a@example.org", "role": "owner", "password": "correct horse battery"}
    )
    assert made.status_code == 201
    assert (await here.get("/api/v1/areas")).status_code == 200
