"""ntfy, against a server on the loopback that speaks the documented protocol: publishing as JSON, streams with `since`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from areabox.errors import AuthExpired, InputError, Permanent, Transient
from areabox.services.calls import Services
from areabox.services.connections import Connections
from tests.connectors.calls import following, label, listen, react
from tests.services.loopback import Connection, serving

TOKEN = "tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2"


class Ntfy:
    """Messages are kept and streamed; `drop()` ends all streams."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.streams: list[tuple[set[str], asyncio.Queue[Any]]] = []
        self.opened = asyncio.Event()

    async def __call__(self, connection: Connection) -> None:
        while True:
            request = await connection.read()
            self.asked.append(
                (
                    f"{request.method} {request.path}",
                    request.headers,
                    request.body and msgspec.json.decode(request.body),
                )
            )
            parts = urlsplit(request.path)
            if request.headers.get("authorization") not in (None, f"Bearer {TOKEN}"):
                await self.reply(connection, "401 Unauthorized", {"code": 40101, "http": 401, "error": "unauthorized"})
            elif parts.path == "/v1/account":
                known = request.headers.get("authorization") is not None
                await self.reply(connection, "200 OK", {"username": "ann" if known else "*", "role": "user"})
            elif request.method == "DELETE":
                await self.reply(connection, "200 OK", {"event": "message_delete"})
            elif request.method == "POST":
                await self.publish(connection, msgspec.json.decode(request.body))
            else:
                await self.stream(connection, set(parts.path.split("/")[1].split(",")), parse_qs(parts.query))

    async def reply(self, connection: Connection, status: str, value: Any) -> None:
        await connection.answer(msgspec.json.encode(value), status, "Content-Type: application/json\r\n")

    async def publish(self, connection: Connection, body: dict[str, Any]) -> None:
        if body["topic"] == "forbidden":
            await self.reply(connection, "403 Forbidden", {"code": 40301, "error": "forbidden"})
            return
        await self.reply(connection, "200 OK", self.add(**body))

    def add(self, **fields: Any) -> dict[str, Any]:
        message = {
            "id": f"m{len(self.kept):011}",
            "time": 1767225600 + len(self.kept),
            "expires": 1767268800,
            "event": "message",
        } | fields
        self.kept.append(message)
        for topics, queue in self.streams:
            if message["topic"] in topics:
                queue.put_nowait(message)
        return message

    async def stream(self, connection: Connection, topics: set[str], query: dict[str, list[str]]) -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson; charset=utf-8\r\n\r\n")
        await self.line(
            connection, {"id": "o", "time": 1767225600 + len(self.kept), "event": "open", "topic": ",".join(topics)}
        )
        ids = [message["id"] for message in self.kept]
        if since := query.get("since", [""])[0]:
            later = (
                self.kept[ids.index(since) + 1 :]
                if since in ids
                else [m for m in self.kept if since.isdigit() and m["time"] >= int(since)]
            )
            for message in later:
                queue.put_nowait(message)
        self.streams.append((topics, queue))
        self.opened.set()
        with suppress(asyncio.QueueEmpty):
            while (message := await queue.get()) is not None:
                await self.line(connection, message)
        raise ConnectionError

    async def line(self, connection: Connection, message: dict[str, Any]) -> None:
        await connection.send(msgspec.json.encode(message) + b"\n")

    def keepalive(self) -> None:
        for topics, queue in self.streams:
            queue.put_nowait({"id": "k", "time": 1, "event": "keepalive", "topic": ",".join(topics)})

    def drop(self) -> None:
        for _, queue in self.streams:
            queue.put_nowait(None)
        self.streams.clear()
        self.opened.clear()


@pytest.fixture
async def ntfy() -> AsyncIterator[Ntfy]:
    made = Ntfy()
    async with serving(made) as server:
        made.url = server.url("")  # type: ignore[attr-defined]
        yield made


@pytest.fixture
async def account(ntfy: Any, connections: Connections) -> str:
    return (await connections.create("ann", "ntfy", {"url": ntfy.url, "token": TOKEN}, name="phone")).id


async def test_a_message_is_pushed(services: Services, ntfy: Ntfy, account: str) -> None:
    found = await react(services, "ntfy.publish", account, topic="alerts", message="The door is open")
    assert found == {
        "id": "m00000000000",
        "topic": "alerts",
        "time": "2026-01-01T00:00:00Z",
        "expires": "2026-01-01T12:00:00Z",
    }
    path, headers, body = ntfy.asked[0]
    assert (path, body) == ("POST /", {"topic": "alerts", "message": "The door is open", "priority": 3})
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert "x-cache" not in headers


