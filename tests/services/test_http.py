"""How a connector speaks HTTP, against a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from areabox.clock import SystemClock
from areabox.errors import AuthExpired, ConnectorError, Permanent, RateLimited, Transient, Uncertain
from areabox.services.accounts import Route
from areabox.services.egress import Credentials, Egress
from areabox.services.http import Client
from tests.services.conftest import LOOPBACK
from tests.services.web import Request, Server, reply
from tests.support import FakeClock


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    made = Egress(SystemClock(), allow=LOOPBACK)
    yield made
    made.close()


@pytest.fixture
def cursor() -> dict[str, Any]:
    return {}


@pytest.fixture
def client(egress: Egress, clock: FakeClock, server: Server, cursor: dict[str, Any]) -> Client:
    credentials = Credentials((("X-Key", "canary-5ecret"),), frozenset({server.url.removeprefix("http://")}))
    route = Route(service="Demo", base=f"{server.url}/api", credentials=credentials)
    return Client(egress, clock, route, timeout_s=30, cursor=cursor)


async def test_paths_are_appended_to_the_base_and_the_key_goes_along(client: Client, server: Server) -> None:
    answer = await client.post("/lamp", json={"on": True}, params={"a": [1, 2], "b": None, "c": True})
    assert answer.json() == {"ok": True}
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/api/lamp?a=1&a=2&c=true")
    assert (request.json, request.headers["content-type"]) == ({"on": True}, "application/json")
    assert request.headers["x-key"] == "canary-5ecret"


async def test_the_key_goes_to_no_other_host_or_port(
    client: Client, server: Server, egress: Egress, clock: FakeClock
) -> None:
    other = Server()
    await other.open()
    await client.get(f"{other.url}/elsewhere")
    server.answer = reply(302, location=f"{other.url}/moved")
    await client.get("/redirected")
    assert [request.path for request in other.requests] == ["/elsewhere", "/moved"]
    assert "x-key" in server.requests[0].headers
    assert all("x-key" not in request.headers for request in other.requests)
    await other.close()


async def test_a_body_may_be_a_form_or_text_and_headers_win_whatever_their_case(client: Client, server: Server) -> None:
    await client.post("/", data={"a": "ä b", "n": 1})
    await client.put("/", content="<a/>", headers={"content-TYPE": "text/xml"})
    await client.request("PATCH", "/", content=b"\x00")
    form, text, raw = server.requests
    assert (form.body, form.headers["content-type"]) == (b"a=%C3%A4+b&n=1", "application/x-www-form-urlencoded")
    assert (text.body, text.headers["content-type"]) == (b"<a/>", "text/xml")
    assert (raw.body, "content-type" in raw.headers) == (b"\x00", False)


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (reply(401), AuthExpired, "127.0.0.1 answered 401 Unauthorized"),
        (reply(403, x_ratelimit_remaining="0"), RateLimited, "answered 403"),
        (reply(403, b"no\n  entry"), Permanent, "answered 403 Forbidden: no entry"),
        (reply(404, b"x" * 900), Permanent, "x" * 200),
        (reply(408), Transient, "answered 408"),
        (reply(425), Transient, "answered 425"),
        (reply(500), Transient, "answered 500"),
        (reply(418, b"\x00\x01"), Permanent, "answered 418 I'm a Teapot"),
        (reply(599), Transient, "answered 599"),
    ],
)
async def test_a_status_means_an_error(
    client: Client, server: Server, answer: bytes, kind: type[ConnectorError], message: str
) -> None:
    server.answer = answer
    with pytest.raises(kind) as failed:
        await client.get("/")
    assert type(failed.value) is kind
    assert message in str(failed.value)
    assert len(str(failed.value)) < 300


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ({"retry_after": "7"}, 7),
        ({"retry_after": "Thu, 01 Jan 2026 00:01:00 GMT"}, 60),
        ({"retry_after": "Thu, 01 Jan 2020 00:00:00 GMT"}, 0),
        ({"retry_after": "-5"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "9" * 40}, 30 * 86_400),
        ({"x_ratelimit_reset": "1767225660"}, 60),
        ({"x_ratelimit_reset": "30"}, 30),
        ({}, None),
    ],
)
async def test_a_service_says_how_long_to_leave_it_alone(
    client: Client, server: Server, headers: dict[str, str], after_s: float | None
) -> None:
    server.answer = reply(429, **headers)
    with pytest.raises(RateLimited) as limited:
        await client.get("/")
    assert limited.value.retry_after_s == after_s


async def test_statuses_that_are_fine_are_no_errors(client: Client, server: Server) -> None:
    server.answer = reply(404)
    assert (await client.delete("/a", ok=(404,))).status == 404
    server.answer = reply(500, b"oh")
    assert (await client.get("/a", ok="all")).text == "oh"


async def test_a_silent_server_leaves_a_change_in_doubt_and_a_reading_to_be_repeated(
    egress: Egress, clock: FakeClock, server: Server
) -> None:
    server.answer = lambda request: None
    client = Client(egress, clock, Route(service="Demo"), timeout_s=0.2, cursor={})
    with pytest.raises(Transient):
        await client.get(server.url)
    assert not client.changed
    with pytest.raises(Uncertain):
        await client.post(server.url)
    assert client.changed
    server.answer = reply(504)
    with pytest.raises(Uncertain):
        await client.post(server.url)


async def test_nothing_is_sent_when_the_time_is_over(client: Client, server: Server, clock: FakeClock) -> None:
    clock.advance(30_000)
    with pytest.raises(Transient, match="was over before"):
        await client.get("/")
    assert server.requests == []


async def test_a_path_without_a_base_is_no_address(egress: Egress, clock: FakeClock) -> None:
    with pytest.raises(Permanent, match="is not an address"):
        await Client(egress, clock, Route(service="Demo"), timeout_s=30, cursor={}).get("/a")


@pytest.mark.parametrize("body", [b"{", b"<html>", b"\xff", b"[" * 20_000])
async def test_an_answer_that_is_no_json_is_an_error_of_the_service(client: Client, server: Server, body: bytes) -> None:
    server.answer = reply(200, body)
    read, written = await client.get("/"), await client.post("/")
    with pytest.raises(Transient, match="is not JSON"):
        read.json()
    with pytest.raises(Uncertain, match="is not JSON"):
        written.json()


async def test_an_empty_answer_has_no_json(client: Client, server: Server) -> None:
    server.answer = reply(204)
    assert (await client.get("/")).json() is None
    server.answer = reply(200)
    assert (await client.post("/")).json() is None  # what was done need not be told
    with pytest.raises(Transient, match="the answer 200 is empty"):
        (await client.get("/")).json()


async def test_what_has_not_changed_is_not_sent_again(client: Client, server: Server, cursor: dict[str, Any]) -> None:
    def answer(request: Request) -> bytes:
        if request.headers.get("if-none-match") == '"1"':
            return reply(304)
        return reply(200, [1], etag='"1"', last_modified="Thu, 01 Jan 2026 00:00:00 GMT")

    server.answer = answer
    assert (await client.get("/feed", conditional=True)).json() == [1]
    again = await client.get("/feed", conditional=True)
    assert (again.status, again.json(), again.content) == (304, None, b"")
    assert server.requests[1].headers["if-modified-since"] == "Thu, 01 Jan 2026 00:00:00 GMT"
    assert (await client.get("/other", conditional=True)).json() == [1]
    assert len(cursor["_http"]) == 2


async def test_an_answer_without_a_state_of_its_own_leaves_no_trace(
    client: Client, server: Server, cursor: dict[str, Any]
) -> None:
    await client.get("/", conditional=True)
    assert cursor == {}


async def test_a_cursor_does_not_grow_for_ever(client: Client, server: Server, cursor: dict[str, Any]) -> None:
    server.answer = reply(200, etag='"1"')
    for number in range(60):
        await client.get(f"/{number}", conditional=True)
    assert len(cursor["_http"]) == 50


def _linked(request: Request) -> bytes:
    page = int(request.path.rpartition("=")[2]) if "=" in request.path else 1
    link = {"link": f'</api/list?page={page + 1}>; rel="next", </api/list>; rel="first"'} if page < 3 else {}
    return reply(200, [page], **link)


def _cursored(request: Request) -> bytes:
    page = int(request.path.rpartition("=")[2]) if "=" in request.path else 1
    return reply(200, {"data": {"items": [page]}, "meta": {"next": page + 1 if page < 3 else None}})


def _numbered(request: Request) -> bytes:
    page = int(request.path.rpartition("=")[2]) if "=" in request.path else 1
    return reply(200, [page, page] if page < 3 else [page])


def _offset(request: Request) -> bytes:
    start = int(request.path.rpartition("=")[2]) if "=" in request.path else 0
    return reply(200, list(range(start, min(start + 2, 5))))


@pytest.mark.parametrize(
    ("answer", "options", "items"),
    [
        (_linked, {"style": "link"}, [1, 2, 3]),
        (_cursored, {"style": "cursor", "items": "data.items", "cursor": "meta.next"}, [1, 2, 3]),
        (_numbered, {"style": "page", "size": 2}, [1, 1, 2, 2, 3]),
        (_offset, {"style": "offset", "size": 2}, [0, 1, 2, 3, 4]),
        (_linked, {"style": "link", "at_most": 2}, [1, 2]),
    ],
)
async def test_all_pages_are_read(
    client: Client, server: Server, answer: Any, options: dict[str, Any], items: list[int]
) -> None:
    server.answer = answer
    assert [item async for item in client.pages("/list", **options)] == items


async def test_an_answer_without_an_end_is_read_line_by_line(client: Client, server: Server) -> None:
    server.answer = reply(200, b'{"a":1}\n{"a":2}\n')
    async with client.stream("/feed", params={"x": 1}) as stream:
        assert [line async for line in stream.lines()] == ['{"a":1}', '{"a":2}']
    assert server.requests[0].path == "/api/feed?x=1"
    assert server.requests[0].headers["x-key"] == "canary-5ecret"
    server.answer = reply(404, b"no feed")
    with pytest.raises(Permanent, match="answered 404 Not Found: no feed"):
        async with client.stream("/feed"):
            pass


async def test_server_sent_events_go_on_where_they_were(client: Client, server: Server) -> None:
    server.answer = reply(200, b"id: 7\ndata: hello\n\n")
    events = [event async for event in client.sse("/events", last_id="6")]
    assert [(event.id, event.data) for event in events] == [("7", "hello")]
    assert server.requests[0].headers["last-event-id"] == "6"


async def test_a_server_that_speaks_no_websocket_is_said_not_to(client: Client, server: Server) -> None:
    server.answer = reply(404)
    with pytest.raises(ConnectorError):
        async with client.websocket("/socket"):
            pass
