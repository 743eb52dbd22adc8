"""What changes leave in the audit log, and how it is read."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from areabox.app import App
from areabox.gateway import changes
from areabox.gateway.http import routes
from areabox.users.accounts import Account
from areabox.users.policy import PUBLIC
from tests.gateway.conftest import HELLO, Connect
from tests.support import FakeClock

YAML = {"Content-Type": "application/yaml"}


async def last(owner: httpx2.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await owner.get("/api/v1/audit?limit=1")).json()["items"][0]
    return found


def test_every_route_that_changes_something_is_recorded_in_one_place() -> None:
    silent = {route.name for route in routes() if route.method != "GET" and route.permission != PUBLIC and not changes.verb(route)}
    assert silent == {"acts_theme", "acts_notices_seen", "notices_see"}, "nobody asks who saw a notice"
    verbs = {changes.verb(route) for route in routes() if changes.verb(route)}
    assert all(verb.replace("_", "").replace(".", "").replace("2", "").isalpha() for verb in verbs)


async def test_who_what_when_and_from_where(owner: httpx2.AsyncClient, hello: dict[str, Any], app: App, clock: FakeClock) -> None:
    answer = await owner.post("/api/v1/areas/hello/disable", headers={"X-Request-ID": "my-request.7"})
    entry = await last(owner)
    token = (await owner.get("/api/v1/tokens?user=owner@example.org")).json()["items"][0]["id"]
    assert (entry["actor"], entry["address"], entry["verb"], entry["object"]) == ("owner@example.org", "198.51.100.7", "area.disable", "hello")
    assert entry["at"] == "2026-01-01T00:00:00.000Z"
    assert entry["detail"]["changes"]["enabled"] == [True, False]
    assert {name: entry["detail"][name] for name in ("via", "token", "request")} == {"via": "token", "token": token, "request": "my-request.7"}
    assert answer.headers["x-request-id"] == "my-request.7"


async def test_the_difference_of_a_document_is_told(owner: httpx2.AsyncClient, hello: dict[str, Any]) -> None:
    await owner.put("/api/v1/areas/hello", content=HELLO.replace("name: Hello", "name: Good morning"), headers=YAML)
    assert (await last(owner))["detail"]["changes"] == {"name": ["Hello", "Good morning"]}
    await owner.patch("/api/v1/areas/hello", json={"tags": ["a", "b"]})
    assert (await last(owner))["detail"]["changes"] == {"tags": [None, ["a", "b"]]}
    await owner.delete("/api/v1/areas/hello")
    gone = (await last(owner))["detail"]["changes"]
    assert gone["name"] == ["Good morning", None]


async def test_the_difference_of_an_account_is_told_without_its_password(owner: httpx2.AsyncClient) -> None:
    await owner.patch("/api/v1/users/editor@example.org", json={"role": "viewer", "password": "a new good password"})
    entry = await last(owner)
    assert entry["detail"]["changes"] == {"role": ["editor", "viewer"]}
    assert "good password" not in str(entry)


async def test_no_secret_stands_in_the_log(owner: httpx2.AsyncClient, app: App) -> None:
    secret = "canary-4711-secret"
    made = await owner.post("/api/v1/connections", json={"service": "ntfy", "name": "n", "auth": "token", "values": {"token": secret}, "test": False})
    if made.status_code == 201:
        await owner.patch(f"/api/v1/connections/{made.json()['id']}", json={"values": {"token": secret + "2"}})
    text = (await owner.post("/api/v1/tokens", json={"name": "script"})).json()["token"]
    signed = {"area": "signed", "name": "Signed", "when": [{"webhook.received": {"verify": "hmac", "secret": secret}}], "then": [{"return": 1}]}
    assert (await owner.put("/api/v1/areas/signed", json=signed)).status_code == 201
    await owner.patch("/api/v1/areas/signed", json={"name": "Signed anew"})
    rows = [tuple(row) for row in await app.backend.read("select * from audit")]
    assert len(rows) >= 3
    assert secret not in str(rows)
    assert text not in str(rows)


async def test_what_was_not_allowed_is_recorded(owner: httpx2.AsyncClient, connect: Connect, tokens: dict[str, str]) -> None:
    viewer = connect(tokens["viewer"])
    assert (await viewer.post("/api/v1/areas", content=HELLO, headers=YAML)).status_code == 403
    entry = await last(owner)
    assert (entry["actor"], entry["verb"], entry["detail"]["refused"]) == ("viewer@example.org", "area.create", True)


async def test_refusals_do_not_fill_the_log(owner: httpx2.AsyncClient, connect: Connect, tokens: dict[str, str], clock: FakeClock) -> None:
    """Whoever may do nothing must not push out what others did."""
    viewer = connect(tokens["viewer"])
    for _ in range(50):
        assert (await viewer.post("/api/v1/areas", content=HELLO, headers=YAML)).status_code == 403
    assert len((await owner.get("/api/v1/audit?limit=100")).json()["items"]) == 20
    clock.advance(45_000)
    for _ in range(5):
        await viewer.post("/api/v1/areas", content=HELLO, headers=YAML)
    assert len((await owner.get("/api/v1/audit?limit=100")).json()["items"]) == 21


async def test_what_failed_or_was_read_is_not_recorded(owner: httpx2.AsyncClient) -> None:
    await owner.get("/api/v1/areas")
    assert (await owner.delete("/api/v1/areas/nothing")).status_code == 404
    assert (await owner.put("/api/v1/areas/hello", json={"area": "hello"})).status_code == 422
    assert (await owner.get("/api/v1/audit")).json()["items"] == []


async def test_a_request_that_comes_twice_is_recorded_once(owner: httpx2.AsyncClient) -> None:
    for _ in range(2):
        await owner.post("/api/v1/users", json={"email": "n@example.org", "role": "viewer"}, headers={"Idempotency-Key": "k"})
    assert len((await owner.get("/api/v1/audit")).json()["items"]) == 1


@pytest.mark.parametrize(
    ("query", "objects"),
    [
        ("verb=user", ["viewer@example.org", "editor@example.org"]),
        ("verb=area.create", ["hello"]),
        ("actor=Owner@example.org&object=hello", ["hello"]),
        ("q=EDITOR", ["editor@example.org"]),
        ("address=192.0.2.1", []),
        ("since=1h", ["viewer@example.org", "editor@example.org"]),
        ("until=2026-01-01T00:30:00Z", ["hello"]),
        ("limit=1", ["viewer@example.org"]),
    ],
)
async def test_the_log_can_be_searched(query: str, objects: list[str], owner: httpx2.AsyncClient, hello: Any, clock: FakeClock) -> None:
    clock.advance(7_200_000)
    for role in ("editor", "viewer"):
        await owner.patch(f"/api/v1/users/{role}@example.org", json={"disabled": True})
    found = (await owner.get(f"/api/v1/audit?{query}")).json()
    assert [entry["object"] for entry in found["items"]] == objects


async def test_pages_of_the_log_follow_each_other(owner: httpx2.AsyncClient) -> None:
    for n in range(5):
        await owner.post("/api/v1/users", json={"email": f"n{n}@example.org", "role": "viewer"})
    seen, after = [], ""
    while after is not None:
        found = (await owner.get(f"/api/v1/audit?limit=2&after={after}")).json()
        seen += [entry["seq"] for entry in found["items"]]
        after = found["next"]
    assert seen == [5, 4, 3, 2, 1]


async def test_a_time_that_is_none_is_refused(owner: httpx2.AsyncClient) -> None:
    answer = await owner.get("/api/v1/audit?since=yesterday")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "?/since")


async def test_the_export_is_json_lines_and_stands_in_the_log(owner: httpx2.AsyncClient, hello: Any) -> None:
    answer = await owner.get("/api/v1/audit/export?verb=area")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line)["object"] for line in answer.text.splitlines()] == ["hello"]
    assert (await last(owner))["verb"] == "audit.export"


async def test_only_administrators_read_it(connect: Connect, tokens: dict[str, str], accounts: dict[str, Account]) -> None:
    for role in ("viewer", "editor", "admin"):
        for path in ("", "/check", "/export"):
            assert (await connect(tokens[role]).get(f"/api/v1/audit{path}")).status_code == (200 if role == "admin" else 403)


async def test_a_changed_log_is_told(owner: httpx2.AsyncClient, hello: Any, app: App) -> None:
    from tests.users.test_audit import unguarded

    await unguarded(app.backend, "update audit set actor = 'somebody' where seq = 1")
    check = (await owner.get("/api/v1/audit/check")).json()
    assert (check["ok"], check["because"]) == (False, "entry 1 was changed")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": [2, 3]}),
        ({"a": {"b": [1]}}, {"a": {"b": [1, 2]}}, {"a.b": [[1], [1, 2]]}),
        ({"steps": [{"x": 1}, {"y": 2}]}, {"steps": [{"x": 1}]}, {"steps.1.y": [2, None]}),
        ({"version": 1, "updated": "x"}, {"version": 2, "updated": "y"}, {}),
        ({"password": "a", "token": "b", "client_secret": "c"}, {}, {}),
        (None, {"name": "x" * 300}, {"name": [None, "x" * 199 + "…"]}),
        (None, None, {}),
        ({"tags": [1] * 500}, {"tags": []}, {"tags": ["[" + "1," * 99 + "…", []]}),
        ({"then": [{"http.request": {"headers": {"x": "y"}}}]}, {"then": []}, {"then.0.http.request.headers.x": ["…", None], "then": [None, "…"]}),
        ({"values": {"site": "https://a:b@example.org"}}, {"values": {"site": "c"}}, {"values.site": ["…", "…"]}),
    ],
)
def test_a_difference_is_flat_short_and_without_secrets(before: Any, after: Any, told: dict[str, Any]) -> None:
    assert changes.difference(before, after) == told
