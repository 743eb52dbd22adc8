"""`docker`, against a replay of the Engine API on a Unix socket; and who may reach a socket at all."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest

from areabox.clock import SystemClock
from areabox.errors import InputError, Permanent, Transient
from areabox.services.addresses import Refused
from areabox.services.calls import Services
from areabox.services.connections import Connections
from areabox.services.egress import Egress
from areabox.services.targets import socket_url
from tests.connectors.calls import following, label, listen, poll, react
from tests.services.loopback import Connection, Server, serving

WEB = {
    "Id": "4c01db0b339c" + "0" * 52, "Names": ["/web"], "Image": "nginx:1", "State": "running", "Status": "Up 2 hours (unhealthy)",
    "Labels": {"com.example.team": "a"},
}  # fmt: skip
JOB = {"Id": "5d" * 32, "Names": ["/job"], "Image": "job:latest", "State": "exited", "Status": "Exited (0) 3 days ago", "Labels": {}}


class Engine:
    """Containers, what happened to them, and what the registry has."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.news = asyncio.Event()
        self.digest = "sha256:one"

    async def __call__(self, connection: Connection) -> None:
        while True:
            request = await connection.read()
            parts = urlsplit(request.path)
            path = unquote(parts.path)
            self.asked.append(f"{request.method} {path}")
            assert request.headers["host"] == "localhost"
            if path == "/events":
                await self.stream(connection, parse_qs(parts.query))
            status, answer = self.answer(path)
            await connection.answer(msgspec.json.encode(answer) if answer is not None else b"", status)

    def answer(self, path: str) -> tuple[str, Any]:
        match path:
            case "/info":
                return "200 OK", {"Name": "box", "ServerVersion": "27.3.1"}
            case "/containers/json":
                return "200 OK", [WEB, JOB]
            case "/images/nginx:1/json":
                return "200 OK", {"Id": "sha256:i", "RepoDigests": ["nginx@sha256:one"]}
            case "/images/job:latest/json":
                return "200 OK", {"Id": "sha256:j", "RepoDigests": []}
            case "/distribution/nginx:1/json":
                return "200 OK", {"Descriptor": {"digest": self.digest, "size": 1}, "Platforms": []}
            case "/containers/web/start":
                return "304 Not Modified", None
            case "/containers/web/stop" | "/containers/web/restart":
                return "204 No Content", None
        return "404 Not Found", {"message": "No such container: none"}

    async def stream(self, connection: Connection, query: dict[str, list[str]]) -> None:
        (since,), (filters,) = query["since"], query["filters"]
        wanted = msgspec.json.decode(filters)
        assert wanted["type"] == ["container"]
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        while True:
            for event in self.events[sent:]:
                second, _, rest = since.partition(".")
                fits = event["timeNano"] >= int(second) * 1_000_000_000 + int(rest)
                if fits and event["Action"].partition(":")[0] in wanted["event"]:
                    line = msgspec.json.encode(event) + b"\n"
                    await connection.send(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            sent = len(self.events)
            self.news.clear()
            await self.news.wait()

    def happens(self, action: str, name: str = "web", **attributes: str) -> None:
        nano = (2_000_000_000 + len(self.events)) * 1_000_000_000
        actor = {"ID": WEB["Id"], "Attributes": {"name": name, "image": "nginx:1", "com.example.team": "a"} | attributes}
        self.events.append({"Type": "container", "Action": action, "Actor": actor, "time": nano // 1_000_000_000, "timeNano": nano})
        self.news.set()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "docker.sock")


@pytest.fixture
async def engine(path: str) -> AsyncIterator[Engine]:
    made, tasks = Engine(), set[Any]()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await made(Connection(reader, writer, Server()))
        writer.close()

    listener = await asyncio.start_unix_server(accept, path)
    yield made
    listener.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def connections(backend: Any, clock: Any, catalogue: Any, vault: Any) -> Connections:
    """Those of an admin."""

    async def trusted(owner: str) -> bool:
        return owner == "ann"

    return Connections(backend, clock, catalogue, vault, trusts=trusted)


@pytest.fixture
async def services(clock: Any, catalogue: Any, connections: Connections, path: str) -> AsyncIterator[Services]:
    egress = Egress(SystemClock(), allow=[ipaddress.ip_network("127.0.0.0/8")], sockets=[path])
    made = Services(clock, catalogue, connections, egress)
    yield made
    await made.close()
    egress.close()


@pytest.fixture
async def account(engine: Engine, path: str, connections: Connections) -> str:
    return (await connections.create("ann", "docker", {"socket": path}, name="d")).id


async def test_containers_are_listed(services: Services, account: str) -> None:
    assert await label(services, account) == "box (27.3.1)"
    found = (await react(services, "docker.list", account))["containers"]
    assert found[0] == {
        "name": "web", "image": "nginx:1", "state": "running", "status": "Up 2 hours (unhealthy)", "health": "unhealthy",
        "number": "4c01db0b339c", "labels": {"com.example.team": "a"},
    }  # fmt: skip
    assert (found[1]["name"], found[1]["health"]) == ("job", "")
    assert [one["name"] for one in (await react(services, "docker.list", account, state="exited"))["containers"]] == ["job"]


async def test_they_are_started_and_stopped_once(services: Services, engine: Engine, account: str) -> None:
    assert await react(services, "docker.start", account, container="web") == {"changed": False}
    assert await react(services, "docker.stop", account, container="web", wait=1) == {"changed": True}
    assert await react(services, "docker.restart", account, container="web") == {"changed": True}
    with pytest.raises(Permanent, match="there is no container none"):
        await react(services, "docker.start", account, container="none")


async def test_what_happens_is_told_also_what_was_missed(services: Services, engine: Engine, account: str) -> None:
    cursor: dict[str, Any] = {}
    async with listen(services, "docker.container_died", cursor, account, container="w*") as events:
        assert not await anext(events)
        engine.happens("die", exitCode="0")
        engine.happens("die", "other", exitCode="1")
        engine.happens("die", exitCode="137")
        assert await following(events) == {
            "id": "2000000002000000000 4c01db0b339c die", "container": "web", "image": "nginx:1", "exit_code": 137,
            "labels": {"com.example.team": "a"}, "number": "4c01db0b339c", "time": 2000000002000,
        }  # fmt: skip
    engine.happens("die", exitCode="2")
    async with listen(services, "docker.container_died", cursor, account) as events:
        assert [(await following(events))["exit_code"] for _ in range(2)] == [137, 2]  # the first is known by its id


@pytest.mark.parametrize(("action", "told"), [("container_started", "start"), ("container_unhealthy", "health_status: unhealthy")])
async def test_each_action_has_its_own_event(services: Services, engine: Engine, account: str, action: str, told: str) -> None:
    async with listen(services, f"docker.{action}", {}, account) as events:
        assert not await anext(events)
        engine.happens("health_status: healthy")
        engine.happens("die", exitCode="1")
        engine.happens(told)
        assert (await following(events))["id"].endswith(told)


async def test_an_image_is_news_when_the_registry_has_another(services: Services, engine: Engine, account: str) -> None:
    assert await poll(services, "docker.image_updated", {}, account) == []
    engine.digest = "sha256:two"
    assert await poll(services, "docker.image_updated", {}, account) == [
        {"id": "nginx:1 sha256:two", "image": "nginx:1", "digest": "sha256:two", "old": "sha256:one", "containers": ["web"]}
    ]
    assert "GET /distribution/job:latest/json" not in engine.asked  # built here


async def test_a_socket_needs_the_setting(engine: Engine, path: str, clock: Any, catalogue: Any, connections: Connections, account: str) -> None:
    egress = Egress(SystemClock())
    services = Services(clock, catalogue, connections, egress)
    with pytest.raises(Refused, match=f"{path} is a socket of this machine; AREABOX_SOCKETS_ALLOW={path} would allow it"):
        await react(services, "docker.list", account)
    await services.close()
    egress.close()


async def test_a_socket_needs_the_connection_of_an_admin(services: Services, engine: Engine, path: str) -> None:
    for url in (socket_url(path), socket_url(path) + "/containers/json"):
        with pytest.raises(InputError):
            await react(services, "http.request", url=url)
        with pytest.raises(Refused, match="only by a connection that an admin made"):
            hosts = frozenset({f"unix:{path}"[5:], path, url, f"%2f{path}"})
            await services._egress.request("GET", url, headers={}, content=None, timeout_s=5, literal_hosts=hosts, credentials=None)
    assert engine.asked == []


async def test_nobody_is_redirected_to_a_socket(services: Services, engine: Engine, path: str) -> None:
    async def elsewhere(connection: Connection) -> None:
        await connection.read()
        await connection.answer(status="302 Found", headers=f"Location: {socket_url(path)}/containers/json\r\n")

    async with serving(elsewhere) as server:
        with pytest.raises(Refused):
            await react(services, "http.request", url=server.url(), method="GET")
    assert engine.asked == []


async def test_the_connection_of_another_user_does_not_reach_it(services: Services, engine: Engine, path: str, connections: Connections) -> None:
    account = (await connections.create("bob", "docker", {"socket": path}, name="d")).id
    with pytest.raises(Refused, match="only by a connection that an admin made"):
        await label(services, account)
    assert engine.asked == []


async def test_an_engine_that_is_not_there_is_tried_again(services: Services, path: str, connections: Connections) -> None:
    account = (await connections.create("ann", "docker", {"socket": path}, name="d")).id
    with pytest.raises(Transient, match=f"{path} cannot be reached"):
        await react(services, "docker.list", account)
