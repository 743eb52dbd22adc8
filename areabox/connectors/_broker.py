"""One socket to an MQTT broker, and who reads from it: messages are acknowledged when all their readers are done.

The session at the broker outlives the socket: what came meanwhile, and what was not acknowledged, is sent again. A
topic has a number of its own, by which the broker says for which of them a message came (MQTT 5, 3.8.2.1.2), so that
topics that overlap do not double messages. A message whose stream is not open yet waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from areabox.connectors._topics import filter_of, number
from areabox.sdk import AuthExpired, Context, Permanent, Transient, Uncertain

ANSWER_S = 15.0  # how long the broker may take to answer
KEEPALIVE_S = 60
TICK_S = 5.0
SESSION_S = 7 * 86_400  # how long the broker keeps messages while areabox is away
WINDOW = 100  # messages that the broker sends ahead of their acknowledgement
QUEUE_MAX = 10_000  # messages without an acknowledgement (QoS 0) that wait for a slow disk
PARKED_S = 330.0  # how long a message waits for the stream of its topic, which may be pausing after an error
LAPSED_S = 50.0  # how long a topic stays subscribed that nobody reads; less than an unused session stays open
_VERSION = 0x84  # unsupported protocol version
_REFUSED = frozenset({0x86, 0x87, 0x8A, 0x8C})  # MQTT 5, 2.4: credentials, authorization, banned, method


async def connect(auth: Any, ctx: Context) -> Broker:
    """Connect to a broker by MQTT 5, or 3.1.1 where it knows no better; raises `ConnectorError`."""
    try:
        return await _connected(auth, ctx, 5)
    except _OldBrokerError:
        return await _connected(auth, ctx, 4)


class _OldBrokerError(Transient):
    """It did not understand MQTT 5."""


async def _connected(auth: Any, ctx: Context, version: int) -> Broker:
    sock = await ctx.dial(auth.host, auth.port)
    if auth.tls:
        try:
            sock = await asyncio.to_thread(_secured, sock, await ctx.tls(auth.certificate), auth.host)
        except OSError as error:
            sock.close()
            raise Transient(f"no secure connection to {auth.host}: {error}") from error
    broker = Broker(sock, auth, ctx.client_id, version)
    try:
        await broker.open()
    except BaseException:
        broker.drop()
        raise
    return broker


def _secured(sock: Any, context: Any, host: str) -> Any:
    sock.settimeout(ANSWER_S)
    return context.wrap_socket(sock, server_hostname=host)


class Received:
    """A message, and who has still to be done with it before the broker may forget it."""

    __slots__ = ("holders", "ids", "loose", "mid", "payload", "qos", "retained", "topic")

    def __init__(self, raw: Any) -> None:
        self.topic, self.payload, self.retained = raw.topic, raw.payload, bool(raw.retain)
        self.qos, self.mid = raw.qos, raw.mid
        self.ids = frozenset(getattr(raw.properties, "SubscriptionIdentifier", ()))
        self.holders: set[object] = set()
        self.loose = False  # later messages were acknowledged before it


class _Parked(msgspec.Struct, frozen=True, eq=False):
    """A message whose stream is not there: not yet, or not at the moment."""

    found: Received
    ids: frozenset[int]
    until_s: float


class Reader:
    """One stream's view of a topic."""

    def __init__(self, broker: Broker, filter: str, *, retained: bool) -> None:
        self.filter, self.retained, self.id = filter, retained, number(filter)
        self.waiting: deque[Received] = deque()
        self.held: Received | None = None
        self.bell = asyncio.Event()
        self._broker = broker

    def wants(self, found: Received, ids: frozenset[int]) -> bool:
        """Tell whether a message that came for some subscriptions is one of this topic."""
        if (ids and self.id not in ids) or (found.retained and not self.retained):
            return False
        return self._broker.matches(self.filter, found.topic)

    async def next(self, timeout_s: float | None = None) -> Received | None:
        """Return the next message, None if there is none for so long; raises `Transient` when the socket ends."""
        while not self.waiting:
            if self._broker.over is not None:
                raise self._broker.over
            self.bell.clear()
            try:
                async with asyncio.timeout(timeout_s if timeout_s is None else max(timeout_s, 0.0)):
                    await self.bell.wait()
            except TimeoutError:
                return None
        self.held = self.waiting.popleft()
        return self.held

    def done(self, found: Received) -> None:
        """Be done with a message: it is on disk, or nobody needs it."""
        self.held = None
        self._broker.release(found, self)