async def test_everything_that_ntfy_offers_is_sent_as_it_names_it(services: Services, ntfy: Ntfy, account: str) -> None:
    button = {"action": "http", "label": "Close", "url": "https://example.org/close", "method": "PUT", "clear": True}
    given = {
        "topic": "alerts", "message": "**Hi**", "title": "Door", "priority": "5", "tags": ["door"], "click": "https://example.org/a",
        "attach": "https://example.org/a.jpg", "filename": "a.jpg", "icon": "https://example.org/i.png", "markdown": True,
        "actions": [button], "delay": "30m", "email": "ann@example.org", "call": "yes",
    }  # fmt: skip
    await react(services, "ntfy.publish", account, **given, sequence="door", cache=False, firebase=False)
    _, headers, body = ntfy.asked[0]
    assert body == given | {"priority": 5, "sequence_id": "door"}
    assert (headers["x-cache"], headers["x-firebase"]) == ("no", "no")


async def test_a_notification_is_taken_back(services: Services, ntfy: Ntfy, account: str) -> None:
    assert await react(services, "ntfy.delete", account, topic="alerts", sequence="door") is None
    assert ntfy.asked[0][0] == "DELETE /alerts/door"


async def test_what_is_refused_says_why(services: Services, ntfy: Any, account: str, connections: Connections) -> None:
    with pytest.raises(Permanent, match="403 Forbidden"):
        await react(services, "ntfy.publish", account, topic="forbidden", message="x")
    wrong = (await connections.create("ann", "ntfy", {"url": ntfy.url, "token": "tk_wrong"}, name="wrong")).id
    with pytest.raises(AuthExpired):
        await react(services, "ntfy.publish", wrong, topic="alerts", message="x")
    for bad in ({"topic": "a b"}, {"priority": 6}, {"actions": [{"label": "x"}]}):
        with pytest.raises(InputError):
            await react(services, "ntfy.publish", account, **({"topic": "a", "message": "x"} | bad))


async def test_a_connection_is_named_after_the_account_or_the_server(
    connections: Connections, services: Services, ntfy: Any, account: str
) -> None:
    assert await label(services, account) == "ann"
    nobody = (await connections.create("ann", "ntfy", {"url": ntfy.url}, name="open")).id
    assert await label(services, nobody) == ntfy.url


async def test_messages_come_by_the_stream_with_all_their_fields(services: Services, ntfy: Ntfy, account: str) -> None:
    ntfy.add(topic="alerts", message="from before")
    async with listen(services, "ntfy.message", None, account, topic="alerts,doors") as events:
        waiting = asyncio.create_task(following(events))
        await ntfy.opened.wait()
        ntfy.keepalive()
        ntfy.add(topic="other", message="not asked for")
        ntfy.add(
            topic="doors",
            message="open",
            title="Door",
            priority=4,
            tags=["door"],
            click="https://example.org/",
            attachment={"name": "a.jpg", "url": "https://example.org/a.jpg", "expires": 1},
        )
        assert await waiting == {
            "id": "m00000000002", "topic": "doors", "message": "open", "title": "Door", "priority": 4, "tags": ["door"],
            "click": "https://example.org/", "time": "2026-01-01T00:00:02Z",
            "attachment": {"name": "a.jpg", "url": "https://example.org/a.jpg", "type": "", "size": None},
        }  # fmt: skip
        ntfy.add(topic="alerts", message="plain")
        assert (await following(events))["message"] == "plain"


async def test_after_a_break_what_was_missed_is_asked_for(services: Services, ntfy: Ntfy, account: str) -> None:
    cursor: dict[str, Any] = {}
    async with listen(services, "ntfy.message", cursor, account, topic="alerts") as events:
        waiting = asyncio.create_task(following(events))
        await ntfy.opened.wait()
        ntfy.drop()
        with pytest.raises((Transient, StopAsyncIteration)):
            await waiting
    assert cursor == {"since": "1767225600"}
    for text in ("missed 1", "missed 2"):
        ntfy.add(topic="alerts", message=text)
    async with listen(services, "ntfy.message", cursor, account, topic="alerts") as events:
        assert [(await following(events))["message"] for _ in range(2)] == ["missed 1", "missed 2"]
        ntfy.drop()
    ntfy.add(topic="alerts", message="missed 3")
    async with listen(services, "ntfy.message", cursor, account, topic="alerts") as events:
        assert (await following(events))["message"] == "missed 3"


async def test_the_server_filters(services: Services, ntfy: Ntfy, account: str) -> None:
    ntfy.kept.append({"id": "x", "time": 9_999_999_999, "event": "message", "topic": "a", "message": "m"})
    async with listen(
        services, "ntfy.message", {"since": "5"}, account, topic="a", priority=[4, 5], tags=["door", "front"]
    ) as events:
        await following(events)
    assert ntfy.asked[-1][0] == "GET /a/json?priority=4%2C5&tags=door%2Cfront&since=5"
