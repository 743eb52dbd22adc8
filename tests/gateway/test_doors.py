"""What is done to every request and every answer: ids, logs, origins, networks, maintenance, base paths, compression."""

from __future__ import annotations

import gzip
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from areabox.app import App, open_app
from areabox.deployment.local import local
from areabox.deployment.settings import load
from areabox.gateway import base_path, compression
from tests.gateway.conftest import HELLO, PASSWORD, Connect
from tests.support import FakeClock

YAML = {"Content-Type": "application/yaml"}
Client = Callable[..., httpx2.AsyncClient]


class House:
    """An areabox with settings of a test's own, its owner's token, and clients that reach it."""

    def __init__(self, app: App, token: str, stack: AsyncExitStack) -> None:
        self.app, self.token, self._stack = app, token, stack

    async def client(self, address: str = "198.51.100.7", host: str = "localhost", token: str | None = None, **more: Any) -> httpx2.AsyncClient:
        given = self.token if token is None else token
        headers = {"Authorization": f"Bearer {given}"} if given else {}
        app = more.pop("app", self.app.asgi)
        transport = httpx2.ASGITransport(app=app, client=(address, 4711), raise_app_exceptions=False)
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        return await self._stack.enter_async_context(httpx2.AsyncClient(base_url=f"http://{host}", transport=transport, headers=headers))


@pytest.fixture
async def house(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Callable[..., Awaitable[House]]]:
    async with AsyncExitStack() as stack:

        async def make(**flags: str) -> House:
            settings = load({"data_dir": str(tmp_path / "house"), **flags}, {})
            settings.data_dir.mkdir()
            app = await stack.enter_async_context(open_app(settings, role="cli", clock=clock))
            stack.push_async_callback(app.asgi.drain)
            account = await app.accounts.create("owner@example.org", PASSWORD, "owner")
            _, token = await app.tokens.create(account.id, account.email, "t", ["all"])
            return House(app, token, stack)

        yield make


# --- ids and logs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["7f3c", "a.b-c_d:e", "x" * 64])
async def test_a_request_keeps_the_id_that_its_sender_gave_it(given: str, owner: httpx2.AsyncClient) -> None:
    assert (await owner.get("/api/v1/me", headers={"X-Request-ID": given})).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", 'a"b', "-a", "<script>", "a\tb"])
async def test_an_id_that_could_be_anything_else_is_replaced(given: str, owner: httpx2.AsyncClient) -> None:
    made = (await owner.get("/api/v1/me", headers={"X-Request-ID": given})).headers["x-request-id"]
    assert made != given
    assert len(made) == 26


