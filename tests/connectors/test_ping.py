"""`ping`, against real ports, pages, certificates and, where the system lets it, real echoes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from areabox.connectors import _echo, ping
from areabox.errors import Permanent, Transient
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from tests.connectors.calls import poll, react
from tests.services.loopback import serving
from tests.services.web import Server, reply
from tests.support import FakeClock


@pytest.fixture
def services(alone: Services) -> Services:
    return alone


class Port:
    """A port that is open or closed."""

    def __init__(self) -> None:
        self.number, self.server = 0, None

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.number}"

    async def open(self) -> None:
        self.server: Any = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", self.number)
        self.number = self.server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self.server.close()
        await asyncio.sleep(0)


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    made = Port()
    await made.open()
    yield made
    await made.close()


async def test_what_goes_down_fires_after_it_was_missed_in_a_row(
    services: Services, port: Port, clock: FakeClock
) -> None:
    cursor: dict[str, Any] = {}

    async def look() -> list[Any]:
        clock.advance(60_000)
        return await poll(services, "ping.down", cursor, target=port.target)

    assert await look() == []
    await port.close()
    assert await look() == []
    assert await look() == [
        {"id": "1-down", "target": port.target, "since": "2026-01-01T00:02:00Z",
         "error": f"{port.target} cannot be reached: connection refused"}
    ]  # fmt: skip
    assert await look() == []
    await port.open()
    assert await look() == []
    before = dict(cursor)
    assert await look() == []
    assert cursor == before  # nothing to write down
    await port.close()
    assert [await look(), (await look())[0]["id"]] == [[], "2-down"]


async def test_one_miss_is_none(services: Services, port: Port) -> None:
    cursor: dict[str, Any] = {}
    for _ in range(3):
        assert await poll(services, "ping.down", cursor, target=port.target) == []
        await port.close()
        assert await poll(services, "ping.down", cursor, target=port.target) == []
        await port.open()


async def test_what_comes_up_says_how_long_it_was_down(services: Services, port: Port, clock: FakeClock) -> None:
    cursor: dict[str, Any] = {}
    await poll(services, "ping.up", cursor, target=port.target)
    await port.close()
    for _ in range(3):
        assert await poll(services, "ping.up", cursor, target=port.target) == []
        clock.advance(30_000)
    await port.open()
    (event,) = await poll(services, "ping.up", cursor, target=port.target)
    assert 0 <= event.pop("ms") < 1000
    assert event == {"id": "1-up", "target": port.target, "since": "2026-01-01T00:00:00Z", "down_s": 90}


async def test_what_is_down_from_the_beginning_is_where_it_begins(services: Services, port: Port) -> None:
    cursor: dict[str, Any] = {}
    await port.close()
    for _ in range(3):
        assert await poll(services, "ping.down", cursor, target=port.target) == []
    assert cursor["state"] == "down"


@pytest.mark.parametrize(
    ("status", "up"), [(200, True), (204, True), (401, True), (403, True), (404, False), (500, False), (503, False)]
)
async def test_a_page_is_there_if_it_answers_well_or_asks_who_you_are(
    services: Services, server: Server, status: int, up: bool
) -> None:
    server.answer = reply(status)
    found = await react(services, "ping.check", target=server.url)
    assert (found["up"], found["error"]) == (up, "" if up else f"the status is {status}")


async def test_a_port_is_looked_at_now(services: Services, port: Port) -> None:
    found = await react(services, "ping.check", target=port.target)
    assert found.pop("ms") < 1000
    assert found == {"up": True, "error": ""}
    await port.close()
    assert (await react(services, "ping.check", target=port.target))["up"] is False


async def test_a_server_that_hangs_is_not_there(
    services: Services, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ping, "TRY_S", 0.05)
    server.answer = lambda request: None
    assert await react(services, "ping.check", target=server.url) == {"up": False, "ms": None, "error": "no answer"}


async def test_what_is_slow_in_a_row_fires_once_until_it_was_fast(services: Services, server: Server) -> None:
    cursor: dict[str, Any] = {}
    found = [await poll(services, "ping.slow", cursor, target=server.url, above="0ms", times=2) for _ in range(4)]
    assert [len(events) for events in found] == [0, 1, 0, 0]
    assert await poll(services, "ping.slow", cursor, target=server.url, above="10s", times=2) == []
    found = [await poll(services, "ping.slow", cursor, target=server.url, above="0ms", times=2) for _ in range(2)]
    assert [len(events) for events in found] == [0, 1]


async def test_where_nobody_may_ask_is_said_and_is_not_down(services: Services, catalogue: Catalogue) -> None:
    for target in ("http://169.254.169.254/", "10.0.0.1:22", "192.168.0.1"):
        with pytest.raises(Permanent, match="would allow it"):
            await react(services, "ping.check", target=target)


async def test_a_machine_at_home_may_be_asked_where_an_owner_typed_it(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[frozenset[str]] = []

    async def dial(host: str, port: int, *, timeout_s: float, literal_hosts: frozenset[str]) -> Any:
        asked.append(literal_hosts)
        raise Transient("not here")

    async def trusted(owner: str) -> bool:
        return owner == "ann"

    monkeypatch.setattr(services._egress, "dial", dial)
    monkeypatch.setattr(services._connections, "trusted", trusted)
    await poll(services, "ping.down", {}, target="NAS.home:22")
    assert asked == [frozenset({"nas.home"})]


@pytest.mark.parametrize("target", ["ftp://a", "a:b", "a:0", "a:99999", "", "a b", "http://"])
def test_what_is_no_target_is_said_when_the_area_is_stored(catalogue: Catalogue, target: str) -> None:
    operation = catalogue.action("ping.down")
    assert operation is not None
    assert [problem.pointer for problem in operation.check({"target": target, "every": "1m"})] == ["/target"]
    assert [problem.pointer for problem in operation.check({"target": "a", "every": "1s"})] == ["/every"]


@pytest.mark.parametrize(
    "target", ["nas", "nas.home", "nas:22", "192.168.1.1", "::1", "http://[::1]:80/a", "https://example.org"]
)
def test_targets_are_machines_ports_and_pages(catalogue: Catalogue, target: str) -> None:
    operation = catalogue.action("ping.down")
    assert operation is not None
    assert operation.check({"target": target}) == []


# -- echoes ------------------------------------------------------------------------------------------------------------


def test_the_checksum_is_that_of_the_standard() -> None:
    assert _echo._checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D  # RFC 1071, 3


def test_an_answer_is_known_with_its_ip_header_or_without() -> None:
    import socket

    token = b"t" * 16
    answer, own = b"\0" * 8 + token, b"\x08" + b"\0" * 7 + token
    header = b"\x45" + b"\0" * 19
    for data, right in (
        (answer, True),
        (header + answer, True),
        (header + own, False),
        (own, False),
        (answer[:-1] + b"x", False),
        (b"", False),
    ):
        assert _echo._answers(data, socket.AF_INET, 0, token) is right


async def test_this_machine_answers_an_echo() -> None:
    try:
        for address in ("127.0.0.1", "::1"):
            ms = await _echo.echo(address, 1.0)
            assert ms is not None or address == "::1"
    except PermissionError:
        pytest.skip("this system lets nobody ask")


async def test_a_machine_is_asked_by_icmp(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    async def echo(address: str, timeout_s: float) -> float | None:
        return 0.42 if address == "127.0.0.1" else None

    monkeypatch.setattr(_echo, "echo", echo)
    assert await react(services, "ping.check", target="127.0.0.1") == {"up": True, "ms": 0.4, "error": ""}
    assert await react(services, "ping.check", target="127.0.0.2") == {"up": False, "ms": None, "error": "no answer"}


async def test_a_machine_that_refuses_is_there_where_icmp_is_not_to_be_had(
    services: Services, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def echo(address: str, timeout_s: float) -> float | None:
        raise PermissionError

    monkeypatch.setattr(_echo, "echo", echo)
    await port.close()
    monkeypatch.setattr(ping, "PORTS", (port.number,))
    assert (await react(services, "ping.check", target="127.0.0.1"))["up"] is True


# -- certificates ------------------------------------------------------------------------------------------------------


@pytest.fixture
def certified(tmp_path: Path) -> Any:
    """Make a server's TLS context whose certificate is good for so many days from the fake now on."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nas.example.org")])

    def make(days: float, serial: int) -> ssl.SSLContext:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        made = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(serial)
            .not_valid_before(now - timedelta(days=90)).not_valid_after(now + timedelta(days=days)).sign(key, hashes.SHA256())
        )  # fmt: skip
        (tmp_path / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert.pem")
        return context

    return make


async def silent(connection: Any) -> None:
    await connection.reader.read()


async def test_a_certificate_that_runs_out_fires_and_again_shortly_before(
    services: Services, certified: Any, clock: FakeClock
) -> None:
    async with serving(silent, tls=certified(20.5, 4711)) as server:
        found = []
        for _ in range(23):
            found += await poll(services, "ping.certificate_expiring", {}, target=f"127.0.0.1:{server.port}", days=14)
            clock.advance(86_400_000)
    left = {event["id"]: event["days_left"] for event in found}
    assert [event["days_left"] for event in found] == list(range(14, -3, -1))
    assert list(left) == ["1267-14", "1267-7", "1267-3", "1267-1", "1267-0"]  # each fires once
    assert found[0] == {
        "id": "1267-14", "target": f"127.0.0.1:{server.port}", "subject": "nas.example.org", "issuer": "nas.example.org",
        "expires": "2026-01-21T12:00:00Z", "days_left": 14,
    }  # fmt: skip


async def test_a_server_without_a_certificate_says_so(
    services: Services, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ping, "TRY_S", 0.1)
    with pytest.raises(Transient, match="shows no certificate"):
        await poll(services, "ping.certificate_expiring", {}, target=server.url)
