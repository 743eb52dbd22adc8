"""MQTT: sensors, lights and machines at a broker; one socket for each connection, shared by all areas.

Tested against Mosquitto, with the broker restarted and areabox killed while messages come.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Literal

import msgspec

from areabox.connectors._broker import Broker, Received, connect
from areabox.connectors._topics import check_filter, check_topic
from areabox.sdk import Connector, Context, Event, Field, Fields, Secret, Text, duration_ms

mqtt = Connector(
    "mqtt",
    "MQTT",
    about="Sensors, lights and machines at an MQTT broker.",
    icon="mqtt",
    docs="https://mqtt.org/mqtt-specification/",
    auth=Fields(
        "A broker",
        host=Annotated[str, Field("Host", format="host", placeholder="broker.example.org")],
        port=(Annotated[int, Field("Port", "8883 is usual with TLS.", ge=1, le=65_535)], 1883),
        tls=(Annotated[bool, Field("TLS", "The connection is encrypted.")], False),
        certificate=(Annotated[Text, Field("Trusted certificate", "PEM; for a broker that made its own.")], ""),
        username=(Annotated[str, Field("User name")], ""),
        password=(Annotated[Secret, Field("Password")], ""),
    ),
)

TOPICS_MAX = 10_000
PAYLOAD_MAX = 1 << 20


def _silence(text: str) -> None:
    if not 1_000 <= duration_ms(text) <= 366 * 86_400_000:
        raise ValueError("must lie between a second and a year")


Filter = Annotated[
    str,
    Field(
        "Topic", "+ stands for one level, # for all that follow.", check=check_filter, placeholder="home/+/temperature"
    ),
]


class Message(Event):
    """A message that arrived."""

    topic: str
    payload: str
    json: Any = None  # the parsed payload, null if it is not JSON
    retained: bool = False  # the broker had kept it
    base64: str = ""  # the payload where it is no text


class Silent(Event):
    """A topic that has been silent."""

    topic: str
    last: str = ""  # when its last message came, RFC 3339; empty: none since areabox listens


class Published(msgspec.Struct):
    """A message that was sent."""

    topic: str
    size: int


@mqtt.session
@asynccontextmanager
async def session(auth: Any, ctx: Context) -> AsyncIterator[Broker]:
    """Keep one socket for a connection."""
    broker = await connect(auth, ctx)
    try:
        yield broker
    finally:
        await broker.close()


@mqtt.test
async def test(ctx: Context) -> str:
    """Connect, and name who and where."""
    name = f"{ctx.auth.host}:{ctx.auth.port}"
    return f"{ctx.auth.username} at {name}" if ctx.auth.username else name


@mqtt.action(
    "Message",
    stream=True,
    dedupe=None,
    sentence="a message arrives on {topic}",
    sample=Message(topic="home/kitchen/temperature", payload='{"celsius": 21.5}', json={"celsius": 21.5}),
)
async def message(
    ctx: Context,
    topic: Filter,
    *,
    retained: Annotated[
        bool, Field("Retained, too", "Also what the broker kept from before, whenever areabox connects.")
    ] = False,
) -> AsyncIterator[Message | None]:
    """Fires for each message on a topic.

    The broker is told that a message arrived when it is on disk, and keeps what comes while areabox is away, for a
    week; both hold for what is sent with QoS 1 or 2. A message may come twice, as MQTT says of QoS 1.
    """
    async with ctx.session.reading(topic, retained=retained) as reader:
        yield None
        while True:
            found = await reader.next()
            yield _event(found)
            reader.done(found)


@mqtt.action(
    "Silence",
    stream=True,
    dedupe=None,
    sentence="{topic} has been silent for {after}",
    sample=Silent(topic="home/kitchen/temperature", last="2026-01-01T12:00:00.000Z"),
)
async def silent(
    ctx: Context,
    topic: Filter,
    after: Annotated[str, Field("For", format="duration", check=_silence, placeholder="1h")] = "1h",
) -> AsyncIterator[Silent | None]:
    """Fires once when no message has come for some time, and again after the next silence.

    With + or # each topic is watched by itself, from its first message on. Time counts from when areabox connects.
    """
    loop, pause_s = asyncio.get_running_loop(), duration_ms(after) / 1000
    due: dict[str, tuple[float, str]] = {}  # the longest silent first
    if not {"+", "#"} & set(topic.split("/")):
        due[topic] = (loop.time() + pause_s, "")
    async with ctx.session.reading(topic) as reader:
        yield None
        while True:
            name = next(iter(due), "")
            found = await reader.next(due[name][0] - loop.time() if due else None)
            if found is None:
                yield Silent(topic=name, last=due.pop(name)[1])
                continue
            due.pop(found.topic, None)
            if len(due) < TOPICS_MAX:
                now = ctx.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
                due[found.topic] = (loop.time() + pause_s, now)
            reader.done(found)


def _effect(params: dict[str, Any]) -> Literal["idempotent", "once"]:
    return "idempotent" if params.get("qos", 1) in (1, "1") else "once"


@mqtt.reaction(
    "Publish a message",
    sentence="publish {payload} to {topic}",
    effect=_effect,
    sample=Published(topic="home/lamp/set", size=2),
)
async def publish(
    ctx: Context,
    topic: Annotated[str, Field("Topic", check=check_topic, placeholder="home/lamp/set")],
    payload: Annotated[
        Text, Field("Payload", "Text; lists and mappings are sent as JSON.", max_length=PAYLOAD_MAX)
    ] = "",
    qos: Annotated[
        Literal[0, 1, 2], Field("QoS", "0: nobody checks. 1: it arrives, perhaps twice. 2: it arrives once.")
    ] = 1,
    *,
    retain: Annotated[
        bool, Field("Retain", "The broker keeps it for who subscribes later; empty: forgets it.")
    ] = False,
) -> Published:
    """Send a message; done when the broker has it, with QoS 0 when it has left.

    QoS 1 says that a message may arrive twice, so it is sent again where the broker gave no answer. With QoS 2 a lost
    answer is *uncertain*.
    """
    content = payload.encode()
    await ctx.session.publish(topic, content, qos, retain)
    return Published(topic, len(content))


def _event(found: Received) -> Message:
    try:
        text, encoded = found.payload.decode(), ""
    except UnicodeDecodeError:
        text, encoded = found.payload.decode(errors="replace"), base64.b64encode(found.payload).decode()
    parsed = None
    if not encoded and text[:1].strip() != "":
        with suppress(msgspec.DecodeError, RecursionError):
            parsed = msgspec.json.decode(found.payload)
    return Message(topic=found.topic, payload=text, json=parsed, retained=found.retained, base64=encoded)
