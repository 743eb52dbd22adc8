"""How does anything in areabox speak HTTP to the outside? By one guarded client, and by no other.

    gate (slots, pauses, breaker) → transport (address policy, connections) → redirects → bounded body

Every request has a total deadline, a largest answer and rights: public addresses always, hosts of the local network if
a person typed them, all others by AREABOX_EGRESS_ALLOW. Proxies and other settings of the environment are not looked
at. What comes back is an `httpx2.Response` that is read already.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import httpx2
import msgspec

from areabox.clock import Clock
from areabox.errors import Permanent
from areabox.services import bodies, dialling, redirects, targets, websockets
from areabox.services.addresses import Address, Network, Policy, Rights, is_public
from areabox.services.deadlines import Deadlines
from areabox.services.limits import Limits, parse_retry_after
from areabox.services.redirects import Hop
from areabox.services.resolver import Resolve, Resolver
from areabox.services.streams import Stream
from areabox.services.targets import Headers, Target, Targets, value_of
from areabox.services.tls import Trust
from areabox.services.transport import Exchange, Transport, key_of
from areabox.services.websockets import WebSocket
from areabox.services.wire import Header, NoAnswer, NotSent, Wire

TIMEOUT_S = 30.0
MAX_BYTES = 10 << 20
_NOTHING: frozenset[str] = frozenset()


class Credentials(msgspec.Struct, frozen=True):
    """Headers that go to these hosts only, looked at anew for every hop. A host is `name`, `name:port` or `*.name`.

    A redirect from https to http does not get them.
    """

    headers: tuple[tuple[str, str], ...]
    hosts: frozenset[str]

    def fit(self, target: Target, first: Target) -> bool:
        """Tell whether they may go to this host, in a chain that began at `first`."""
        if target.scheme != "https" and first.scheme == "https":
            return False
        host = target.host
        if host in self.hosts or f"{host}:{target.port}" in self.hosts:
            return True
        parts = host.split(".")
        return any("*." + ".".join(parts[index:]) in self.hosts for index in range(1, len(parts)))


class Reply(httpx2.Response):
    """An answer that has been read whole and opened; `request` is made when somebody asks for it.

    `address` is where it came from.
    """

    def __init__(
        self, method: str, url: str, status: int, headers: list[Header], body: bytes, address: Address
    ) -> None:
        super().__init__(status, headers=headers, stream=httpx2.ByteStream(body))
        self._content = body  # what aread() would leave behind, without opening the body a second time
        self.is_closed = self.is_stream_consumed = True
        self._asked = (method, url)
        self.address = address

    @property
    def text(self) -> str:
        """Return the body as text: UTF-8, unless it says otherwise."""
        kind = value_of(self.headers.raw, b"content-type")
        if kind is not None and b"charset" in kind.lower():
            return super().text
        return self._content.decode("utf-8", "replace")

    @property
    def request(self) -> httpx2.Request:
        """Return the request that this answers: the last one, if there were redirects."""
        if self._request is None:
            self._request = httpx2.Request(*self._asked)
        return self._request

    @request.setter
    def request(self, value: httpx2.Request) -> None:
        self._request = value


class _Order(msgspec.Struct):
    """What holds for all hops of one request, and the exchange that is under way."""

    first: Target
    credentials: Credentials | None
    repeatable: bool | None
    limit: int | None
    follow: bool
    trust: str
    streaming: bool = False
    upgrade: bool = False
    exchange: Exchange | None = None


class Egress:
    """The guarded client of one process.

    `allow` are the operator's networks, `limits_off` lifts slots and breaker, `own_ports` (live) those that areabox
    listens on, `sockets` the paths of the Unix sockets that the operator named.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        allow: Iterable[Network] = (),
        limits_off: bool = False,
        own_ports: set[int] | None = None,
        sockets: Iterable[str] = (),
        resolve: Resolve | None = None,
    ) -> None:
        self.own_ports = own_ports if own_ports is not None else set()
        self.limits = Limits(clock, off=limits_off)
        self._clock = clock
        self._resolver = Resolver()
        self._policy = Policy(allow, own_ports=self.own_ports, sockets=sockets)
        self._transport = Transport(self._policy, resolve or self._resolver)
        self._trust = Trust()
        self._targets = Targets()
        self._deadlines = Deadlines()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        content: bytes | str | None = None,
        timeout_s: float = TIMEOUT_S,
        literal_hosts: frozenset[str] = _NOTHING,
        credentials: Credentials | None = None,
        max_bytes: int = MAX_BYTES,
        follow_redirects: bool = True,
        repeatable: bool | None = None,
        trust: str = "",
        public_only: bool = False,
    ) -> Reply:
        """Send a request and return its answer, whatever its status, read whole within `timeout_s` in all.

        `literal_hosts` are those that a person typed, `repeatable` tells whether sending it twice is harmless (if not
        given, the method tells), `trust` pins a certificate (see `tls`), `public_only` is for a request that a public
        service redirected here by a client that follows by itself. Raises `NotSent`, `NoAnswer`, `HostPaused`,
        `Refused`, `TooLarge` or `Permanent`; every one is a `ConnectorError` that decides what follows.
        """
        rights = Rights(literal_hosts, public_only)
        hop, order = self._begin(method, url, headers, content, rights, credentials, trust)
        order.repeatable, order.limit, order.follow = repeatable, max_bytes, follow_redirects
        hop, wire, exchange = await self._within(timeout_s, hop, order)
        try:
            return _reply(hop, wire, max_bytes)
        finally:
            self._transport.release(wire, exchange)

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Headers = (),
        content: bytes | str | None = None,
        timeout_s: float = TIMEOUT_S,
        quiet_s: float | None = None,
        literal_hosts: frozenset[str] = _NOTHING,
        credentials: Credentials | None = None,
        trust: str = "",
    ) -> AsyncIterator[Stream]:
        """Open an answer without an end. `timeout_s` is for its head, `quiet_s` the longest silence in its body.

        It takes a slot of its host until the head is there, no longer. Raises as `request` does.
        """
        hop, order = self._begin(method, url, headers, content, Rights(literal_hosts), credentials, trust)
        order.streaming = True
        hop, wire, exchange = await self._within(timeout_s, hop, order)
        try:
            yield Stream(wire, hop.target, quiet_s)
        finally:
            self._transport.release(wire, exchange)

    @asynccontextmanager
    async def websocket(
        self,
        url: str,
        *,
        headers: Headers = (),
        protocols: Sequence[str] = (),
        timeout_s: float = TIMEOUT_S,
        ping_s: float = websockets.PING_S,
        max_bytes: int = websockets.MESSAGE_MAX_BYTES,
        literal_hosts: frozenset[str] = _NOTHING,
        credentials: Credentials | None = None,
        trust: str = "",
    ) -> AsyncIterator[WebSocket]:
        """Open a WebSocket at a `ws://` or `wss://` address. `timeout_s` is for opening, `max_bytes` for one message.

        A silent server is pinged after `ping_s`. Redirects are not followed. Raises as `request` does, and what the
        status means if the server does not switch.
        """
        key = websockets.new_key(self._clock.secret)
        rights = Rights(literal_hosts)
        hop, order = self._begin("GET", websockets.http_url(url), headers, None, rights, credentials, trust)
        hop.headers.extend(websockets.request_headers(key, protocols))
        order.streaming = order.upgrade = True
        order.follow = False
        hop, wire, exchange = await self._within(timeout_s, hop, order)
        try:
            websockets.check(wire, key, protocols)
            socket = WebSocket(wire, self._clock.secret, ping_s=ping_s, max_bytes=max_bytes)
            yield socket
            await socket.close()
        finally:
            self._transport.release(wire, exchange)

    async def addresses(self, host: str, port: int, *, literal_hosts: frozenset[str] = _NOTHING) -> list[str]:
        """Return the addresses of a host that another protocol (MQTT, IMAP, SMTP) may dial; dial one of these.

        The policy is the one for requests, but for the ports. Raises `Refused` or `NotSent`.
        """
        found = await self._transport.addresses(host, port, Rights(literal_hosts), http=False)
        return [str(address) for address in found]

    async def dial(
        self, host: str, port: int, *, timeout_s: float = TIMEOUT_S, literal_hosts: frozenset[str] = _NOTHING
    ) -> socket.socket:
        """Return a socket that is connected to a judged address of a host, for another protocol than HTTP.

        It does not block. Raises `Refused` or `NotSent`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                addresses = await self.addresses(host.lower(), port, literal_hosts=literal_hosts)
                return await dialling.first(f"{host}:{port}", addresses, port, self._policy)
        except TimeoutError:
            raise NotSent(f"{host}:{port} could not be reached within {timeout_s:g} s") from None

    async def tls(self, certificate: str = "") -> ssl.SSLContext:
        """Return a TLS context that trusts the machine's authorities, or one certificate (PEM) instead.

        Raises `Permanent` for what is no certificate.
        """
        return await self._trust.context(f"pem:{certificate}" if certificate else "", http=False)

    def pause(self, url: str, seconds: float) -> None:
        """Let nobody ask a host for some time, if it says so in words of its own (as `x-ratelimit-reset`)."""
        self.limits.pause(self._targets.read(url).authority, seconds)

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()
        self._resolver.close()

    def _begin(
        self,
        method: str,
        url: str,
        headers: Headers,
        content: bytes | str | None,
        rights: Rights,
        credentials: Credentials | None,
        trust: str,
    ) -> tuple[Hop, _Order]:
        target = self._targets.read(url)
        pairs = targets.header_list(headers)
        if target.userinfo and not any(name.lower() == "authorization" for name, _ in pairs):
            pairs.append(("Authorization", targets.basic(target.userinfo)))
        body = content.encode() if isinstance(content, str) else content
        hop = Hop(targets.check_method(method), target, pairs, body, rights)
        return hop, _Order(target, credentials, None, None, follow=True, trust=trust)

    async def _within(self, timeout_s: float, hop: Hop, order: _Order) -> tuple[Hop, Wire, Exchange]:
        limit = self._deadlines.begin(timeout_s)
        try:
            return await self._walk(hop, order)
        except asyncio.CancelledError:
            if limit.fired():
                raise self._late(order, timeout_s) from None
            raise
        finally:
            self._deadlines.end(limit)

    def _late(self, order: _Order, timeout_s: float) -> NotSent | NoAnswer:
        exchange = order.exchange
        if exchange is None:
            return NotSent(f"{order.first.authority} had no free slot within {timeout_s:g} s")
        name = exchange.target.authority
        self.limits.failed(name, f"nothing within {timeout_s:g} s")
        if exchange.sent:
            return NoAnswer(f"{name} was sent the request, and gave no whole answer within {timeout_s:g} s")
        return NotSent(f"{name} could not be reached within {timeout_s:g} s")

    async def _walk(self, hop: Hop, order: _Order) -> tuple[Hop, Wire, Exchange]:
        """Follow redirects to an answer that is none."""
        for _ in range(redirects.AT_MOST + 1):
            wire, exchange = await self._send(hop, order)
            try:
                following = self._next(hop, wire) if order.follow else None
            except BaseException:
                self._transport.release(wire, exchange)
                raise
            if following is None:
                return hop, wire, exchange
            self._transport.release(wire, exchange)
            hop = following
        raise Permanent(f"{order.first.authority} redirects more than {redirects.AT_MOST} times")

    def _next(self, hop: Hop, wire: Wire) -> Hop | None:
        if wire.status not in redirects.STATUSES:
            return None
        return redirects.following(hop, wire.status, wire.headers, self._targets, was_public=is_public(wire.address))

    async def _send(self, hop: Hop, order: _Order) -> tuple[Wire, Exchange]:
        name = hop.target.authority
        order.exchange = None
        await self.limits.enter(name)
        try:
            order.exchange = exchange = _exchange(hop, order)
            wire = await self._transport.send(exchange)
            self.limits.succeeded(name)
            self._heed(name, wire)
        except (NotSent, NoAnswer) as error:
            self.limits.failed(name, str(error))
            raise
        finally:
            self.limits.leave(name)
        return wire, exchange

    def _heed(self, name: str, wire: Wire) -> None:
        """Remember what a host says about asking it again."""
        if wire.status in {429, 503}:
            value = value_of(wire.headers, b"retry-after")
            pause_s = parse_retry_after(value.decode("latin-1") if value else None, self._clock.now_ms())
            if pause_s:
                self.limits.pause(name, pause_s)


def _exchange(hop: Hop, order: _Order) -> Exchange:
    headers = hop.headers
    if order.credentials is not None and order.credentials.fit(hop.target, order.first):
        own = {name.lower() for name, _ in order.credentials.headers}
        headers = [*(pair for pair in headers if pair[0].lower() not in own), *order.credentials.headers]
    content = hop.content
    length = len(content) if content is not None else (0 if hop.method in {"POST", "PUT", "PATCH"} else None)
    return Exchange(
        target=hop.target,
        key=key_of(hop.target, hop.rights, order.trust),
        head=targets.request_head(hop.method, hop.target, headers, length),
        body=content or b"",
        head_only=hop.method == "HEAD",
        repeatable=targets.repeatable(hop.method) if order.repeatable is None else order.repeatable,
        limit=order.limit,
        rights=hop.rights,
        streaming=order.streaming,
        upgrade=order.upgrade,
        trust=order.trust,
    )


def _reply(hop: Hop, wire: Wire, max_bytes: int) -> Reply:
    body, headers = wire.body(), wire.headers
    encoding = value_of(headers, b"content-encoding")
    if encoding is not None and body and encoding.lower() != b"identity":
        body = bodies.open_body(body, encoding.decode("latin-1"), hop.target.authority, max_bytes)
        headers = [pair for pair in headers if pair[0] not in {b"content-encoding", b"content-length"}]
    return Reply(hop.method, hop.target.url, wire.status, headers, body, wire.address)
