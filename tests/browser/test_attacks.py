"""G17: in a real browser, over plain http on a name of the home network and over https: forged requests, rebinding, scripts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.browser.attacks import PAYLOADS, elsewhere, filled, hostile
from tests.deployment.test_certificates import write
from tests.faults.daemon import PASSWORD, Daemon
from tests.security.figures import figure
from tests.support import FULL

pytestmark = [pytest.mark.filterwarnings("ignore")]  # of the browser's driver
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOME = "areabox.lan"
RULES = f"MAP {HOME} 127.0.0.1, MAP evil.example 127.0.0.1, MAP rebound.example 127.0.0.1"
HELPS = "LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights"  # what only this browser does against it
EVERYTHING = (
    "select id, slug, head, enabled from area order by id", "select id, state from run order by id", "select count(*) from event", "select id, name, config from connection",
    "select id, name, hash from token order by id", "select id, seen from notice order by id", "select id, account from session", "select id, email, role, disabled, password from account",
    "select value from meta where key in ('paused', 'maintenance')",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", f"--host-resolver-rules={RULES}", f"--disable-features={HELPS}"])
        yield found
        found.close()


class House:
    """An areabox whose owner is signed in, with text in all its fields that wants to be a script."""

    def __init__(self, folder: Path, scheme: str) -> None:
        folder.mkdir()
        environ = {"AREABOX_ALLOWED_HOSTS": HOME}
        if scheme == "https":
            write(folder, HOME)
            environ |= {"AREABOX_TLS_CERT": str(folder / "cert.pem"), "AREABOX_TLS_KEY": str(folder / "key.pem")}
        self.daemon = Secure(folder, **environ) if scheme == "https" else Daemon(folder, **environ)
        self.scheme, self.address = scheme, f"{scheme}://{HOME}:{self.daemon.port}"
        self.things: dict[str, str] = {}

    def open(self) -> None:
        self.daemon.own()
        self.daemon.start()
        self.things = fill(self.daemon)
        self.cookie = self._sign_in()

    def _sign_in(self) -> dict[str, Any]:
        with httpx2.Client(base_url=f"{self.scheme}://127.0.0.1:{self.daemon.port}", verify=False) as client:
            answer = client.post("/login", data={"email": "owner@example.org", "password": PASSWORD}, headers={"Sec-Fetch-Site": "same-origin"})
            name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
        return {"name": name, "value": value, "url": self.address, "httpOnly": True, "secure": self.scheme == "https", "sameSite": "Lax" if self.scheme == "https" else "Strict"}

    def context(self, browser: Any) -> Any:
        context = browser.new_context(ignore_https_errors=True)
        context.add_cookies([self.cookie])
        return context

    def footprint(self) -> list[Any]:
        return [self.daemon.rows(sql) for sql in EVERYTHING]


class Secure(Daemon):
    """One that speaks https, which its own check of readiness does not."""

    def ready(self) -> bool:
        try:
            return httpx2.get(f"https://127.0.0.1:{self.port}/ready", verify=False, timeout=5).status_code == 200
        except httpx2.HTTPError:
            return False


def fill(daemon: Daemon) -> dict[str, str]:
    """Put hostile text wherever a person or a service can put text, and return one thing of every kind."""
    document = {
        "area": "hello", "name": PAYLOADS[0][:200], "about": "\n\n".join(PAYLOADS), "tags": [text[:60] for text in PAYLOADS[:40]], "when": [{"webhook.received": {}}],
        "then": [
            {"each": "trigger.json['texts'] | default([])", "then": [{"notify.user": {"title": "{{ item[:100] }}", "message": "{{ item }}"}}]},
            {"set": {"texts": "{{ trigger.json }}"}},
            {"return": {"texts": "{{ trigger.json['texts'] | default([]) }}"}},
        ],
    }  # fmt: skip
    failing = {"area": "failing", "name": PAYLOADS[1][:200], "when": [{"webhook.received": {}}], "then": [{"stop": "failed", "because": "{{ trigger.body }}"}]}
    hooks = daemon.apply(document, failing)
    with daemon.local() as api:
        for n in range(2, len(PAYLOADS), 20):
            api.put(f"/areas/a{n}", json=failing | {"area": f"a{n}", "name": PAYLOADS[n][:200]})
        texts = {"texts": PAYLOADS[::5], **{text: text for text in PAYLOADS}}
        run = api.post("/areas/hello/runs?wait=30", json={"trigger": {"json": texts, "headers": {}, "body": "", "query": {}}}).json()
        assert run["state"] == "done", run
        bad = api.post("/areas/failing/runs?wait=30", json={"trigger": {"body": " ".join(PAYLOADS)}}).json()
        answer = api.post(f"{hooks['hello']}/{PAYLOADS[2].replace('/', '_')}", params={"q": PAYLOADS[3]}, json=texts)
        assert answer.status_code in (202, 404), answer.text
        values = {"service": "http", "name": PAYLOADS[5][:80], "auth": "token", "values": {"site": "http://127.0.0.1:9", "key": "k"}, "test": False}
        connection = api.post("/connections", json=values).json()["id"]
        token = api.post("/tokens", json={"name": PAYLOADS[6][:80]}).json()["id"]
        user = api.post("/users", json={"email": "<svg/onload=1>@example.org", "role": "viewer"}).json()
        events = api.get("/events").json()["items"]
        notice = api.get("/notices").json()["items"][0]["id"]
    return {"areas": "hello", "runs": run["id"], "failed": bad["id"], "events": events[0]["id"], "connections": connection, "tokens": token, "users": user.get("id", "x"), "notices": notice,
            "versions": "1", "steps": "s1", "services": "webhook", "static": "areabox.css", "hooks": hooks["hello"].rpartition("/")[2]}  # fmt: skip


@pytest.fixture(scope="module", params=["http", "https"])
def house(request: Any, tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[House]:
    found = House(tmp_path_factory.mktemp("attacked") / request.param, request.param)
    try:
        found.open()
        yield found
    finally:
        found.daemon.kill()


def test_the_owner_is_signed_in_and_can_change_things(house: House, browser: Any) -> None:
    """What follows proves something only if the browser has a session that works."""
    context = house.context(browser)
    page = context.new_page()
    page.goto(f"{house.address}/")
    told = page.evaluate("fetch('/api/v1/areas/a22/disable', {method: 'POST'}).then((a) => a.status)")
    assert told == 200
    assert ("a22", 0) in house.daemon.rows("select slug, enabled from area")
    context.close()


def test_the_payloads_run_where_nothing_stops_them(browser: Any) -> None:
    """A page without areabox's escaping and headers, so that it is known that these texts could be scripts."""
    page = browser.new_page()
    ran = 0
    for text in PAYLOADS[::5]:
        page.set_content(f"<!doctype html><body>{text}")
        page.wait_for_timeout(20)
        ran += page.evaluate("window.__ran || 0") > 0
    assert ran >= 12
    page.close()


