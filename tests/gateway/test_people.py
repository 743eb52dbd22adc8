"""Accounts by the API: invitations, profiles, shares, service accounts, tokens that are replaced, leaving."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from areabox.app import App
from tests.gateway.conftest import HELLO, PASSWORD, Connect

YAML = {"Content-Type": "application/yaml"}


@pytest.fixture
def editor(connect: Connect, tokens: dict[str, str]) -> httpx2.AsyncClient:
    return connect(tokens["editor"])


# --- invitations ------------------------------------------------------------------------------------------------------


async def test_an_invitation_shows_its_link_once(owner: httpx2.AsyncClient, app: App) -> None:
    made = await owner.post("/api/v1/invitations", json={"role": "editor", "email": "new@example.org"})
    assert made.status_code == 201, made.text
    body = made.json()
    assert body["link"].startswith("http://127.0.0.1:8080/invite/")
    assert body["mailed"] is False
    [listed] = (await owner.get("/api/v1/invitations")).json()["items"]
    assert listed == {key: body[key] for key in listed}
    account = await app.people.links.join(body["link"].rpartition("/")[2], "", PASSWORD)
    assert (account.email, account.role) == ("new@example.org", "editor")


async def test_an_invitation_goes_out_by_mail(owner: httpx2.AsyncClient, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, str, str]] = []

    async def letter(to: str, subject: str, text: str) -> bool:
        sent.append((to, subject, text))
        return True

    object.__setattr__(app.people, "letter", letter)
    made = (await owner.post("/api/v1/invitations", json={"role": "viewer", "email": "new@example.org"})).json()
    assert made["mailed"] is True
    [(to, _, text)] = sent
    assert to == "new@example.org"
    assert made["link"] in text


async def test_an_admin_invites_everybody_but_owners(connect: Connect, tokens: dict[str, str]) -> None:
    admin = connect(tokens["admin"])
    assert (await admin.post("/api/v1/invitations", json={"role": "owner"})).status_code == 403
    assert (await admin.post("/api/v1/invitations", json={"role": "king"})).status_code == 422
    assert (await admin.post("/api/v1/invitations", json={"role": "viewer", "expires": "1 year"})).status_code == 422
    made = (await admin.post("/api/v1/invitations", json={"role": "admin", "expires": "1h"})).json()
    assert (await admin.delete(f"/api/v1/invitations/{made['id']}")).status_code == 204
    assert (await admin.delete(f"/api/v1/invitations/{made['id']}")).status_code == 404


# --- me ---------------------------------------------------------------------------------------------------------------


async def test_a_profile_is_mine(editor: httpx2.AsyncClient) -> None:
    body = {"name": "Ann", "timezone": "Europe/Paris"}
    assert (await editor.patch("/api/v1/me", json=body)).status_code == 200
    me = (await editor.patch("/api/v1/me", json={"language": "de"})).json()
    assert (me["name"], me["timezone"], me["language"]) == ("Ann", "Europe/Paris", "de")
    for wrong in ({"timezone": "../etc/passwd"}, {"language": "<b>"}, {"name": "x" * 81}, {"role": "owner"}):
        assert (await editor.patch("/api/v1/me", json=wrong)).status_code == 422, wrong


async def test_whoever_leaves_takes_everything_along_but_secrets(
    connect: Connect, app: App, accounts: Any, tokens: dict[str, str], running: App, editor: httpx2.AsyncClient
) -> None:
    await app.accounts.set_password(accounts["editor"], PASSWORD)
    await editor.post("/api/v1/areas", content=HELLO, headers=YAML)
    connection = {"service": "ntfy", "values": {"url": "https://ntfy.example.org", "token": "tk_hidden"}, "test": False}
    made = await editor.post("/api/v1/connections", json=connection)
    assert made.status_code == 201, made.text
    answer = await editor.get("/api/v1/me/export")
    assert "attachment" in answer.headers["content-disposition"]
    assert "tk_hidden" not in answer.text
    kept = answer.json()
    assert [area["area"] for area in kept["areas"]] == ["hello"]
    assert [made["service"] for made in kept["connections"]] == ["ntfy"]
    leave = {"password": PASSWORD, "everything": True}
    assert (await editor.post("/api/v1/me/delete", json=leave)).status_code == 403, "a token does not remove its account"
    browser = connect(Origin="http://localhost")
    await browser.post("/login", data={"email": "editor@example.org", "password": PASSWORD})
    assert (await browser.post("/api/v1/me/delete", json={"password": "wrong"})).status_code == 403
    assert (await browser.post("/api/v1/me/delete", json={"password": PASSWORD})).status_code == 409
    gone = await browser.post("/api/v1/me/delete", json=leave)
    assert gone.status_code == 204, gone.text
    assert (await editor.get("/api/v1/me")).status_code == 401
    assert await app.backend.read("select 1 from area union all select 1 from connection") == []


async def test_the_last_owner_does_not_leave(connect: Connect, app: App, accounts: Any, hello: Any) -> None:
    browser = connect(Origin="http://localhost")
    await browser.post("/login", data={"email": "owner@example.org", "password": PASSWORD})
    answer = await browser.post("/api/v1/me/delete", json={"password": PASSWORD, "everything": True})
    assert answer.status_code == 409
    assert (await browser.get("/api/v1/areas/hello")).status_code == 200


# --- sharing ----------------------------------------------------------------------------------------------------------


async def share(client: httpx2.AsyncClient, level: str, kind: str = "area", name: str = "hello") -> httpx2.Response:
    body = {"kind": kind, "name": name, "account": "editor@example.org", "level": level}
    return await client.post("/api/v1/shares", json=body)


async def test_a_shared_area_is_there_as_far_as_it_is_shared(
    running: App, owner: httpx2.AsyncClient, editor: httpx2.AsyncClient, hello: Any
) -> None:
    run = (await owner.post("/api/v1/areas/hello/runs?wait=10", json={})).json()["id"]
    see = [("GET", "/areas/hello"), ("GET", "/areas/hello/versions"), ("GET", f"/runs/{run}"), ("GET", "/runs?area=hello")]
    act = [("POST", "/areas/hello/runs"), ("POST", f"/runs/{run}/retry")]
    edit = [("POST", "/areas/hello/disable"), ("POST", "/areas/hello/enable"), ("PATCH", "/areas/hello")]
    for level, allowed in (("", []), ("see", see), ("run", see + act), ("edit", see + act + edit)):
        if level:
            assert (await share(owner, level)).status_code == 201
        for method, path in see + act + edit:
            answer = await editor.request(method, f"/api/v1{path}", json={} if method != "GET" else None)
            fits = (method, path) in allowed
            assert (answer.status_code < 300) == fits, (level, method, path, answer.text)
            assert fits or answer.status_code == 404
        assert (await editor.delete("/api/v1/areas/hello")).status_code == 404
    assert (await editor.get("/api/v1/runs")).json()["items"] == []
    assert (await editor.get("/areas/hello", headers={"Accept": "text/html"})).status_code == 200
    changed = await editor.patch("/api/v1/areas/hello", json={"name": "Theirs"})
    assert (await owner.get("/api/v1/areas/hello")).json()["name"] == "Theirs"
    assert changed.json()["subscriptions"][0]["url"] == "", "its address would let anybody start it"
    assert (await editor.get("/api/v1/me")).json()["email"] == "editor@example.org"


async def test_a_share_ends_at_once(running: App, owner: httpx2.AsyncClient, editor: httpx2.AsyncClient, hello: Any) -> None:
    made = (await share(owner, "edit")).json()
    assert (await editor.get("/api/v1/areas/hello")).status_code == 200
    [theirs] = (await editor.get("/api/v1/shares")).json()["items"]
    assert theirs == {**made, "mine": False}
    assert (await owner.delete(f"/api/v1/shares/{made['id']}")).status_code == 204
    assert (await editor.get("/api/v1/areas/hello")).status_code == 404


async def test_a_viewer_gets_no_more_by_a_share_than_its_role(
    running: App, owner: httpx2.AsyncClient, connect: Connect, tokens: dict[str, str], hello: Any
) -> None:
    body = {"kind": "area", "name": "hello", "account": "viewer@example.org", "level": "edit"}
    assert (await owner.post("/api/v1/shares", json=body)).status_code == 201
    viewer = connect(tokens["viewer"])
    assert (await viewer.get("/api/v1/areas/hello")).status_code == 200
    assert (await viewer.post("/api/v1/areas/hello/runs", json={})).status_code == 403


async def test_a_shared_connection_is_used_without_being_seen(
    running: App, owner: httpx2.AsyncClient, editor: httpx2.AsyncClient, accounts: Any
) -> None:
    connection = {"service": "ntfy", "name": "pager", "values": {"url": "https://ntfy.example.org"}, "test": False}
    made = (await owner.post("/api/v1/connections", json=connection)).json()
    area = {"area": "page", "when": [{"webhook.received": {}}], "then": [{"ntfy.publish": {"topic": "a", "message": "b"}, "connection": "pager"}]}
    assert (await share(owner, "use", "connection", "pager")).status_code == 201
    resolve = running.connections.resolve
    mine, owners = accounts["editor"].id, accounts["owner"].id
    assert await resolve(mine, "ntfy", "pager") == await resolve(mine, "ntfy", None) == made["id"]
    assert await running.connections.usable(mine, made["id"])
    for path in (f"/api/v1/connections/{made['id']}", "/api/v1/connections/pager"):
        assert (await editor.get(path)).status_code == 404
        assert (await editor.patch(path, json={"values": {"url": "https://evil.example"}})).status_code == 404
    assert (await editor.get("/api/v1/connections")).json()["items"] == []
    assert (await editor.post("/api/v1/areas", json=area)).status_code == 201
    [entry] = (await editor.get("/api/v1/shares")).json()["items"]
    assert (entry["kind"], entry["name"], entry["level"]) == ("connection", "pager", "use")
    assert (await editor.delete(f"/api/v1/shares/{entry['id']}")).status_code == 204
    assert not await running.connections.usable(mine, made["id"])
    assert await resolve(owners, "ntfy", None) == made["id"]


# --- programs ---------------------------------------------------------------------------------------------------------


async def test_a_service_account_has_tokens_and_no_password(owner: httpx2.AsyncClient, connect: Connect) -> None:
    robot = {"email": "robot@example.org", "role": "editor", "service": True, "name": "Backup"}
    assert (await owner.post("/api/v1/users", json=robot | {"password": PASSWORD})).status_code == 422
    made = (await owner.post("/api/v1/users", json=robot)).json()
    assert (made["kind"], made["name"]) == ("service", "Backup")
    assert (await owner.patch(f"/api/v1/users/{made['id']}", json={"password": PASSWORD})).status_code == 409
    token = await owner.post("/api/v1/tokens", json={"name": "nightly", "user": "robot@example.org", "scopes": ["areas:read"]})
    assert token.status_code == 201, token.text
    client = connect(token.json()["token"])
    assert (await client.get("/api/v1/areas")).status_code == 200
    assert (await client.get("/api/v1/me")).json()["email"] == "robot@example.org"


async def test_nobody_gets_more_rights_by_a_service_account(
    owner: httpx2.AsyncClient, connect: Connect, tokens: dict[str, str]
) -> None:
    await owner.post("/api/v1/users", json={"email": "root@example.org", "role": "owner", "service": True})
    admin, editor = connect(tokens["admin"]), connect(tokens["editor"])
    for client in (admin, editor):
        answer = await client.post("/api/v1/tokens", json={"name": "x", "user": "root@example.org"})
        assert answer.status_code == 403
    theirs = await admin.post("/api/v1/tokens", json={"name": "x", "user": "editor@example.org"})
    assert theirs.status_code == 403, "tokens for people are made by themselves"


async def test_a_token_is_replaced_by_another_with_the_same_rights(
    owner: httpx2.AsyncClient, connect: Connect, clock: Any, tokens: dict[str, str]
) -> None:
    old = (await owner.post("/api/v1/tokens", json={"name": "ci", "scopes": ["runs:read"], "expires": "90d"})).json()
    new = await owner.post(f"/api/v1/tokens/{old['id']}/rotate", json={"overlap": "1h"})
    assert new.status_code == 201, new.text
    made = new.json()
    assert {key: made[key] for key in ("name", "scopes", "expires")} == {key: old[key] for key in ("name", "scopes", "expires")}
    both = connect(old["token"]), connect(made["token"])
    assert [(await client.get("/api/v1/runs")).status_code for client in both] == [200, 200]
    clock.advance(3_600_000)
    assert [(await client.get("/api/v1/runs")).status_code for client in both] == [401, 200]
    for role in ("admin", "viewer"):
        stolen = await connect(tokens[role]).post(f"/api/v1/tokens/{made['id']}/rotate", json={})
        assert stolen.status_code == 404, role
    assert (await owner.post(f"/api/v1/tokens/{made['id']}/rotate", json={"overlap": "30d"})).status_code == 422


async def test_a_token_that_may_do_less_does_not_take_the_account_along(
    owner: httpx2.AsyncClient, connect: Connect
) -> None:
    made = (await owner.post("/api/v1/tokens", json={"name": "bell", "scopes": ["notices:read"]})).json()
    assert (await connect(made["token"]).get("/api/v1/me/export")).status_code == 403
    assert (await owner.get("/api/v1/me/export")).status_code == 200


async def test_invitations_end_with_the_right_to_invite(
    owner: httpx2.AsyncClient, connect: Connect, tokens: dict[str, str], accounts: Any
) -> None:
    made = (await connect(tokens["admin"]).post("/api/v1/invitations", json={"role": "admin"})).json()
    link = made["link"].partition("8080")[2]
    assert (await connect().get(link)).status_code == 200
    assert (await owner.patch(f"/api/v1/users/{accounts['admin'].id}", json={"role": "viewer"})).status_code == 200
    assert (await connect().get(link)).status_code == 404


async def test_what_everybody_may_do_all_day_does_not_fill_the_audit_log(
    owner: httpx2.AsyncClient, app: App
) -> None:
    before = len(await app.audit.list(limit=100))
    await owner.post("/theme", data={"theme": "dark"})
    await owner.post("/notices/seen", data={"ids": ""})
    assert len(await app.audit.list(limit=100)) == before
