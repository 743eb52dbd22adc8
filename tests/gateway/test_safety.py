"""My security: an authenticator is set up, asked for and removed, by pages and by the API; nothing by a token."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from areabox.app import App
from areabox.users import codes
from tests.gateway.conftest import PASSWORD, Connect
from tests.support import FakeClock

LOGIN = {"email": "owner@example.org", "password": PASSWORD}


def now(secret: bytes, clock: FakeClock) -> str:
    """Return the code of a later half minute, since each is taken once."""
    clock.advance(60_000)
    return codes.code(secret, clock.now_ms() // codes.STEP_MS)


@pytest.fixture
async def browser(connect: Connect, accounts: Any) -> httpx2.AsyncClient:
    """Return a client that has signed in as the owner."""
    client = connect()
    assert (await client.post("/login", data=LOGIN)).status_code == 303
    return client


async def press(client: httpx2.AsyncClient, path: str, **fields: str) -> httpx2.Response:
    """Press a button of the page, with the token that the page's forms have."""
    page = (await client.get("/me/security")).text
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found
    return await client.post(f"/me/security/{path}", data={"csrf": found[1], **fields})


async def test_an_authenticator_is_set_up_on_the_page_and_asked_for_afterwards(
    browser: httpx2.AsyncClient, connect: Connect, app: App, accounts: Any, clock: FakeClock
) -> None:
    assert (await press(browser, "totp", password="a wrong one")).status_code == 422
    assert (await press(browser, "totp", password=PASSWORD)).status_code == 303
    secret = await app.people.factors.begun(accounts["owner"].id)
    assert secret is not None
    page = (await browser.get("/me/security")).text
    assert codes.as_text(secret) in page
    assert "data:image/svg+xml;base64," in page
    wrong = await press(browser, "totp/confirm", code="000000")
    assert (wrong.status_code, "the code is wrong" in wrong.text) == (422, True)
    done = await press(browser, "totp/confirm", code=now(secret, clock))
    assert "shown only now" in done.text
    shown = re.search(r"<pre>(.*?)</pre>", done.text, re.DOTALL)
    assert shown
    assert len(shown[1].split()) == codes.RECOVERY_CODES
    assert shown[1].split()[0] not in (await browser.get("/me/security")).text
    other = connect()
    assert (await other.post("/login", data=LOGIN)).headers["location"] == "/login/2fa"
    assert (await other.post("/login/2fa", data={"code": shown[1].split()[0]})).status_code == 303


async def test_it_is_removed_by_password_and_code_together(
    browser: httpx2.AsyncClient, app: App, accounts: Any, clock: FakeClock
) -> None:
    account = accounts["owner"].id
    secret = await app.people.factors.begin(account)
    await app.people.factors.confirm(account, now(secret, clock))
    refused = await press(browser, "totp/remove", password=PASSWORD)
    assert (refused.status_code, "a code is asked for, too" in refused.text or "must be given" in refused.text) == (422, True)
    renewed = await press(browser, "recovery", password=PASSWORD, code=now(secret, clock))
    assert "shown only now" in renewed.text
    assert (await press(browser, "totp/remove", password=PASSWORD, code=now(secret, clock))).status_code == 303
    assert not (await app.people.factors.standing(account)).asks


async def test_the_api_does_the_same_in_a_session_and_refuses_tokens(
    browser: httpx2.AsyncClient, owner: httpx2.AsyncClient, app: App, accounts: Any, clock: FakeClock
) -> None:
    assert (await owner.post("/api/v1/me/totp", json={"password": PASSWORD})).status_code == 403
    csrf = (await browser.get("/api/v1/me")).json()["csrf"]
    headers = {"x-csrf-token": csrf, "origin": str(browser.base_url).rstrip("/")}
    begun = await browser.post("/api/v1/me/totp", json={"password": PASSWORD}, headers=headers)
    assert begun.json()["uri"].startswith("otpauth://totp/")
    secret = await app.people.factors.begun(accounts["owner"].id)
    assert secret is not None
    confirmed = await browser.post("/api/v1/me/totp/confirm", json={"code": now(secret, clock)}, headers=headers)
    assert len(confirmed.json()["codes"]) == codes.RECOVERY_CODES
    assert (await browser.get("/api/v1/me/factors")).json() == {"totp": True, "recovery": codes.RECOVERY_CODES}
    proof = {"password": PASSWORD, "code": now(secret, clock)}
    assert (await browser.post("/api/v1/me/totp/remove", json=proof, headers=headers)).status_code == 204
    assert (await browser.get("/api/v1/me/factors")).json() == {"totp": False, "recovery": 0}


async def test_the_password_is_changed_and_other_browsers_are_signed_out(
    browser: httpx2.AsyncClient, connect: Connect
) -> None:
    other = connect()
    await other.post("/login", data=LOGIN)
    assert (await browser.get("/me/security")).text.count("Sign out</button>") == 1
    short = await press(browser, "password", current=PASSWORD, password="short")
    assert (short.status_code, "12" in short.text) == (422, True)
    fresh = "another correct horse battery"
    assert (await press(browser, "password", current=PASSWORD, password=fresh)).status_code == 303
    assert (await other.get("/api/v1/me")).status_code == 401
    assert (await browser.get("/api/v1/me")).status_code == 200


async def test_a_theme_is_remembered_and_anything_else_is_none(browser: httpx2.AsyncClient) -> None:
    page = (await browser.get("/me/security")).text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)
    assert csrf
    answer = await browser.post("/theme", data={"csrf": csrf[1], "theme": "dark", "back": "/me/security"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/me/security")
    assert 'data-theme="dark"' in (await browser.get("/me/security")).text
    await browser.post("/theme", data={"csrf": csrf[1], "theme": "<b>", "back": "//elsewhere.example.org"})
    assert "data-theme" not in (await browser.get("/me/security")).text
