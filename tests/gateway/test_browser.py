"""What a browser may do: log in and out, and what pages elsewhere may not make it do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from areabox.app import App
from areabox.gateway.parts import Site
from areabox.gateway.peers import is_own_host
from tests.gateway.conftest import PASSWORD, Connect

LOGIN = {"email": "owner@example.org", "password": PASSWORD}


async def log_in(client: httpx2.AsyncClient, **more: str) -> httpx2.Response:
    answer = await client.post("/login", data=LOGIN | more)
    assert answer.status_code == 303, answer.text
    return answer


@pytest.fixture
async def browser(connect: Connect, accounts: Any) -> httpx2.AsyncClient:
    client = connect()
    await log_in(client)
    return client


async def test_whoever_is_unknown_is_led_to_the_login_and_back(connect: Connect, accounts: Any) -> None:
    client = connect(Accept="text/html")
    answer = await client.get("/runs/01k0")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=/runs/01k0"
    entered = await client.post(answer.headers["location"], data=LOGIN)
    assert entered.headers["location"] == "/runs/01k0"


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "/\r\nX: y"]
)
async def test_a_login_never_leads_elsewhere(elsewhere: str, connect: Connect, accounts: Any) -> None:
    answer = await connect().post("/login", params={"next": elsewhere}, data=LOGIN)
    assert answer.headers["location"] == "/"


async def test_over_plain_http_the_cookie_is_strict(connect: Connect, accounts: Any) -> None:
    cookie = (await log_in(connect())).headers["set-cookie"]
    assert cookie.startswith("areabox=")
    assert "HttpOnly; SameSite=Strict" in cookie
    assert "Secure" not in cookie


async def test_a_wrong_password_says_so_and_enters_nobody(connect: Connect, accounts: Any) -> None:
    client = connect()
    answer = await client.post("/login", data=LOGIN | {"password": "wrong"})
    assert answer.status_code == 422
    assert "the e-mail address or the password is wrong" in answer.text
    assert "set-cookie" not in answer.headers
    for _ in range(9):
        await client.post("/login", data=LOGIN | {"password": "wrong"})
    last = await client.post("/login", data=LOGIN)
    assert last.status_code == 429
    assert "too many tries" in last.text


async def test_a_login_starts_another_session(browser: httpx2.AsyncClient) -> None:
    first = browser.cookies["areabox"]
    assert (await browser.post("/login", data=LOGIN)).status_code == 403, "nobody is logged in from elsewhere"
    await browser.post("/login", data=LOGIN, headers={"Origin": "http://localhost"})
    assert browser.cookies["areabox"] != first
    assert (await browser.get("/api/v1/me", headers={"Cookie": f"areabox={first}"})).status_code == 401


async def test_logging_out_ends_the_session(browser: httpx2.AsyncClient) -> None:
    value = browser.cookies["areabox"]
    token = (await browser.get("/api/v1/me")).json()["csrf"]
    answer = await browser.post("/logout", data={"csrf": token})
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert (await browser.get("/api/v1/me", headers={"Cookie": f"areabox={value}"})).status_code == 401


# --- other pages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:8081"},
        {"Origin": "https://localhost"},
        {"Origin": "null"},
        {},
        {"X-CSRF-Token": "guess"},
    ],
)
async def test_a_page_elsewhere_cannot_change_anything(headers: dict[str, str], browser: httpx2.AsyncClient) -> None:
    for method, path in (("POST", "/api/v1/tokens"), ("PUT", "/api/v1/areas/x"), ("POST", "/logout")):
        answer = await browser.request(method, path, headers=headers)
        assert answer.status_code == 403, (method, path)
        assert "own pages" in answer.text
    assert (await browser.get("/api/v1/me")).status_code == 200


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}])
async def test_our_own_pages_can(headers: dict[str, str], browser: httpx2.AsyncClient) -> None:
    answer = await browser.post("/api/v1/tokens", json={"name": "mine"}, headers=headers)
    assert answer.status_code == 201


async def test_a_script_with_a_cookie_sends_the_sessions_token(browser: httpx2.AsyncClient) -> None:
    token = (await browser.get("/api/v1/me")).json()["csrf"]
    answer = await browser.post("/api/v1/tokens", json={"name": "mine"}, headers={"X-CSRF-Token": token})
    assert answer.status_code == 201


async def test_a_page_elsewhere_cannot_log_a_browser_in(connect: Connect, accounts: Any) -> None:
    answer = await connect(Origin="http://evil.example").post("/login", data=LOGIN)
    assert answer.status_code == 403


async def test_a_rebound_name_is_refused_before_anybody_is_asked(connect: Connect, browser: httpx2.AsyncClient) -> None:
    cookie = {"Cookie": f"areabox={browser.cookies['areabox']}"}
    for path in ("/", "/login", "/setup", "/api/v1/me", "/api/v1/stream"):
        answer = await connect(host="rebound.example", address="127.0.0.1").get(path, headers=cookie)
        assert answer.status_code == 421, path


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "192.168.1.5", "box.lan:80", "a.example.org"]
)
def test_these_hosts_are_ours(host: str) -> None:
    assert is_own_host(host, Site(public_url="https://a.example.org", allowed_hosts=("box.lan",)))


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "a.example.org.evil.example", "xn--", "[::1"],
)
def test_these_hosts_are_not(host: str) -> None:
    assert is_own_host(host, Site(public_url="https://a.example.org")) == (host == "[::1")


async def test_every_page_forbids_what_it_does_not_need(browser: httpx2.AsyncClient) -> None:
    for path in ("/", "/login", "/api/docs", "/api/v1/me", "/nothing"):
        headers = (await browser.get(path)).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"


async def test_a_new_password_ends_the_other_browsers(connect: Connect, browser: httpx2.AsyncClient) -> None:
    other = connect()
    await log_in(other)
    body = {"current": PASSWORD, "password": "another good password"}
    answer = await browser.put("/api/v1/me/password", json=body, headers={"Origin": "http://localhost"})
    assert answer.status_code == 204, answer.text
    assert (await browser.get("/api/v1/me")).status_code == 200
    assert (await other.get("/api/v1/me")).status_code == 401


# --- setup ------------------------------------------------------------------------------------------------------------


async def test_the_first_account_is_made_with_the_printed_token(connect: Connect, app: App) -> None:
    client = connect(Accept="text/html")
    assert (await client.get("/login")).headers["location"] == "/setup"
    token = await app.setup_token()
    wrong = await client.post("/setup", data={"token": "0" * 32, **LOGIN})
    assert wrong.status_code == 422
    assert "setup token is wrong" in wrong.text
    weak = await client.post("/setup", data={"token": token, "email": LOGIN["email"], "password": "short"})
    assert weak.status_code == 422
    assert "at least 12 characters" in weak.text
    done = await client.post("/setup", data={"token": token, **LOGIN})
    assert done.headers["location"] == "/"
    assert (await client.get("/")).status_code == 200
    assert (await client.get("/setup")).headers["location"] == "/login"
    assert (await connect().post("/setup", data={"token": token, **LOGIN})).headers["location"] == "/login"


async def test_the_token_itself_is_on_no_page(connect: Connect, app: App) -> None:
    token = await app.setup_token()
    assert token not in (await connect().get("/setup")).text


# --- pages ------------------------------------------------------------------------------------------------------------


async def test_texts_from_elsewhere_stay_texts(
    running: App, browser: httpx2.AsyncClient, owner: httpx2.AsyncClient
) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    area = {
        "area": "evil", "name": evil, "about": evil, "tags": [evil], "when": [{"webhook.received": {}}],
        "then": [{"store.set": {"key": evil, "value": "{{ trigger.text }}"}, "name": evil}, {"stop": "failed", "because": evil}],
    }  # fmt: skip
    assert (await owner.post("/api/v1/areas", json=area)).status_code == 201
    run = (await owner.post("/api/v1/areas/evil/runs?wait=10", json={"trigger": {"text": evil}})).json()
    assert run["state"] == "failed"
    for path in ("/", "/areas/evil", f"/runs/{run['id']}"):
        html = (await browser.get(path, headers={"Accept": "text/html"})).text
        assert "<script>alert" not in html
        assert "<img src=x" not in html
        assert "&lt;script&gt;" in html, path


async def test_pages_link_to_nothing_elsewhere() -> None:
    web = Path(__file__).parents[2] / "web"
    for file in [*web.rglob("*.html"), *web.rglob("*.css"), *web.rglob("areabox*.js")]:
        text = file.read_text()
        assert "http://" not in text
        assert "https://" not in text
        assert "style=" not in text
        assert "|safe" not in text.replace(" ", "")
        assert " onclick" not in text


async def test_files_are_kept_for_good_under_their_own_address(connect: Connect, accounts: Any) -> None:
    client = connect()
    html = (await client.get("/login")).text
    address = html.partition('rel="stylesheet" href="')[2].partition('"')[0]
    answer = await client.get(address)
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-encoding"] == "gzip"
    assert "--accent" in answer.text
    assert (await client.get("/static/areabox.css")).headers["cache-control"] == "no-cache"
    for path in ("/static/nothing", "/static/..%2fareabox.css", "/static/%2e%2e/pages"):
        assert (await client.get(path)).status_code == 404
    assert int(answer.headers["content-length"]) < 8 * 1024


async def test_a_refusal_is_a_page_for_people_and_json_for_programs(browser: httpx2.AsyncClient) -> None:
    page = await browser.get("/areas/nothing", headers={"Accept": "text/html,*/*"})
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "there is no area nothing" in page.text
    problem = await browser.get("/api/v1/areas/nothing", headers={"Accept": "text/html"})
    assert problem.json()["detail"] == "there is no area nothing"


# --- buttons ----------------------------------------------------------------------------------------------------------

ASK = """\
area: question
when: [{webhook.received: {}}]
then:
  - ask: {question: Really?, choices: ["Yes", "No"]}
  - return: {chosen: "{{ steps.s1.choice }}"}