class Broker:
    """One socket to a broker. All of it runs in the event loop; the library never blocks on a socket that is open."""

    def __init__(self, sock: Any, auth: Any, client_id: str, version: int) -> None:
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

        class Client(paho.Client):
            def _create_socket(self) -> Any:
                return sock

        five = version == 5
        self._loop, self._auth, self._paho = asyncio.get_running_loop(), auth, paho
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id, None if five else False,
            protocol=MQTTProtocolVersion(version), reconnect_on_failure=False, manual_ack=True,
        )  # fmt: skip
        self._five, self._identified = five, five
        self._sock, self._tick = sock, self._loop.call_later(TICK_S, self._misc)
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._readers: list[Reader] = []
        self._parked: list[_Parked] = []
        self._order: deque[Received] = deque()  # what is to be acknowledged, in this order (MQTT 5, 4.6)
        self._lapsed: dict[str, float] = {}  # topics that nobody reads any more
        self.over: Transient | None = None

    async def open(self) -> None:
        """Greet the broker; raises `AuthExpired`, `Transient` or `_OldBrokerError`."""
        client: Any = self._client
        loop = self._loop
        client.on_socket_open = lambda _c, _u, sock: loop.add_reader(sock.fileno(), self._read)
        client.on_socket_close = lambda _c, _u, sock: loop.remove_reader(sock.fileno())
        client.on_socket_register_write = lambda _c, _u, sock: loop.add_writer(
            sock.fileno(), self._pump, client.loop_write
        )
        client.on_socket_unregister_write = lambda _c, _u, sock: loop.remove_writer(sock.fileno())
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_message = self._on_message
        client.on_subscribe = client.on_unsubscribe = client.on_publish = self._on_answer
        if self._auth.username:
            client.username_pw_set(self._auth.username, self._auth.password or None)
        more = {"SessionExpiryInterval": SESSION_S, "ReceiveMaximum": WINDOW}
        client.connect(
            self._auth.host, self._auth.port, KEEPALIVE_S,
            **({"clean_start": False, "properties": self._properties("CONNECT", more)} if self._five else {}),
        )  # fmt: skip
        await self._within(self._connected)

    async def close(self) -> None:
        """Leave; the broker keeps what comes for the topics that are still wanted."""
        try:
            for filter, since_s in list(self._lapsed.items()):
                if self.over is None and self._loop.time() - since_s >= LAPSED_S:
                    await self._answer(self._client.unsubscribe(filter))
        except Transient:
            pass  # it is gone already
        finally:
            self.drop()

    def drop(self) -> None:
        """Close the socket."""
        self._end(Transient("the connection was closed"))
        self._client.disconnect()
        self._client.on_socket_close = self._client.on_socket_unregister_write = None
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()

    @asynccontextmanager
    async def reading(self, filter: str, *, retained: bool = False) -> AsyncIterator[Reader]:
        """Read a topic; raises `Permanent` if the broker refuses it."""
        reader = Reader(self, filter, retained=retained)
        self._readers.append(reader)
        self._lapsed.pop(filter, None)
        try:
            await self._subscribe(reader)
            for parked in [p for p in self._parked if reader.wants(p.found, p.ids)]:
                self._parked.remove(parked)
                self._hand(parked.found, [reader])
                self.release(parked.found, parked)
            yield reader
        finally:
            self._readers.remove(reader)
            if all(other.filter != filter for other in self._readers):
                self._lapsed[filter] = self._loop.time()
            for found in [*([reader.held] if reader.held else []), *reader.waiting]:
                self._park(found, frozenset({reader.id}))
                self.release(found, reader)

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:  # noqa: FBT001 -- MQTT's own
        """Send a message, and wait for the broker's answer if `qos` asks for one; raises `ConnectorError`."""
        if self.over is not None:
            raise self.over
        sent = self._client.publish(topic, payload, qos, retain)
        if sent.rc not in (0, self._paho.MQTT_ERR_QUEUE_SIZE):
            raise Transient(f"the message could not be sent: {self._paho.error_string(sent.rc)}")
        if sent.is_published():
            return
        try:
            reason = await self._answer((0, sent.mid))
        except Transient as error:
            raise Uncertain(f"the message was sent, and {error}") from error
        if reason.is_failure:
            why = f"the broker refuses a message to {topic}: {reason}"
            raise Permanent(why) if reason.value in _REFUSED else Transient(why)

    def matches(self, filter: str, topic: str) -> bool:
        """Tell whether a topic is one of those that a filter means."""
        if filter.startswith("$share/"):
            filter = filter.split("/", 2)[2]
        return bool(self._paho.topic_matches_sub(filter, topic))

    def release(self, found: Received, holder: object) -> None:
        """Note that one is done with a message; after the last one the broker may forget it."""
        found.holders.discard(holder)
        if found.loose and not found.holders:
            self._client.ack(found.mid, found.qos)
        while self._order:
            first = self._order[0]
            if first.holders and not all(isinstance(holder, _Parked) for holder in first.holders):
                return
            self._order.popleft()
            if first.holders:
                first.loose = True
            else:
                self._client.ack(first.mid, first.qos)

    # -- messages

    def _on_message(self, _client: Any, _data: Any, raw: Any) -> None:
        found = Received(raw)
        readers = [reader for reader in self._readers if reader.wants(found, found.ids)]
        if found.qos:
            self._order.append(found)
        self._hand(found, readers)
        if not readers and not found.retained:
            self._park(found, found.ids)
        self.release(found, None)

    def _hand(self, found: Received, readers: Iterable[Reader]) -> None:
        for reader in readers:
            if not found.qos and len(reader.waiting) >= QUEUE_MAX:
                continue  # nobody promised anything
            found.holders.add(reader)
            reader.waiting.append(found)
            reader.bell.set()

    def _park(self, found: Received, ids: frozenset[int]) -> None:
        if found.qos:
            parked = _Parked(found, ids, self._loop.time() + PARKED_S)
            found.holders.add(parked)
            self._parked.append(parked)

    async def _subscribe(self, reader: Reader) -> None:
        if self._five:
            said = {"SubscriptionIdentifier": reader.id} if self._identified else {}
            options = self._options(qos=1, retainHandling=0 if reader.retained else 2)
            asked = self._client.subscribe(
                reader.filter, options=options, properties=self._properties("SUBSCRIBE", said)
            )
        else:
            asked = self._client.subscribe(reader.filter, 1)
        (reason,) = await self._answer(asked)
        if reason.is_failure:
            raise Permanent(f"the broker refuses to send {reader.filter}: {reason}")

    def _sweep(self) -> None:
        """Give up what nobody came for: messages that wait for a stream, and topics without one."""
        now_s = self._loop.time()
        for parked in [p for p in self._parked if p.until_s <= now_s]:
            self._parked.remove(parked)
            self.release(parked.found, parked)
            self._give_up(parked)
        for filter in [f for f, since_s in self._lapsed.items() if now_s - since_s >= LAPSED_S]:
            del self._lapsed[filter]
            self._client.unsubscribe(filter)

    def _give_up(self, parked: _Parked) -> None:
        """Subscribe no more to what a process before this one wanted."""
        for id in parked.ids - {reader.id for reader in self._readers}:
            filter = filter_of(parked.found.topic, id)
            if filter is not None:
                self._client.unsubscribe(filter)

    # -- the wire

    def _options(self, **options: Any) -> Any:
        from paho.mqtt.subscribeoptions import SubscribeOptions

        return SubscribeOptions(**options)

    def _properties(self, packet: str, values: dict[str, int]) -> Any:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        made: Any = Properties(getattr(PacketTypes, packet))  # type: ignore[no-untyped-call]
        for name, value in values.items():
            setattr(made, name, value)
        return made

    async def _answer(self, asked: tuple[int, int | None]) -> Any:
        code, mid = asked
        if code or mid is None:
            raise self.over or Transient(f"the broker cannot be asked: {self._paho.error_string(code)}")
        answer = self._answers[mid] = self._loop.create_future()
        try:
            return await self._within(answer)
        finally:
            self._answers.pop(mid, None)

    async def _within(self, answer: asyncio.Future[Any]) -> Any:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except TimeoutError:
            self._end(Transient(f"the broker gave no answer within {ANSWER_S:g} s"))
            assert self.over is not None
            raise self.over from None

    def _read(self) -> None:
        self._pump(self._client.loop_read)
        while self.over is None and getattr(self._sock, "pending", int)() > 0:
            self._pump(self._client.loop_read)

    def _misc(self) -> None:
        if self.over is None:
            self._sweep()
            self._pump(self._client.loop_misc)
            self._tick = self._loop.call_later(TICK_S, self._misc)

    def _pump(self, step: Any) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 -- whatever the library makes of what a broker sends
            self._end(Transient(f"the broker {self._auth.host} sent what is no MQTT ({error})"))

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, properties: Any = None) -> None:
        if self._connected.done():
            return
        if not reason.is_failure:
            self._identified = self._five and getattr(properties, "SubscriptionIdentifierAvailable", 1) != 0
            self._connected.set_result(None)
        elif reason.value in _REFUSED:
            self._connected.set_exception(AuthExpired(f"the broker refuses: {reason}"))
        elif reason.value == _VERSION and self._five:
            self._connected.set_exception(_OldBrokerError(str(reason)))
        else:
            self._connected.set_exception(Transient(f"the broker refuses: {reason}"))

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any = None) -> None:
        made = _OldBrokerError if self._five and not self._connected.done() else Transient
        self._end(made(f"the connection to {self._auth.host} ended: {reason}"))

    def _on_answer(self, _client: Any, _data: Any, mid: int, said: Any, _properties: Any = None) -> None:
        answer = self._answers.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(said)

    def _end(self, why: Transient) -> None:
        """Tell everybody who waits that it is over."""
        if self.over is not None:
            return
        self.over = why
        self._tick.cancel()
        for answer in (self._connected, *self._answers.values()):
            if not answer.done():
                answer.set_exception(why)
        if self._connected.done() and not self._connected.cancelled():
            self._connected.exception()  # seen
        for reader in self._readers:
            reader.bell.set()
