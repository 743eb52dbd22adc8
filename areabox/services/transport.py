"""How does a request reach an address that was judged? Connections are made, kept and used again here.

    resolve → judge every address → dial a judged one → check that it is not areabox itself → send → whole answer

A connection that is kept is only used by requests with the same rights as the one that it was made for: what one area
may reach, another may not. `NotSent` and `NoAnswer` tell whether anything of the request left this machine, which
decides about repeating it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from collections import deque

import msgspec

from areabox.services.addresses import Address, Policy, Rights
from areabox.services.resolver import Resolve
from areabox.services.targets import Target
from areabox.services.tls import Trust
from areabox.services.wire import NotSent, Stale, Wire

KEEP_S = 55.0
KEEP_UNSAFE_S = 4.0  # common servers close after 5 s; a POST that crosses the close would be in doubt
KEEP_AT_MOST = 128
_SWEEP_S = 5.0
_HERE = ipaddress.ip_address("127.0.0.1")
_NEXT_ADDRESS_S = 0.25  # RFC 8305: an address that does not answer must not hold up the next one

Key = tuple[str, str, int, str, bool, bool]


class Exchange(msgspec.Struct):
    """One request as it goes out. `repeatable`: sending it twice is as good as once; `trust` names a certificate.

    `sent` becomes True when it begins to leave this machine.
    """

    target: Target
    key: Key
    head: bytes
    body: bytes
    head_only: bool
    repeatable: bool
    limit: int | None
    rights: Rights
    streaming: bool = False
    upgrade: bool = False
    trust: str = ""
    sent: bool = False


class Transport:
    """The connections of one process."""

    def __init__(self, policy: Policy, resolve: Resolve) -> None:
        self._policy = policy
        self._resolve = resolve
        self._trust = Trust()
        self._idle: dict[Key, list[Wire]] = {}  # the one that was used last stands last
        self._kept: dict[Wire, Key] = {}  # the same ones, the longest idle first
        self._busy: set[Wire] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, exchange: Exchange) -> Wire:
        """Send a request; return the wire with its answer, which must be given back by `release`.

        Raises `NotSent` or `NoAnswer` (or `TooLarge`, `Refused`). A kept connection that turns out to be dead is
        replaced by a fresh one, if the request may be repeated.
        """
        wire = self._take(exchange)
        if wire is not None:
            try:
                return await self._exchange(wire, exchange)
            except Stale:
                if not exchange.repeatable:
                    raise
        return await self._exchange(await self._connect(exchange), exchange)

    def release(self, wire: Wire, exchange: Exchange) -> None:
        """Give a wire back after its answer was read, or was not."""
        self._busy.discard(wire)
        if not wire.finish() or self._closed:
            wire.abort()
            return
        if len(self._kept) >= KEEP_AT_MOST:
            self._forget(oldest := next(iter(self._kept)))
            oldest.abort()
        loop = asyncio.get_running_loop()
        wire.idle_since_s = loop.time()
        self._idle.setdefault(exchange.key, []).append(wire)
        self._kept[wire] = exchange.key
        if self._sweeper is None:
            self._sweeper = loop.call_later(_SWEEP_S, self._sweep)

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for wire in [*self._busy, *self._kept]:
            wire.abort()

    async def _exchange(self, wire: Wire, exchange: Exchange) -> Wire:
        self._busy.add(wire)
        if exchange.streaming:
            _watch(wire)
        exchange.sent = True
        try:
            return await wire.start(
                exchange.head,
                exchange.body,
                head_only=exchange.head_only,
                limit=exchange.limit,
                streaming=exchange.streaming,
                upgrade=exchange.upgrade,
            )
        except BaseException:
            self._busy.discard(wire)
            wire.finish()
            wire.abort()
            raise

    # -- kept connections

    def _take(self, exchange: Exchange) -> Wire | None:
        wires = self._idle.get(exchange.key)
        if not wires:
            return None
        now_s = asyncio.get_running_loop().time()
        while wires:
            wire = wires.pop()
            del self._kept[wire]
            if not wires:
                del self._idle[exchange.key]
            idle_s = now_s - wire.idle_since_s
            if idle_s < _keep_s(wire, repeatable=exchange.repeatable) and wire.quiet():
                return wire
            wire.abort()
        return None

    def _gone(self, wire: Wire) -> None:
        self._busy.discard(wire)
        if wire in self._kept:
            self._forget(wire)

    def _forget(self, wire: Wire) -> None:
        key = self._kept.pop(wire)
        wires = self._idle[key]
        wires.remove(wire)
        if not wires:
            del self._idle[key]

    def _sweep(self) -> None:
        self._sweeper = None
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        for wire in self._kept:
            if now_s - wire.idle_since_s >= _keep_s(wire, repeatable=True):
                wire.abort()
        if self._kept:
            self._sweeper = loop.call_later(_SWEEP_S, self._sweep)

    # -- fresh connections

    async def _connect(self, exchange: Exchange) -> Wire:
        target = exchange.target
        if target.socket:
            return await self._dial_socket(target, exchange.rights)
        context = await self._trust.context(exchange.trust) if target.scheme == "https" else None
        addresses = await self.addresses(target.host, target.port, exchange.rights)
        wire = await self._dial_any(target, addresses, context)
        try:
            self._check_peer(wire, target, exchange)
        except BaseException:
            wire.abort()
            raise
        return wire

    async def addresses(self, host: str, port: int, rights: Rights, *, http: bool = True) -> list[Address]:
        """Return the addresses of a host that may be dialled; raises `NotSent` without any, `Refused` by the policy."""
        try:
            resolved = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise NotSent(f"no address is known for {host}: {getattr(error, 'strerror', None) or error}") from error
        if not resolved:
            raise NotSent(f"no address is known for {host}")
        return self._policy.choose(host, port, resolved, rights, http=http)

    def _check_peer(self, wire: Wire, target: Target, exchange: Exchange) -> None:
        transport = wire.transport
        if transport is None or transport.is_closing():
            raise NotSent(f"{target.authority} closed the connection at once")
        local, peer = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if local and peer:
            self._policy.check_own(str(local[0]), str(peer[0]), target.port)
        self._trust.check(exchange.trust, target.authority, transport)

    async def _dial_any(self, target: Target, addresses: list[Address], context: ssl.SSLContext | None) -> Wire:
        """Dial the addresses one after the other, each with a short start before the next; the first to answer wins."""
        waiting = deque(addresses)
        dialling: set[asyncio.Task[Wire]] = set()
        errors: list[BaseException] = []
        try:
            while waiting or dialling:
                if waiting:
                    dialling.add(asyncio.ensure_future(self._dial(target, waiting.popleft(), context)))
                pause_s = _NEXT_ADDRESS_S if waiting else None
                done, _ = await asyncio.wait(dialling, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                dialling -= (lost := {task for task in done if task.exception() is not None})
                errors += [error for task in lost if (error := task.exception()) is not None]
                if done - lost:
                    winner = (done - lost).pop()
                    dialling.discard(winner)
                    return winner.result()
        finally:
            for task in dialling:
                task.cancel()
                task.add_done_callback(_drop)
        raise NotSent(f"{target.authority} cannot be reached: {_reason(errors[0])}") from errors[0]

    async def _dial_socket(self, target: Target, rights: Rights) -> Wire:
        """Connect to a Unix socket that was allowed; to the rest of areabox its answers come from the loopback."""
        self._policy.check_socket(target.socket, rights)
        make = lambda: Wire(target.authority, _HERE, self._gone)
        try:
            _, wire = await asyncio.get_running_loop().create_unix_connection(make, target.socket)
        except OSError as error:
            raise NotSent(f"{target.authority} cannot be reached: {_reason(error)}") from error
        return wire

    async def _dial(self, target: Target, address: Address, context: ssl.SSLContext | None) -> Wire:
        _, wire = await asyncio.get_running_loop().create_connection(
            lambda: Wire(target.authority, address, self._gone),
            str(address),
            target.port,
            ssl=context,
            server_hostname=target.host if context is not None else None,
        )
        return wire


def key_of(target: Target, rights: Rights, trust: str = "") -> Key:
    """Return what requests must have in common to use the same connections."""
    typed = rights.typed(target.host, target.port)
    return target.scheme, target.host, target.port, trust, typed, rights.public_only


def _keep_s(wire: Wire, *, repeatable: bool) -> float:
    if wire.keep_s is not None:
        return min(wire.keep_s, KEEP_S)
    return KEEP_S if repeatable else KEEP_UNSAFE_S


def _watch(wire: Wire) -> None:
    """Let the system notice within two minutes if the other side of a silent connection is gone."""
    sock = wire.transport.get_extra_info("socket") if wire.transport is not None else None
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)


def _drop(task: asyncio.Task[Wire]) -> None:
    """Close a connection that came too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().abort()


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"no secure connection ({error.reason or error})"
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__
