"""`http.request`, against a real server."""

from __future__ import annotations

from typing import Any

import pytest

from areabox.errors import AuthExpired, InputError, Permanent, Transient, Uncertain
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from areabox.services.connections import Connections
from tests.services.web import Server, reply

KEY = "0123456789abcdef"


async def send(services: Services, server: Server, connection: str | None = None, **params: Any) -> Any:
    return await services.react(
        "http.request", {"url": f"{server.url}/a?x=1", **params}, owner="ann", connection=connection, key=KEY, attempt=1,
        timeout_s=params.pop("timeout_s", 30),
    )  # fmt: skip


async def test_it_posts_and_gives_what_came_back(services: Services, server: Server) -> None:
    server.answer = reply(201, {"id": 7}, x_request_id="r1")
    answer = await send(services, server, json={"on": True}, headers={"X-N": 5}, query={"y": [1, 2]})
    assert answer == {
        "status": 201,
        "headers": {"content-length": "8", "content-type": "application/json", "x-request-id": "r1"},
        "body": '{"id":7}',
        "json": {"id": 7},
    }
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/a?x=1&y=1&y=2")
    assert request.json == {"on": True}
    assert (request.headers["idempotency-key"], request.headers["x-n"]) == (KEY, "5")


@pytest.mark.parametrize(
    ("params", "body", "kind"),
    [
        ({"json": None}, b"null", "application/json"),
        ({"json": [1, "ä"]}, '[1,"ä"]'.encode(), "application/json"),
        ({"body": "ä"}, "ä".encode(), "text/plain; charset=utf-8"),
        ({"body": {"a": 1}}, b'{"a":1}', "text/plain; charset=utf-8"),
        ({"form": {"a": "b c", "n": 1}}, b"a=b+c&n=1", "application/x-www-form-urlencoded"),
        ({}, b"", None),
    ],
)
async def test_a_body_is_json_text_or_a_form(
    services: Services, server: Server, params: dict[str, Any], body: bytes, kind: str | None
) -> None:
    await send(services, server, **params)
    assert (server.requests[0].body, server.requests[0].headers.get("content-type")) == (body, kind)


@pytest.mark.parametrize(
    ("body", "json"),
    [
        (b'{"a": 1}', {"a": 1}), (b" [1]", [1]), (b"null", None), (b"12", 12), (b"", None), (b"hello", None),
        (b"<a/>", None), (b'{"a":', None), (b"\xff{", None), (b"false", False), (b"[" * 50_000, None),
    ],
)  # fmt: skip
async def test_json_is_null_where_the_body_is_none(services: Services, server: Server, body: bytes, json: Any) -> None:
    server.answer = reply(200, body)
    assert (await send(services, server, method="GET"))["json"] == json


async def test_errors_are_errors_unless_they_are_said_to_be_fine(services: Services, server: Server) -> None:
    server.answer = reply(404, b"no lamp here")
    with pytest.raises(Permanent, match="answered 404 Not Found: no lamp here"):
        await send(services, server)
    assert (await send(services, server, ok=[404, 410]))["status"] == 404
    server.answer = reply(503)
    with pytest.raises(Transient):
        await send(services, server, ok=[404])
    assert (await send(services, server, fail=False))["status"] == 503
    server.answer = reply(401)
    with pytest.raises(AuthExpired):
        await send(services, server)


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ({"method": "GET"}, Transient), ({"method": "PUT"}, Transient), ({"method": "DELETE"}, Transient),
        ({"method": "POST"}, Uncertain), ({"method": "PATCH"}, Uncertain), ({"method": "POST", "keyed": True}, Transient),
    ],
)  # fmt: skip
async def test_the_method_says_what_a_lost_answer_means(
    services: Services, server: Server, params: dict[str, Any], kind: type[Exception]
) -> None:
    server.answer = lambda request: None
    with pytest.raises(kind):
        await services.react(
            "http.request",
            {"url": server.url, **params},
            owner="ann",
            connection=None,
            key=KEY,
            attempt=1,
            timeout_s=0.1,
        )


def test_the_effect_is_known_before_it_is_tried(catalogue: Catalogue) -> None:
    operation = catalogue.reaction("http.request")
    assert operation is not None
    effects = {
        method: operation.effect_of({"url": "u", "method": method})
        for method in ("GET", "HEAD", "PUT", "DELETE", "POST", "PATCH")
    }
    assert effects == {
        "GET": "read", "HEAD": "read", "PUT": "idempotent", "DELETE": "idempotent", "POST": "once", "PATCH": "once",
    }  # fmt: skip
    assert operation.effect_of({"url": "u"}) == "once"
    assert operation.effect_of({"url": "u", "keyed": True}) == "keyed"
    assert operation.sentence_of({"method": "GET", "url": "https://example.org"}) == "GET https://example.org"


def test_a_request_has_one_body(catalogue: Catalogue) -> None:
    operation = catalogue.reaction("http.request")
    assert operation is not None
    problems = operation.check({"json": {"a": 1}, "body": "x"})
    assert [(p.pointer, p.detail) for p in problems] == [("/body", "a request has one body, and json is given, too")]
    assert operation.check({"json": None, "body": None}) == []


async def test_what_is_no_address_is_refused_before_anything_is_sent(services: Services, server: Server) -> None:
    for url in ("example.org", "file:///etc/passwd", "javascript:alert(1)", ""):
        with pytest.raises(InputError, match="/url"):
            await services.react(
                "http.request", {"url": url}, owner="ann", connection=None, key=KEY, attempt=1, timeout_s=30
            )


@pytest.mark.parametrize(
    ("way", "values", "header", "sent"),
    [
        ("token", {"key": "t0ken-5ecret"}, "authorization", "Bearer t0ken-5ecret"),
        ("basic", {"username": "ann", "password": "5ecret-5ecret"}, "authorization", "Basic YW5uOjVlY3JldC01ZWNyZXQ="),
        ("header", {"header": "X-Api-Key", "value": "t0ken-5ecret"}, "x-api-key", "t0ken-5ecret"),
    ],
)
async def test_a_connection_adds_its_secret_for_its_own_site_only(
    services: Services,
    connections: Connections,
    server: Server,
    way: str,
    values: dict[str, str],
    header: str,
    sent: str,
) -> None:
    other = Server()
    await other.open()
    made = await connections.create("ann", "http", {"site": server.url, **values}, auth=way)
    await send(services, server, made.id)
    await send(services, other, made.id)
    assert server.requests[0].headers[header] == sent
    assert header not in other.requests[0].headers
    await other.close()
