"""How the daemon starts, is watched, and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from areabox.deployment import lifecycle
from areabox.deployment.local import LOCAL, answers, in_use
from areabox.deployment.settings import ServiceManager, load
from areabox.deployment.sockets import unix_path
from areabox.errors import ConfigurationError


class FakeDaemon:
    """Answers every request with who the caller is taken for."""

    def __init__(self) -> None:
        self.drained = False
        self.broken = False
        self.hold: asyncio.Event | None = None

    async def asgi(self, scope, receive, send) -> None:
        if self.hold:
            await self.hold.wait()
        body = b"local" if scope["state"].get(LOCAL) else b"stranger"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    def status(self) -> str:
        return "2 areas"

    async def alive(self) -> None:
        if self.broken:
            raise OSError("disk gone")

    async def drain(self) -> None:
        self.drained = True
        if self.hold:
            self.hold.set()


@pytest.fixture
def settings(tmp_path: Path):
    return load({"port": "0"}, {"AREABOX_DATA_DIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})


@pytest.fixture
def systemd(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


@asynccontextmanager
async def serving(daemon, settings, manager=None):
    """Serve until the block ends, then stop by a signal as systemd does."""
    manager = manager or ServiceManager()
    addresses: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
    with lifecycle.bound(settings, manager) as (settings, taken):
        task = asyncio.create_task(lifecycle.serve(daemon, settings, manager, taken, addresses.set_result))
        await asyncio.wait([task, addresses], return_when=asyncio.FIRST_COMPLETED)
        try:
            yield addresses.result()[0]
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(30):
                await task


async def get(url: str, uds: Path | None = None) -> str:
    async with httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=uds and str(uds))) as http:
        return (await http.get(url)).text


async def test_it_answers_on_tcp_and_on_the_unix_socket_and_tells_them_apart(settings):
    async with serving(FakeDaemon(), settings) as address:
        assert await get(address) == "stranger"
        assert await get("http://localhost", unix_path(settings.data_dir)) == "local"


def test_a_port_of_nought_becomes_the_one_that_was_free(settings):
    with lifecycle.bound(settings, ServiceManager()) as (found, taken):
        assert found.port == taken[0].getsockname()[1] > 0


async def test_only_its_user_may_open_the_unix_socket(settings):
    async with serving(FakeDaemon(), settings):
        path = unix_path(settings.data_dir)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert answers(path)
    assert not path.exists()
    assert not answers(path)


async def test_a_socket_that_a_killed_daemon_left_is_replaced(settings):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as old:
        old.bind(str(unix_path(settings.data_dir)))
    async with serving(FakeDaemon(), settings):
        assert answers(unix_path(settings.data_dir))


async def test_systemd_hears_of_every_change(settings, systemd):
    manager = ServiceManager(notify_socket=systemd.getsockname(), watchdog_s=30)
    async with serving(FakeDaemon(), settings, manager) as address:
        await get(address)
        await asyncio.sleep(0)
    heard = [message.decode() for message in drain(systemd)]
    assert heard[0] == "READY=1\nSTATUS=2 areas"
    assert "WATCHDOG=1" in heard
    assert heard[-1] == "STOPPING=1\nSTATUS=stopping"


async def test_the_watchdog_hears_nothing_while_the_database_does_not_answer(settings, systemd, caplog):
    daemon = FakeDaemon()
    daemon.broken = True
    manager = ServiceManager(notify_socket=systemd.getsockname(), watchdog_s=30)
    async with serving(daemon, settings, manager) as address:
        await get(address)
    assert b"WATCHDOG=1" not in drain(systemd)
    assert "the database does not answer" in caplog.text


async def test_a_stop_drains_first_and_lets_requests_end(settings):
    daemon = FakeDaemon()
    daemon.hold = asyncio.Event()
    async with serving(daemon, settings) as address:
        request = asyncio.create_task(get(address))
        while not daemon.hold._waiters:
            await asyncio.sleep(0)
    assert daemon.drained
    assert await request == "stranger"


async def test_a_port_in_use_is_refused_in_words(settings, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        busy = load({"port": port}, {"AREABOX_DATA_DIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})
        with pytest.raises(ConfigurationError, match=f"port {port} on 127.0.0.1 cannot be used"):
            async with serving(FakeDaemon(), busy):
                pass


async def test_a_host_that_is_none_is_refused_in_words(tmp_path):
    odd = load({"host": "256.0.0.1"}, {"AREABOX_DATA_DIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})
    with pytest.raises(ConfigurationError, match=r"host '256\.0\.0\.1' is no address of this machine"):
        async with serving(FakeDaemon(), odd):
            pass


def test_a_long_data_directory_gets_a_socket_elsewhere(tmp_path):
    folder = tmp_path / ("x" * 120)
    path = unix_path(folder, create=True)
    assert len(str(path)) < 100
    assert path == unix_path(folder)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.parent.rmdir()


def test_the_lock_of_a_database_tells_whether_it_is_in_use(tmp_path):
    import fcntl

    database = tmp_path / "areabox.db"
    assert not in_use(database)
    with Path(f"{database}.lock").open("w") as lock:
        assert not in_use(database)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert in_use(database)


def drain(sock: socket.socket) -> list[bytes]:
    messages = []
    while True:
        try:
            messages.append(sock.recv(4096))
        except BlockingIOError:
            return messages
