"""`gotify`, against a server on the loopback that speaks the documented protocol: REST with tokens, and its WebSocket."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from areabox.errors import AuthExpired, Transient
from areabox.services.calls import Services
from areabox.services.connections import Connections
from tests.connectors.calls import following, label, listen, react
from tests.services.loopback import Connection, serving

APP, CLIENT = "AbcdefGhijklmno", "CbcdefGhijklmno"


class Gotify:
    """Messages are kept, and pushed to the open sockets; `drop()` ends these."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, Any]] = []
        self.sockets: list[asyncio.Queue[Any]] = []
        self.opened = asyncio.Event()

    async def __call__(self, connection: Connection) -> None:
        while True:
            request = await connection.read()
            parts = urlsplit(request.path)
            token = parse_qs(parts.query).get("token", [request.headers.get("x-gotify-key", "")])[0]
            body = msgspec.json.decode(request.body) if request.body else None
            self.asked.append((f"{request.method} {parts.path}", token, body))
            if parts.path == "/stream" and token == CLIENT:
                await self.stream(connection, request.headers["sec-websocket-key"])
            status, answer = self.answer(request.method, parts.path, token, body)
            await connection.answer(msgspec.json.encode(answer), status, "Content-Type: application/json\r\n")

    def answer(self, method: str, path: str, token: str, body: Any) -> tuple[str, Any]:
        match method, path:
            case "GET", "/version":
                return "200 OK", {"version": "2.7.3"}
            case "POST", "/message" if token == APP:
                return "200 OK", self.add(5, **body)
            case "GET", "/message" if token == CLIENT:
                return "200 OK", {"messages": self.kept[::-1], "paging": {"size": len(self.kept), "limit": 100, "since": 0}}
            case "GET", "/application" if token == CLIENT:
                return "200 OK", [{"id": 5, "name": "Backups", "token": APP}, {"id": 6, "name": "Doors", "token": "x"}]
            case "GET", "/current/user" if token == CLIENT:
                return "200 OK", {"id": 1, "name": "ann", "admin": True}
            case "DELETE", _ if token == CLIENT:
                known = any(path == f"/message/{one['id']}" for one in self.kept)
                return ("200 OK", None) if known else ("404 Not Found", {"error": "Not Found", "errorCode": 404})
        return "401 Unauthorized", {"error": "Unauthorized", "errorCode": 401, "errorDescription": "you need to provide a valid access token"}

    def add(self, application: int, **fields: Any) -> dict[str, Any]:
        message = {"id": len(self.kept) + 1, "appid": application, "date": "2026-01-01T12:00:00Z"} | fields
        self.kept.append(message)
        for socket in self.sockets:
            socket.put_nowait(message)
        return message

    async def stream(self, connection: Connection, key: str) -> None:
        accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
        head = f"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        await connection.send(head.encode())
        self.sockets.append(queue := asyncio.Queue())
        self.opened.set()
        while (message := await queue.get()) is not None:
            data = msgspec.json.encode(message)
            await connection.send(bytes([0x81, 126]) + len(data).to_bytes(2, "big") + data)
        raise ConnectionError

    def drop(self) -> None:
        for socket in self.sockets:
            socket.put_nowait(None)
        self.sockets.clear()
        self.opened.clear()


@pytest.fixture
async def gotify() -> AsyncIterator[Any]:
    made: Any = Gotify()
    async with serving(made) as server:
        made.url = server.url("")
        yield made


@pytest.fixture
async def account(gotify: Any, connections: Connections) -> str:
    return (await connections.create("ann", "gotify", {"url": gotify.url, "token": APP, "client": CLIENT}, name="a")).id


async def test_a_message_is_sent_with_everything(services: Services, gotify: Gotify, account: str) -> None:
    assert await react(services, "gotify.send", account, message="Hi") == {"id": 1, "application": 5, "date": "2026-01-01T12:00:00Z"}
    assert gotify.asked[0] == ("POST /message", APP, {"message": "Hi", "title": "", "priority": 5})
    await react(
        services, "gotify.send", account, message="**Hi**", title="T", priority=8, markdown=True, click="https://example.org/",
        image="https://example.org/i.png", extras={"home::door": {"open": True}},
    )  # fmt: skip
    assert gotify.asked[1][2] == {
        "message": "**Hi**", "title": "T", "priority": 8, "extras": {
            "client::display": {"contentType": "text/markdown"}, "home::door": {"open": True},
            "client::notification": {"click": {"url": "https://example.org/"}, "bigImageUrl": "https://example.org/i.png"},
        },
    }  # fmt: skip


async def test_a_message_is_deleted_and_one_that_is_gone_as_well(services: Services, gotify: Gotify, account: str) -> None:
    gotify.add(5, message="x")
    for id in (1, 9):
        assert await react(services, "gotify.delete", account, id=id) is None
    assert gotify.asked[0] == ("DELETE /message/1", CLIENT, None)


async def test_messages_come_by_the_socket_those_of_before_do_not(services: Services, gotify: Gotify, account: str) -> None:
    gotify.add(5, message="from before")
    async with listen(services, "gotify.message", None, account) as events:
        waiting = asyncio.create_task(following(events))
        await gotify.opened.wait()
        gotify.add(6, message="Open", title="Door", priority=7, extras={"a": 1})
        assert await waiting == {
            "id": "2", "application": 6, "message": "Open", "title": "Door", "priority": 7, "date": "2026-01-01T12:00:00Z",
            "extras": {"a": 1},
        }  # fmt: skip


async def test_after_a_break_what_was_missed_is_asked_for(services: Services, gotify: Gotify, account: str) -> None:
    cursor: dict[str, Any] = {}
    async with listen(services, "gotify.message", cursor, account, application="6") as events:
        waiting = asyncio.create_task(following(events))
        await gotify.opened.wait()
        gotify.add(6, message="1")
        assert (await waiting)["message"] == "1"
        gotify.drop()
        with pytest.raises((Transient, StopAsyncIteration)):
            await following(events)
    gotify.add(6, message="2")
    gotify.add(5, message="of another application")
    gotify.add(6, message="3")
    async with listen(services, "gotify.message", cursor, account, application="6") as events:
        assert [(await following(events))["message"] for _ in range(2)] == ["2", "3"]
        waiting = asyncio.create_task(following(events))
        gotify.add(6, message="4")
        assert (await waiting)["message"] == "4"


async def test_a_connection_is_named_after_its_user_or_its_server(services: Services, gotify: Any, account: str, connections: Connections) -> None:
    assert await label(services, account) == "ann"
    alone = (await connections.create("ann", "gotify", {"url": gotify.url, "token": APP}, name="b")).id
    assert await label(services, alone) == gotify.url
    wrong = (await connections.create("ann", "gotify", {"url": gotify.url, "client": "Cwrong"}, name="c")).id
    with pytest.raises(AuthExpired):
        await label(services, wrong)


async def test_applications_are_offered_by_name(services: Services, gotify: Gotify, account: str) -> None:
    found = await services.options("action", "gotify.message", "application", {}, owner="ann", connection=account, q="door")
    assert [(one.value, one.label) for one in found] == [("6", "Doors")]
