"""G14: whatever an address is called, whoever redirects and however a name changes, areabox dials what its policy allows.

Counted twice: by the sockets that listen where nobody may go, and by Python's audit hook on `socket.connect`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import re
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

import areabox
from areabox.clock import SystemClock
from areabox.database.sqlite import SqliteBackend
from areabox.errors import ConnectorError, InputError
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from areabox.services.connections import Connections
from areabox.services.egress import Egress
from areabox.services.guarded import guarded_client
from areabox.services.vault import Vault
from tests.security import spellings
from tests.security.figures import FULL, amount, figure
from tests.support import FakeClock

ALLOWED = "127.0.0.99"  # the one address of this test that stands for the public internet
VICTIMS = ("127.0.0.1", "127.1.2.3", "::1")
HOSTS = spellings.hosts()
SOME = HOSTS if FULL else HOSTS[:: len(HOSTS) // 60]

_dialled: list[str] | None = None


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _dialled is not None and isinstance(args[1], tuple):
        _dialled.append(str(args[1][0]))


sys.addaudithook(_watch)  # it cannot be taken away again; it only listens inside `dialling`


@contextlib.contextmanager
def dialling() -> Any:
    global _dialled  # noqa: PLW0603 -- an audit hook has no other way to be reached
    _dialled = []
    try:
        yield _dialled
    finally:
        _dialled = None


class Net:
    """A port that is open at an allowed address and at forbidden ones, and a resolver that can be told to lie."""

    def __init__(self) -> None:
        self.location = ""
        self.reached = 0  # connections where nobody may go
        self.asked = 0  # requests at the allowed address
        self.table: dict[str, Callable[[], list[str]]] = {}
        self._servers: list[asyncio.Server] = []

    async def open(self) -> None:
        allowed = await asyncio.start_server(self._serve, ALLOWED, 0)
        self.port = allowed.sockets[0].getsockname()[1]
        self._servers = [allowed]
        for address in VICTIMS:
            with contextlib.suppress(OSError):
                self._servers.append(await asyncio.start_server(self._reached, address, self.port))

    def close(self) -> None:
        for server in self._servers:
            server.close()

    async def _reached(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached += 1
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.asked += 1
                length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0)
                await reader.readexactly(length)
                to = f"Location: {self.location}\r\n".encode() if self.location else b""
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n%b\r\nok" % (307 if to else 200, to))
        writer.close()

    async def resolve(self, host: str, port: int) -> list[str]:
        """Answer from the table, else as the machine's resolver reads addresses; names of the test are loopback."""
        if host in self.table:
            return self.table[host]()
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except OSError:
            if "localhost" in host or host in ("metadata.google.internal", "127.0.0.1.nip.example", "metadata", "router.lan"):
                return ["127.0.0.1", "::1"]
            raise
        return [str(entry[4][0]) for entry in found]


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    made = Net()
    await made.open()
    yield made
    made.close()


@pytest.fixture
async def clients(net: Net, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Clients]:
    backend = SqliteBackend(tmp_path / "areabox.db", clock, reserve_bytes=0)
    await backend.open()
    made = Clients(net, backend, clock)
    yield made
    await made.services.close()
    made.egress.close()
    await backend.close()


