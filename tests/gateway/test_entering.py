"""Coming in by pages: a second factor, an invitation, an account of one's own, a forgotten password."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from areabox.app import App
from areabox.users import codes
from tests.gateway.conftest import PASSWORD, Connect
from tests.support import FakeClock

LOGIN = {"email": "owner@example.org", "password": PASSWORD}


@pytest.fixture
def mails(app: App) -> list[tuple[str, str]]:
    sent: list[tuple[str, str]] = []

    async def letter(to: str, subject: str, text: str) -> bool:
        sent.append((to, text))
        return True

    object.__setattr__(app.people, "letter", letter)
    return sent


def link_in(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("http")).partition("8080")[2]


async def enrol(app: App, account: Any, clock: FakeClock) -> tuple[bytes, list[str]]:
    secret = await app.people.factors.begin(account.id)
    texts = await app.people.factors.confirm(account.id, codes.code(secret, clock.now_ms() // codes.STEP_MS))
    clock.advance(60_000)
    return secret, texts


async def test_a_password_alone_does_not_enter_an_account_with_a_second_factor(
    connect: Connect, app: App, accounts: Any, clock: FakeClock
) -> None:
    secret, texts = await enrol(app, accounts["owner"], clock)
    for good in (codes.code(secret, clock.now_ms() // codes.STEP_MS), texts[0]):
        client = connect()
        answer = await client.post("/login", params={"next": "/areas"}, data=LOGIN)
        assert answer.headers["location"] == "/login/2fa"
        assert "areabox=" not in answer.headers["set-cookie"]
        assert (await client.get("/api/v1/me")).status_code == 401
        wrong = await client.post("/login/2fa", data={"code": "000000"})
        assert wrong.status_code == 422
        assert "the code is wrong" in wrong.text
        done = await client.post("/login/2fa", data={"code": good})
        assert (done.status_code, done.headers["location"]) == (303, "/areas")
        assert (await client.get("/api/v1/me")).status_code == 200
        again = connect()
        await again.post("/login", data=LOGIN)
        assert (await again.post("/login/2fa", data={"code": good})).status_code == 422, "each code is taken once"


async def test_after_five_wrong_codes_the_password_is_asked_for_again(
    connect: Connect, app: App, accounts: Any, clock: FakeClock
) -> None:
    await enrol(app, accounts["owner"], clock)
    client = connect()
    await client.post("/login", data=LOGIN)
    for _ in range(5):
        assert (await client.post("/login/2fa", data={"code": "000000"})).status_code == 422
    assert (await client.get("/login/2fa")).headers["location"] == "/login"


async def test_without_the_password_nobody_is_asked_for_a_code(connect: Connect, accounts: Any) -> None:
    client = connect()
    assert (await client.get("/login/2fa")).headers["location"] == "/login"
    assert (await client.post("/login/2fa", data={"code": "123456"})).headers["location"] == "/login"


async def test_the_machines_owner_removes_a_lost_second_factor(
    connect: Connect, app: App, accounts: Any, here: Any, clock: FakeClock
) -> None:
    assert (await here.post("/api/v1/users/owner@example.org/reset-2fa")).status_code == 409
    await enrol(app, accounts["owner"], clock)
    assert (await here.post("/api/v1/users/owner@example.org/reset-2fa")).status_code == 200
    assert (await connect().post("/login", data=LOGIN)).headers["location"] == "/"


async def test_a_new_browser_is_told_to_its_owner(connect: Connect, app: App, accounts: Any) -> None:
    for agent in ("Firefox/1", "Firefox/2", "curl/8"):
        await connect(User_Agent=agent).post("/login", data=LOGIN)
    [notice] = await app.outbox.list(accounts["owner"].id)
    assert notice["kind"] == "new_device"
    assert "curl/8" in notice["body"]


async def test_an_invitation_is_taken_in_the_browser(connect: Connect, app: App, accounts: Any) -> None:
    made = await app.people.links.invite(accounts["owner"].id, "editor", "new@example.org")
    client, path = connect(Accept="text/html"), f"/invite/{made.secret}"
    assert "new@example.org" in (await client.get(path)).text
    weak = await client.post(path, data={"password": "short"})
    assert weak.status_code == 422
    assert "at least 12 characters" in weak.text
    assert (await client.post(path, data={"password": PASSWORD, "email": "x@example.org"})).status_code == 303
    me = (await client.get("/api/v1/me")).json()
    assert (me["email"], me["role"]) == ("new@example.org", "editor")
    assert (await client.get(path)).status_code == 404


async def test_a_forgotten_password_is_renewed_by_mail_and_nobody_learns_who_has_one(
    connect: Connect, app: App, accounts: Any, mails: list[tuple[str, str]]
) -> None:
    client = connect()
    told = [await client.post("/reset", data={"email": email}) for email in ("owner@example.org", "nobody@example.org")]
    assert told[0].text == told[1].text
    await asyncio.gather(*app.people.tasks)
    [(to, text)] = mails
    assert to == "owner@example.org"
    path = link_in(text)
    assert (await client.post(path, data={"password": "short"})).status_code == 422
    assert (await client.post(path, data={"password": "another good password"})).headers["location"] == "/login"
    assert (await client.post(path, data={"password": "one more good password"})).status_code == 404
    assert (await client.post("/login", data=LOGIN)).status_code == 422
    assert (await client.post("/login", data=LOGIN | {"password": "another good password"})).status_code == 303


async def test_registration_is_off_unless_it_is_switched_on_and_proves_the_address(
    connect: Connect, app: App, accounts: Any, mails: list[tuple[str, str]]
) -> None:
    client = connect()
    assert (await client.get("/register")).status_code == 404
    assert (await client.post("/register", data={"email": "new@example.org"})).status_code == 404
    object.__setattr__(app.people, "registration", True)
    told = [await client.post("/register", data={"email": email}) for email in ("new@example.org", "owner@example.org")]
    assert told[0].text == told[1].text
    await asyncio.gather(*app.people.tasks)
    by_address = dict(mails)
    assert link_in(by_address["owner@example.org"]) == "/login"
    await client.post(link_in(by_address["new@example.org"]), data={"password": PASSWORD})
    me = (await client.get("/api/v1/me")).json()
    assert (me["email"], me["role"]) == ("new@example.org", "viewer")