@pytest.mark.parametrize("name", [HOME, "evil.example", "127.0.0.1"] if FULL else [HOME])
def test_a_page_elsewhere_changes_and_reads_nothing(name: str, house: House, browser: Any) -> None:
    """The same name at another port (for a cookie the same site), another site, and the bare address."""
    before, context = house.footprint(), house.context(browser)
    with elsewhere() as server:
        server.page = hostile(house.address, house.things, every=FULL)
        page = context.new_page()
        page.goto(f"http://{name}:{server.server_address[1]}/")
        page.wait_for_function("document.title === 'done'", timeout=60_000)
        assert page.evaluate("window.read") == []
        context.close()
    assert house.footprint() == before
    allowed = house.daemon.rows("select verb from audit where seq > 20 and detail not like '%refused%' and verb not in ('area.disable', 'audit.export') and verb not like 'login%'")
    assert allowed == []


def test_a_name_that_was_made_to_point_here_gets_nothing(house: House, browser: Any) -> None:
    """DNS rebinding: the page is of the attacker's name, and so are its requests, but they reach us."""
    before, context = house.footprint(), house.context(browser)
    rebound = f"{house.scheme}://rebound.example:{house.daemon.port}"
    page = context.new_page()
    page.route(f"{rebound}/attack", lambda route: route.fulfill(body="<!doctype html><title>x</title>", content_type="text/html"))
    page.goto(f"{rebound}/attack")
    told = page.evaluate(
        """async (paths) => Promise.all(paths.map(async ([method, path]) => {
            const answer = await fetch(path, {method, headers: method === "GET" ? {} : {"content-type": "application/json"}, body: method === "GET" ? undefined : "{}"});
            return answer.status;
        }))""",
        [["GET", "/"], ["GET", "/api/v1/areas"], ["GET", "/login"], ["POST", "/api/v1/areas/hello/disable"], ["POST", "/areas/hello/disable"], ["DELETE", "/api/v1/areas/hello"], ["GET", "/api/v1/me"]],
    )
    assert set(told) == {421}
    context.close()
    assert house.footprint() == before


def test_no_text_becomes_a_script(house: House, browser: Any) -> None:
    from areabox.gateway.http import routes

    context = house.context(browser)
    page, heard = context.new_page(), []
    page.on("dialog", lambda dialog: (heard.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda message: heard.append(message.text) if "Content Security Policy" in message.text else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    shown = {filled(route.path, house.things) for route in routes() if route.page and route.method == "GET"}
    shown |= {f"/runs/{house.things['failed']}", "/areas/failing", "/areas/nothing%3Cscript%3E", "/login?next=%22%3E%3Cscript%3E", "/?q=%3Cscript%3E"}
    for path in sorted(shown - {"/logout", "/setup"}):
        page.goto(f"{house.address}{path}", wait_until="domcontentloaded")
        bad = page.evaluate(
            """() => {
                document.querySelectorAll("#c").forEach((found) => found.click());
                const handlers = [...document.querySelectorAll("*")].filter((e) => [...e.attributes].some((a) => a.name.startsWith("on")));
                const links = [...document.querySelectorAll("[href],[src],[action]")].filter((e) => /^\\s*(javascript|data:text)/i.test(e.getAttribute("href") || e.getAttribute("src") || e.getAttribute("action") || ""));
                return [window.__ran || 0, handlers.length, links.length, document.querySelectorAll("script:not([src]),iframe,object,embed,base").length];
            }"""
        )
        assert bad == [0, 0, 0, 0], path
    assert heard == []
    figure("G17", f"{house.scheme}: {len(PAYLOADS)} payloads on {len(shown)} pages, 0 ran")
    context.close()