class Clients:
    """Every way by which something in areabox opens a connection to an address that somebody named."""

    def __init__(self, net: Net, backend: SqliteBackend, clock: FakeClock) -> None:
        self.net = net
        self.egress = Egress(SystemClock(), allow=[ipaddress.ip_network(f"{ALLOWED}/32")], limits_off=True, resolve=net.resolve)
        catalogue = Catalogue.discover()
        connections = Connections(backend, clock, catalogue, Vault(clock, {1: bytes(32)}))
        self.services = Services(clock, catalogue, connections, self.egress)
        self.typed: frozenset[str] = frozenset()
        self.ways: dict[str, Callable[[str], Awaitable[Any]]] = {
            "http.request": self.http, "rss": self.rss, "guarded client": self.guarded, "stream": self.stream,
            "websocket": self.websocket, "other protocols": self.other,
        }  # fmt: skip

    async def http(self, url: str) -> Any:
        return await self.services.react(
            "http.request", {"url": url, "method": "GET"}, owner="ann", connection=None, key="k", attempt=1, timeout_s=30.0,
            hosts_literal=self.typed,
        )  # fmt: skip

    async def rss(self, url: str) -> Any:
        return [one async for one in self.services.poll("rss.new_entry", {"feed": url}, owner="ann", connection=None, cursor={})]

    async def guarded(self, url: str) -> Any:
        async with guarded_client(self.egress, literal_hosts=self.typed) as client:
            return await client.get(url, follow_redirects=True)

    async def stream(self, url: str) -> Any:
        async with self.egress.stream(url, literal_hosts=self.typed, timeout_s=30) as stream:
            return stream.status_code

    async def websocket(self, url: str) -> Any:
        async with self.egress.websocket(url.replace("http", "ws", 1), literal_hosts=self.typed, timeout_s=30) as opened:
            return opened

    async def other(self, url: str) -> Any:
        """Dial as a connector of MQTT or mail does: what `addresses` gives."""
        host = url.partition("://")[2].rpartition("@")[2].rpartition(":")[0].strip("[]")
        for address in await self.egress.addresses(host, self.net.port, literal_hosts=self.typed):
            _, writer = await asyncio.open_connection(address, self.net.port)
            writer.close()

    async def try_(self, way: str, url: str) -> bool:
        """Send one request and return whether it was answered."""
        try:
            await self.ways[way](url)
        except (ConnectorError, InputError, httpx2.HTTPError, httpx2.InvalidURL, UnicodeError, OSError):
            return False
        return True


def outside(dialled: list[str]) -> list[str]:
    return [address for address in dialled if address != ALLOWED]


async def test_the_witnesses_see_what_is_dialled(net: Net, clients: Clients) -> None:
    """A proof that counts nothing has to be able to count."""
    clients.egress = clients.services._egress = Egress(SystemClock(), allow=[ipaddress.ip_network("0.0.0.0/0")], limits_off=True)  # type: ignore[assignment]
    with dialling() as dialled:
        for way in set(clients.ways) - {"websocket"}:
            await clients.try_(way, f"http://127.0.0.1:{net.port}/")
    assert len(dialled) >= 5
    assert net.reached >= 5


async def test_no_spelling_of_an_address_is_dialled(net: Net, clients: Clients) -> None:
    tried = 0
    with dialling() as dialled:
        for host, way in itertools.product(SOME, clients.ways):
            shown = f"[{host}]" if host.count(":") > 1 and "[" not in host else host
            clients.typed = frozenset()
            await clients.try_(way, f"http://{shown}:{net.port}/")
            tried += 1
        for host, way in itertools.product(spellings.FORBIDDEN, clients.ways):  # even if an owner wrote it
            clients.typed = frozenset({host, *SOME})
            await clients.try_(way, f"http://{host}:{net.port}/")
            tried += 1
    assert len(HOSTS) >= 300
    figure("G14", f"{len(SOME)} spellings × {len(clients.ways)} clients, {tried:,} tries: {len(outside(dialled))} connects outside the policy")
    assert outside(dialled) == []
    assert net.reached == 0


@pytest.mark.parametrize("public", [False, True], ids=["from an allowed address", "from a public address"])
async def test_no_redirect_leads_to_one(net: Net, clients: Clients, monkeypatch: pytest.MonkeyPatch, public: bool) -> None:
    """Behind a public redirect, not even what an owner typed is open."""
    if public:
        for module in ("egress", "guarded"):
            monkeypatch.setattr(f"areabox.services.{module}.is_public", lambda address: str(address) == ALLOWED)
        clients.typed = frozenset({*spellings.LOCAL, *(host.strip("[]") for host in SOME)})
    net.table["public.example.org"] = lambda: [ALLOWED]
    tried = 0
    with dialling() as dialled:
        for host, way in itertools.product(SOME, ("http.request", "rss", "guarded client", "stream", "websocket")):
            net.location = f"http://{host}:{net.port}/latest".replace("\t", "%09")
            await clients.try_(way, f"http://public.example.org:{net.port}/")
            tried += 1
    figure("G14", f"{tried:,} redirects: {len(outside(dialled))} connects outside the policy, {net.asked:,} requests inside")
    assert net.asked >= tried * 0.8  # those that a redirect would have led on were asked
    assert outside(dialled) == []
    assert net.reached == 0