"""


async def press(browser: httpx2.AsyncClient, path: str, **fields: str) -> httpx2.Response:
    csrf = (await browser.get("/api/v1/me")).json()["csrf"]
    return await browser.post(path, data={"csrf": csrf, **fields})


async def test_buttons_do_what_they_say_and_lead_back(
    running: App, browser: httpx2.AsyncClient, owner: httpx2.AsyncClient
) -> None:
    await owner.post("/api/v1/areas", content=ASK, headers={"Content-Type": "application/yaml"})
    started = await press(browser, "/areas/question/run")
    where = started.headers["location"]
    assert where.startswith("/runs/")
    run_id = where.removeprefix("/runs/")
    async with asyncio.timeout(30):
        while (await owner.get(f"/api/v1/runs/{run_id}")).json()["state"] != "waiting":
            await asyncio.sleep(0.01)
    page = (await browser.get(where)).text
    assert f'action="{where}/steps/s1/answer"' in page
    assert "Really?" in (await browser.get("/")).text
    assert (await press(browser, f"{where}/steps/s1/answer", choice="Maybe")).status_code == 422
    assert (await press(browser, f"{where}/steps/s1/answer", choice="Yes")).headers["location"] == where
    await running.runs.wait(run_id, 10)
    run = (await owner.get(f"/api/v1/runs/{run_id}")).json()
    assert (run["state"], run["result"]) == ("done", {"chosen": "Yes"})
    again = (await press(browser, f"{where}/retry")).headers["location"]
    assert again != where
    assert (await press(browser, f"{again}/cancel")).headers["location"] == again
    assert (await press(browser, "/areas/question/disable")).headers["location"] == "/areas/question"
    assert "Switch on" in (await browser.get("/areas/question")).text
    assert (await press(browser, "/areas/question/enable")).status_code == 303


async def test_notices_are_seen_by_a_button(running: App, browser: httpx2.AsyncClient, accounts: Any) -> None:
    for n in range(3):
        await running.outbox.message(accounts["owner"].id, "Hi there", "", "", f"key-{n}")
    page = (await browser.get("/")).text
    assert "Hi there, 3 times" in page
    ids = page.partition('name="ids" value="')[2].partition('"')[0]
    assert (await press(browser, "/notices/seen", ids=f"{ids},gone")).headers["location"] == "/"
    assert "Hi there" not in (await browser.get("/")).text


async def test_a_button_needs_our_own_page(browser: httpx2.AsyncClient, hello: Any) -> None:
    assert (await browser.post("/areas/hello/disable")).status_code == 403
    assert (await browser.post("/areas/hello/disable", data={"csrf": "x"})).status_code == 403
    evil = {"Origin": "http://evil.example"}
    csrf = (await browser.get("/api/v1/me")).json()["csrf"]
    assert (await browser.post("/areas/hello/disable", data={"csrf": csrf}, headers=evil)).status_code == 403


async def test_whoever_may_not_has_no_buttons(connect: Connect, app: App, accounts: Any) -> None:
    await app.accounts.set_password(accounts["viewer"], PASSWORD)
    client = connect()
    await client.post("/login", data={"email": "viewer@example.org", "password": PASSWORD})
    assert (await client.get("/")).status_code == 200
    assert (await press(client, "/areas/hello/run")).status_code == 403
