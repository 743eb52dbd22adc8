"""How the daemon lives: listen, say so, watch for signals, stop in order.

    sockets bound → the rest opened → READY=1 → serving, the watchdog fed while the database answers
    SIGTERM or SIGINT → STOPPING=1 → drain → requests end (≤ 3 s) → back to the caller, who closes the rest

The daemon owns the signals; uvicorn only speaks HTTP. A second signal ends the process at once, which loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol

import msgspec
import uvicorn

from areabox.deployment import certificates, sockets
from areabox.deployment.local import Asgi, local
from areabox.deployment.notify import Notifier
from areabox.deployment.settings import ServiceManager, Settings
from areabox.deployment.speaking import BoundedProtocol

log = logging.getLogger(__name__)

GRACE_HTTP_S = 3
KEEP_ALIVE_S = 60
STATUS_EVERY_S = 10.0
_CLOCK_EVERY_S = 1.0


class Daemon(Protocol):
    """What is served: the composition root, as far as start and stop know it."""

    @property
    def asgi(self) -> Asgi:
        """Return the HTTP side."""
        ...

    @property
    def hooks_asgi(self) -> Asgi:
        """Return the HTTP side of a listener that is for webhooks alone."""
        ...

    def status(self) -> str:
        """Return the line for `systemctl status`."""
        ...

    async def alive(self) -> None:
        """Raise if the database does not answer."""
        ...

    async def drain(self) -> None:
        """Begin nothing new and end open streams; what runs may go on."""
        ...


class _Server(uvicorn.Server):
    """uvicorn without its hands on signals, and without ten wake-ups a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopped = asyncio.Event()
        self.listening = asyncio.Event()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until stopped; whoever waits for the start is told of a failure, too."""
        try:
            await super().serve(sockets)
        finally:
            self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the daemon."""
        yield

    async def main_loop(self) -> None:
        """Keep the Date header fresh until stopped."""
        self.listening.set()
        while not self.stopped.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopped.wait(), _CLOCK_EVERY_S)


@contextlib.contextmanager
def bound(settings: Settings, manager: ServiceManager) -> Iterator[tuple[Settings, list[socket.socket]]]:
    """Take the address, before anything is opened; the settings come back with the port that it became.

    Raises `ConfigurationError` if the address cannot be used.
    """
    taken = sockets.inherited(manager.sockets) or sockets.tcp(settings.host, settings.port)
    try:
        name = taken[0].getsockname()
        port = name[1] if isinstance(name, tuple) else settings.port
        yield msgspec.structs.replace(settings, port=port), taken
    finally:
        for sock in taken:
            sock.close()


async def serve(
    daemon: Daemon,
    settings: Settings,
    manager: ServiceManager,
    taken: list[socket.socket],
    announce: Callable[[list[str]], None],
) -> None:
    """Serve on sockets that are bound, until a signal comes; `announce` gets the addresses once they answer."""
    notifier = Notifier(manager.notify_socket)
    stop = asyncio.Event()
    async with _listening(daemon, settings, taken):
        with _signals(stop):
            announce([_address(sock, tls=settings.tls_cert is not None) for sock in taken])
            notifier.ready(daemon.status())
            watch = asyncio.create_task(_watch(daemon, notifier, manager), name="watchdog")
            await stop.wait()
            log.info("stopping")
            notifier.stopping()
            watch.cancel()
            await daemon.drain()


@contextlib.asynccontextmanager
async def _listening(daemon: Daemon, settings: Settings, taken: list[socket.socket]) -> AsyncIterator[None]:
    """Answer on TCP and on the unix socket, and where webhooks have an address of their own; stop all in order."""
    path = sockets.unix_path(settings.data_dir, create=True)
    context = certificates.load(settings.tls_cert, settings.tls_key) if settings.tls_cert else None
    servers = [(_Server(_config(daemon.asgi, context)), taken)]
    if settings.hooks_listen:
        host, _, port = settings.hooks_listen.rpartition(":")
        servers.append((_Server(_config(daemon.hooks_asgi, context)), sockets.tcp(host.strip("[]"), int(port))))
    servers.append((_Server(_config(local(daemon.asgi))), [sockets.unix(path)]))
    tasks = [asyncio.create_task(server.serve(socks), name="http") for server, socks in servers]
    watch = asyncio.create_task(_renewed(context, settings), name="certificate")
    try:
        for server, _ in servers:
            await server.listening.wait()
        yield
    finally:
        path.unlink(missing_ok=True)
        watch.cancel()
        for server, _ in servers:
            server.stopped.set()
        await asyncio.gather(*tasks)


async def _renewed(context: ssl.SSLContext | None, settings: Settings) -> None:
    if context is not None and settings.tls_cert is not None:
        await certificates.Watch(context, settings.tls_cert, settings.tls_key).run()


class _Config(uvicorn.Config):
    """uvicorn's, with a TLS context that is made already."""

    context: ssl.SSLContext | None = None

    def load(self) -> None:
        """Load, and speak TLS with the context."""
        super().load()
        self.ssl = self.context


def _config(app: Asgi, context: ssl.SSLContext | None = None) -> uvicorn.Config:
    config = _Config(
        app,
        interface="asgi3",
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_HTTP_S,
    )
    config.context = context
    return config


def _address(sock: socket.socket, *, tls: bool = False) -> str:
    name = sock.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{name}"
    host, port = name[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{shown}:{port}"


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` at the first signal, end at once at the second."""
    loop = asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def heard() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    for number in caught:
        loop.add_signal_handler(number, heard)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


async def _watch(daemon: Daemon, notifier: Notifier, manager: ServiceManager) -> None:
    """Report while the database answers; a daemon that hangs stays silent, and systemd starts it anew."""
    every_s = min(manager.watchdog_s / 3, STATUS_EVERY_S) if manager.watchdog_s else STATUS_EVERY_S
    while manager.notify_socket:
        try:
            async with asyncio.timeout(max(every_s, 1.0)):
                await daemon.alive()
            notifier.alive()
            notifier.status(daemon.status())
        except Exception:
            log.exception("the database does not answer")
        await asyncio.sleep(every_s)