REBINDINGS: list[tuple[str, Callable[[], Callable[[], list[str]]]]] = [
    ("the second answer", lambda: _in_turn([ALLOWED], ["127.0.0.1"])),
    ("the first answer", lambda: _in_turn(["127.0.0.1"], [ALLOWED])),
    ("every other answer", lambda: _in_turn([ALLOWED], ["127.0.0.1"], [ALLOWED], ["::1"], [ALLOWED], ["169.254.169.254"])),
    ("both at once", lambda: _in_turn([ALLOWED, "127.0.0.1"])),
    ("both at once, the other way round", lambda: _in_turn(["127.0.0.1", ALLOWED])),
    ("six", lambda: _in_turn([ALLOWED], ["::ffff:127.0.0.1"], ["::1"], ["64:ff9b::7f00:1"])),
    ("local", lambda: _in_turn([ALLOWED], ["10.0.0.1"], ["192.168.1.1", ALLOWED])),
    ("none", lambda: _in_turn([], [ALLOWED], [])),
]


def _in_turn(*answers: list[str]) -> Callable[[], list[str]]:
    turn = itertools.cycle(answers)
    return lambda: next(turn)


@pytest.mark.parametrize(("kind", "table"), REBINDINGS, ids=[kind for kind, _ in REBINDINGS])
async def test_a_name_that_changes_is_judged_at_every_connection(net: Net, clients: Clients, kind: str, table: Any) -> None:
    names = [f"r{number}.example.org" for number in range(amount(3, 20))]
    net.table |= {name: table() for name in names}
    tries = 0
    with dialling() as dialled:
        for name, way, _ in itertools.product(names, clients.ways, range(4)):
            net.location = "" if tries % 3 else f"http://{name}:{net.port}/again"
            await clients.try_(way, f"http://{name}:{net.port}/")
            for wire in list(clients.egress._transport._kept):
                wire.abort()  # so that the next one has to dial
            await asyncio.sleep(0)
            tries += 1
    figure("G14", f"rebinding ({kind}), {tries} tries: {len(outside(dialled))} connects outside the policy of {len(dialled)}")
    assert outside(dialled) == []
    assert net.reached == 0


async def test_the_machines_own_resolver_is_judged_in_the_same_way(clock: FakeClock) -> None:
    egress = Egress(SystemClock(), limits_off=True)
    with dialling() as dialled:
        for host in ("localhost", "localhost.", "0", "127.1", "0x7f.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "0177.0.0.1"):
            with pytest.raises(ConnectorError):
                await egress.request("GET", f"http://{host}:9/", timeout_s=30)
    egress.close()
    assert dialled == []


def test_nothing_else_in_the_house_opens_connections() -> None:
    """Only these files name what can dial; whoever adds one has to think of the policy first."""
    root = Path(areabox.__file__).parent
    means = re.compile(r"open_connection\((?!sock=)|create_connection\(|socket\.socket\(|urllib\.request|http\.client|AsyncClient\(|httpx2\.(get|post|Client|request|stream)\(|(?<!aio)smtplib|\brequests\.(?!html)|aiohttp|\.sock_connect|open_unix_connection")
    found = {str(path.relative_to(root)) for path in root.rglob("*.py") if means.search(path.read_text(encoding="utf-8"))}
    assert found <= {
        "services/transport.py",  # dials what was judged
        "services/dialling.py",  # the same for other protocols
        "connectors/_echo.py",  # ICMP, to addresses that ctx.addresses has judged
        "services/guarded.py",  # httpx2's client over the guard
        "connectors/_apprise_helper.py",  # Apprise dials by itself, in a process that only an admin's setting allows
        "deployment/sockets.py", "deployment/lifecycle.py", "deployment/check.py", "deployment/notify.py",  # listens; asks itself; tells systemd
        "deployment/local.py", "cli/client.py", "cli/call.py",  # the command line is a client of areabox, in one process or two
    }  # fmt: skip