async def test_a_request_joins_its_senders_trace(owner: httpx2.AsyncClient) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = await owner.get("/api/v1/me", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    assert answer.headers["x-request-id"] == trace
    version, told, span, flags = answer.headers["traceparent"].split("-")
    assert (version, told, flags) == ("00", trace, "01")
    assert span != "b7ad6b7169203331"


@pytest.mark.parametrize("given", ["00-" + "0" * 32 + "-b7ad6b7169203331-01", "ff-x-y-z", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"])
async def test_a_trace_that_is_none_is_ignored(given: str, owner: httpx2.AsyncClient) -> None:
    assert "traceparent" not in (await owner.get("/api/v1/me", headers={"traceparent": given})).headers


async def test_a_failure_is_told_by_the_id_of_its_request(owner: httpx2.AsyncClient, app: App, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no secrets in answers")

    monkeypatch.setattr(app.areas, "list", fail)
    answer = await owner.get("/api/v1/areas", headers={"X-Request-ID": "find-me"})
    assert (answer.status_code, answer.json()["detail"]) == (500, "areabox failed; its log says why, under find-me")
    assert "find-me" in caplog.text


async def test_the_access_log_is_off_unless_it_is_wanted(owner: httpx2.AsyncClient, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    await owner.get("/api/v1/me")
    assert [record for record in caplog.records if record.name == "areabox.access"] == []


async def test_the_access_log_has_fields_and_no_secrets(house: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    there = await house(access_log="on")
    client = await there.client()
    made = (await client.post("/api/v1/areas", content=HELLO, headers=YAML)).json()
    await client.get("/api/v1/me?token=canary", headers={"X-Request-ID": "r1", "User-Agent": "test"})
    hook = made["subscriptions"][0]["url"].rpartition("/hooks/")[2]
    await client.post(f"/hooks/{hook}?canary=1", json={})
    await client.get("/reset/canary")
    lines = [record for record in caplog.records if record.name == "areabox.access"]
    assert [(line.method, line.path, line.status) for line in lines] == [
        ("POST", "/api/v1/areas", 201), ("GET", "/api/v1/me", 200), ("POST", "/hooks/…", 202), ("GET", "/reset/…", 404),
    ]  # fmt: skip
    assert (lines[1].request, lines[1].actor, lines[1].address, lines[1].agent) == ("r1", "owner@example.org", "198.51.100.7", "test")
    assert lines[1].bytes > 100
    assert "canary" not in str([vars(line) for line in lines])
    assert hook not in str([vars(line) for line in lines])


async def test_a_share_of_the_requests_is_logged(house: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    there = await house(access_log="40%")  # the clock of tests always draws the middle
    await (await there.client()).get("/api/v1/me")
    assert [record for record in caplog.records if record.name == "areabox.access"] == []


# --- who may come -----------------------------------------------------------------------------------------------------


async def test_pages_elsewhere_call_the_api_if_their_origin_is_named(house: Any) -> None:
    there = await house(cors_origins="https://panel.example.org")
    client = await there.client(Origin="https://panel.example.org")
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
    question = await client.options("/api/v1/areas/x", headers=asked)
    assert question.status_code == 204
    assert question.headers["access-control-allow-origin"] == "https://panel.example.org"
    assert "authorization" in question.headers["access-control-allow-headers"]
    answer = await client.get("/api/v1/areas")
    assert answer.headers["access-control-allow-origin"] == "https://panel.example.org"
    assert "etag" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(("origin", "path"), [("https://evil.example", "/api/v1/areas"), ("null", "/api/v1/areas"), ("https://panel.example.org.evil.example", "/api/v1/areas"), ("http://panel.example.org", "/api/v1/areas"), ("https://panel.example.org", "/login")])
async def test_no_other_page_does(origin: str, path: str, house: Any) -> None:
    there = await house(cors_origins="https://panel.example.org")
    client = await there.client(Origin=origin)
    for answer in (await client.get(path), await client.options(path, headers={"Access-Control-Request-Method": "GET"})):
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_who_may_come_is_named_by_networks(house: Any) -> None:
    there = await house(allow_from="192.168.1.0/24,2001:db8::/32", hooks_allow_from="203.0.113.0/24")
    made = await (await there.client("192.168.1.9")).post("/api/v1/areas", content=HELLO, headers=YAML)
    hook = "/hooks/" + made.json()["subscriptions"][0]["url"].rpartition("/hooks/")[2]
    told = {}
    for address in ("192.168.1.9", "2001:db8::7", "203.0.113.5", "127.0.0.1", "::ffff:192.168.1.9"):
        client = await there.client(address)
        told[address] = ((await client.get("/api/v1/me")).status_code, (await client.post(hook, json={})).status_code)
    assert told == {
        "192.168.1.9": (200, 403), "2001:db8::7": (200, 403), "203.0.113.5": (403, 202), "127.0.0.1": (403, 403), "::ffff:192.168.1.9": (200, 403),
    }  # fmt: skip
    forged = await there.client("203.0.113.5", X_Forwarded_For="192.168.1.9")
    assert (await forged.get("/api/v1/me")).status_code == 403
    here = await there.client(app=local(there.app.asgi), token="")
    assert (await here.get("/api/v1/me")).status_code == 200


async def test_a_listener_for_webhooks_has_nothing_else(house: Any) -> None:
    there = await house()
    made = await (await there.client()).post("/api/v1/areas", content=HELLO, headers=YAML)
    hook = "/hooks/" + made.json()["subscriptions"][0]["url"].rpartition("/hooks/")[2]
    client = await there.client(app=there.app.hooks_asgi)
    assert (await client.post(hook, json={})).status_code == 202
    assert (await client.get("/health")).status_code == 200
    for path in ("/", "/login", "/api/v1/me", "/api/openapi.json", "/about.json", "/metrics", "/ready", "/hooks", "/static/areabox.css", "//hooks/x"):
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path


# --- maintenance ------------------------------------------------------------------------------------------------------


async def test_during_maintenance_all_but_deliveries_comes_back_later(owner: httpx2.AsyncClient, hello: dict[str, Any], connect: Connect, here: httpx2.AsyncClient) -> None:
    hook = "/hooks/" + hello["subscriptions"][0]["url"].rpartition("/hooks/")[2]
    begun = await owner.post("/api/v1/system/maintenance", json={"on": True, "message": "back at noon", "retry_after_s": 60})
    assert begun.json()["maintenance"] is True
    answer = await owner.get("/api/v1/areas")
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["detail"]) == (503, "60", "back at noon")
    assert (await connect().post(hook, json={})).status_code == 202
    assert (await connect().get("/health")).status_code == 200
    assert (await here.get("/api/v1/areas")).status_code == 200, "the machine itself is always answered"
    assert (await owner.post("/api/v1/system/maintenance", json={"on": False})).json()["maintenance"] is False
    assert (await owner.get("/api/v1/areas")).status_code == 200
    verbs = [entry["verb"] for entry in (await owner.get("/api/v1/audit?verb=system")).json()["items"]]
    assert verbs == ["system.maintenance", "system.maintenance"]


async def test_maintenance_outlives_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    settings = load({"data_dir": str(tmp_path / "again")}, {})
    settings.data_dir.mkdir()
    for turn in range(2):
        async with open_app(settings, role="cli", clock=clock) as app:
            transport = httpx2.ASGITransport(app=local(app.asgi))
            async with httpx2.AsyncClient(base_url="http://localhost", transport=transport) as client:
                if turn == 0:
                    await app.accounts.create("owner@example.org", None, "owner")
                    await client.post("/api/v1/system/maintenance", json={"on": True})
                assert (await client.get("/api/v1/system")).json()["maintenance"] is True


# --- base path and https ----------------------------------------------------------------------------------------------


async def test_everything_lies_below_the_path_of_the_public_address(house: Any) -> None:
    there = await house(public_url="https://home.example.org/areabox")
    client = await there.client(host="home.example.org")
    made = await client.post("/areabox/api/v1/areas", content=HELLO, headers=YAML)
    assert made.status_code == 201
    assert made.headers["location"] == "/areabox/api/v1/areas/hello"
    url = made.json()["subscriptions"][0]["url"]
    assert url.startswith("https://home.example.org/areabox/hooks/")
    assert (await client.post(url.replace("https://home.example.org", ""), json={})).status_code == 202
    assert (await client.get("/areabox/health")).status_code == 200
    page = (await (await there.client(host="home.example.org", token="", Accept="text/html")).get("/areabox/login")).text
    assert 'action="/areabox/login' in page
    assert 'href="/areabox/static/' in page
    assert '="/static' not in page
    lists = await client.get("/areabox/api/v1/areas?limit=1")
    assert lists.headers["link"].startswith("</areabox/api/v1/areas?limit=1&after=")
    away = await (await there.client(host="home.example.org", token="", Accept="text/html")).get("/areabox/areas/hello")
    assert (away.status_code, away.headers["location"]) == (303, "/areabox/login?next=/areas/hello")


async def test_a_proxy_that_takes_the_path_away_says_so(house: Any) -> None:
    there = await house(trusted_proxies="10.0.0.1/32", allowed_hosts="home.example.org")
    client = await there.client("10.0.0.1", host="home.example.org", token="", X_Forwarded_Prefix="/box", X_Forwarded_For="192.0.2.1")
    assert 'action="/box/login' in (await client.get("/login")).text
    stranger = await there.client("10.0.0.2", host="home.example.org", token="", X_Forwarded_Prefix="/box")
    assert 'action="/login' in (await stranger.get("/login")).text
    for nasty in ('/x"onload=', "//evil.example", "/a/../b c", "x", "/%2e"):
        client = await there.client("10.0.0.1", host="home.example.org", token="", X_Forwarded_Prefix=nasty)
        assert 'action="/login' in (await client.get("/login")).text


def test_only_addresses_in_attributes_are_rewritten() -> None:
    page = b'<a href="/areas/x">="/</a><a href="//other"><form action="/run"><p title="/etc">&quot;/x&quot; href=&#34;/y&#34;'
    found = base_path._ATTRIBUTE.sub(rb"\g<1>/box\g<2>", page)
    assert found == b'<a href="/box/areas/x">="/</a><a href="//other"><form action="/box/run"><p title="/etc">&quot;/x&quot; href=&#34;/y&#34;'


def test_the_addresses_in_scripts_and_styles_are_rewritten() -> None:
    script = b'fetch(`/api/v1/stream?x=${y}`); go("/login"); a = /b/g; "text/html"; "//cdn"; split("/")'
    found = base_path._SCRIPT.sub(rb"\g<1>/box\g<2>", script)
    assert found == b'fetch(`/box/api/v1/stream?x=${y}`); go("/box/login"); a = /b/g; "text/html"; "//cdn"; split("/")'
    assert base_path._STYLE.sub(rb"\g<1>/box\g<2>", b"url(/static/x.svg)") == b"url(/box/static/x.svg)"
    assert base_path._header(b"HX-Redirect", b"/login", b"/box") == (b"HX-Redirect", b"/box/login")
    assert base_path._header(b"location", b"//evil", b"/box") == (b"location", b"//evil")


async def test_over_https_browsers_are_told_to_stay_there(house: Any) -> None:
    there = await house(public_url="https://home.example.org")
    assert (await (await there.client(host="home.example.org")).get("/api/v1/me")).headers["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in (await (await there.client()).get("/api/v1/me")).headers


# --- smaller answers --------------------------------------------------------------------------------------------------


async def test_long_texts_are_compressed_and_short_ones_are_not(owner: httpx2.AsyncClient) -> None:
    long = await owner.get("/api/v1/services", headers={"Accept-Encoding": "gzip"})
    assert (long.headers["content-encoding"], long.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert long.headers["etag"].startswith('W/"')
    assert long.json()["items"]
    short = await owner.get("/api/v1/summary", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in short.headers
    plain = await owner.get("/api/v1/services", headers={"Accept-Encoding": "gzip;q=0, identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == long.json()
    again = await owner.get("/api/v1/services", headers={"Accept-Encoding": "gzip", "If-None-Match": long.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_what_a_cookie_opens_is_compressed_for_our_own_pages_only(app: App, accounts: Any, connect: Connect) -> None:
    """BREACH: the length of an answer that another site asked for must not tell what is in it."""
    value = await app.sessions.start(accounts["owner"])
    for site, expected in (("same-origin", "gzip"), ("cross-site", None), ("same-site", None), ("none", None), ("", None)):
        given = {"Sec-Fetch-Site": site} if site else {}
        client = connect(Cookie=f"areabox={value}")
        answer = await client.get("/api/v1/services", headers={"Accept-Encoding": "gzip", **given})
        assert answer.status_code == 200
        assert answer.headers.get("content-encoding") == expected, site


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [("gzip", True), ("br, gzip", True), ("*", True), ("gzip;q=0.5", True), ("gzip; q=0", False), ("br", False), ("", False), ("gzip;q=0.000", False)],
)
def test_gzip_is_used_where_it_is_taken(accepted: str, takes: bool) -> None:
    assert compression.wanted({"accept-encoding": accepted}) is takes


async def test_streams_and_answers_with_cookies_stay_as_they_are() -> None:
    for headers in ([(b"content-type", b"text/event-stream")], [(b"content-type", b"text/html"), (b"set-cookie", b"a=b")], [(b"content-type", b"image/png")], [(b"content-type", b"text/css"), (b"content-encoding", b"gzip")]):
        sent = await sending(headers, [b"x" * 5_000])
        assert sent == [{"type": "http.response.start", "status": 200, "headers": headers}, {"type": "http.response.body", "body": b"x" * 5_000, "more_body": False}]
    pieces = await sending([(b"content-type", b"application/x-ndjson")], [b"x" * 5_000, b"y"])
    assert [message.get("body") for message in pieces] == [None, b"x" * 5_000, b"y"]


async def test_a_large_answer_is_compressed_beside_the_loop() -> None:
    start, body = await sending([(b"content-type", b"application/json"), (b"content-length", b"500000")], [b"x" * 500_000])
    assert gzip.decompress(body["body"]) == b"x" * 500_000
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()


async def sending(headers: list[tuple[bytes, bytes]], pieces: list[bytes]) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    out = compression.compressed(send)
    await out({"type": "http.response.start", "status": 200, "headers": headers})
    for n, piece in enumerate(pieces):
        await out({"type": "http.response.body", "body": piece, "more_body": n < len(pieces) - 1})
    return sent
