"""AMQP 0-9-1, as RabbitMQ speaks it: messages of queues, and what is published to exchanges.

Tested against RabbitMQ 3.10 (Debian's), with the broker restarted and areabox killed while messages come.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from typing import Annotated, Any

import msgspec

from areabox.connectors import _amqp
from areabox.sdk import Connector, Context, Event, Field, Fields, Permanent, Secret, Text, Transient, Uncertain, driver

amqp = Connector(
    "amqp", "AMQP", about="Queues and exchanges of RabbitMQ, and of what speaks AMQP 0-9-1.", icon="rabbitmq",
    docs="https://www.rabbitmq.com/tutorials/amqp-concepts",
    auth=Fields(
        "A broker",
        host=Annotated[str, Field("Host", format="host", placeholder="broker.example.org")],
        port=(Annotated[int, Field("Port", "5671 is usual with TLS.", ge=1, le=65_535)], 5672),
        tls=(Annotated[bool, Field("TLS", "The connection is encrypted.")], False),
        certificate=(Annotated[Text, Field("Trusted certificate", "PEM; for a broker that made its own.")], ""),
        virtual_host=(Annotated[str, Field("Virtual host")], "/"),
        username=(Annotated[str, Field("User name")], "guest"),
        password=(Annotated[Secret, Field("Password")], ""),
    ),
)  # fmt: skip

BODY_MAX = 1 << 20
Name = Annotated[str, Field(max_length=255)]
Exchange = Annotated[Name, Field("Exchange", placeholder="orders")]


class Message(Event):
    """A message of a queue; its `id` is the sender's `message_id`, empty where there is none."""

    queue: str
    exchange: str
    routing_key: str
    text: str
    json: Any = None  # the parsed text, null if it is not JSON
    base64: str = ""  # the content where it is no text
    headers: dict[str, Any] = msgspec.field(default_factory=dict)
    content_type: str = ""
    correlation_id: str = ""
    reply_to: str = ""
    redelivered: bool = False  # the broker had handed it out before


class Published(msgspec.Struct):
    """A message that the broker took."""

    message_id: str
    size: int


@amqp.session
def session(auth: Any, ctx: Context) -> AbstractAsyncContextManager[Any]:
    """Keep one socket for a connection."""
    return _amqp.connect(auth, ctx)


@amqp.test
async def test(ctx: Context) -> str:
    """Log in, and name who and where."""
    async with _amqp.channel(ctx.session):
        return f"{ctx.auth.username} at {ctx.auth.host}:{ctx.auth.port}{ctx.auth.virtual_host}"


@amqp.action(
    "Message", stream=True, dedupe="key", sentence="a message arrives in {queue}",
    sample=Message(
        id="5f0c7d1e", queue="orders", exchange="shop", routing_key="orders.new", text='{"item": "lamp"}',
        json={"item": "lamp"}, headers={"source": "shop"}, content_type="application/json",
    ),
)  # fmt: skip
async def message(
    ctx: Context,
    queue: Annotated[Name, Field("Queue", min_length=1, placeholder="orders")],
    exchange: Annotated[Exchange, Field("Fed by", "An exchange that the queue is bound to; empty: as it is.")] = "",
    routing_key: Annotated[Name, Field("Routing key", "For an exchange: * is a word, # any number of them.")] = "#",
    prefetch: Annotated[int, Field("Ahead", "So many messages are sent before they are done.", ge=1, le=1_000)] = 100,
    *,
    declare: Annotated[
        bool, Field("Make it", "Where there is no such queue: a durable one. One that is there must be alike.")
    ] = False,
) -> AsyncIterator[Message | None]:
    """Fires for each message of a queue, which is taken from it when it is on disk.

    What comes while areabox is away waits in the queue, and what was under way when it was killed is sent again: with a
    `message_id` it fires once, without one it may fire twice, as AMQP says. Other readers of the queue share with
    areabox; to have every message, let it make a queue of its own, fed by the exchange.
    """
    async with _amqp.channel(ctx.session) as channel:
        await channel.set_qos(prefetch_count=prefetch)
        source = await channel.declare_queue(queue, durable=True, passive=not declare, timeout=_amqp.ANSWER_S)
        if exchange:
            await source.bind(exchange, routing_key, timeout=_amqp.ANSWER_S)
        watch = await channel.declare_queue(queue, passive=True, timeout=_amqp.ANSWER_S)
        async with aclosing(_amqp.consumed(channel, ctx.session, watch)) as messages:
            async for found in messages:
                yield found and _event(found, queue)
                if found:
                    await found.ack()


def _effect(params: dict[str, Any]) -> Any:
    return "keyed" if params.get("known_by_id") is True else "once"


@amqp.reaction(
    "Publish a message", sentence="publish {text} to {exchange}", effect=_effect,
    sample=Published("0197b5a2f0e07000", 16),
)  # fmt: skip
async def publish(
    ctx: Context,
    routing_key: Annotated[Name, Field("Routing key", "With no exchange: the name of the queue.")],
    text: Annotated[Text, Field("Content", "Text; lists and mappings become JSON.", max_length=BODY_MAX)] = "",
    exchange: Annotated[Exchange, Field("Exchange", "Empty: straight into a queue.")] = "",
    headers: Annotated[dict[str, Any] | None, Field("Headers")] = None,
    content_type: Annotated[str, Field("Type", "Empty: JSON or text, whichever it is.", max_length=200)] = "",
    *,
    persistent: Annotated[bool, Field("Persistent", "A durable queue keeps it over a restart of the broker.")] = True,
    must_arrive: Annotated[bool, Field("Must arrive", "The step fails where no queue takes the message.")] = True,
    known_by_id: Annotated[  # noqa: ARG001 -- `effect` reads it
        bool, Field("Receivers know it by its id", "Then it is sent again where the broker gave no answer.")
    ] = False,
) -> Published:
    """Send a message; done when the broker has confirmed that it has it.

    Its `message_id` is the same however often the step is tried. RabbitMQ does not look at it and would deliver the
    message twice, so a lost answer is *uncertain*, unless those who receive it know messages by their id.
    """
    pika = driver("aio_pika", extra="amqp")
    made = pika.Message(
        text.encode(), headers=headers or None, content_type=content_type or _type_of(text), message_id=ctx.key,
        delivery_mode=pika.DeliveryMode.PERSISTENT if persistent else pika.DeliveryMode.NOT_PERSISTENT,
        timestamp=ctx.now, app_id="areabox",
    )  # fmt: skip
    async with _amqp.channel(ctx.session, publisher_confirms=True, on_return_raises=True) as channel:
        target = await channel.get_exchange(exchange, ensure=bool(exchange)) if exchange else channel.default_exchange
        await _confirmed(target.publish(made, routing_key, mandatory=must_arrive, timeout=_amqp.ANSWER_S), routing_key)
    return Published(ctx.key, len(made.body))


async def _confirmed(sending: Any, routing_key: str) -> None:
    """Wait for what the broker says of a message; raises `Uncertain` where it says nothing."""
    errors = driver("aio_pika.exceptions", extra="amqp")
    try:
        await sending
    except errors.PublishError as error:
        raise Permanent(f"no queue takes what is sent to {routing_key}") from error
    except errors.DeliveryError as error:
        raise Transient(f"the broker could not take the message: {error}") from error
    except errors.ChannelClosed:
        raise  # it was refused, and told why
    except (TypeError, ValueError) as error:
        raise Permanent(f"AMQP has no form for this: {error}") from error
    except (errors.AMQPError, OSError) as error:
        raise Uncertain(f"the message was sent, and the broker gave no answer: {error}") from error


def _type_of(text: str) -> str:
    return "application/json" if _parsed(text) is not None else "text/plain"


def _parsed(text: str) -> Any:
    with suppress(msgspec.DecodeError, RecursionError):
        return msgspec.json.decode(text) if text.strip() else None
    return None


def _event(found: Any, queue: str) -> Message:
    text = found.body.decode(errors="replace")
    encoded = "" if text.encode() == found.body else base64.b64encode(found.body).decode()
    return Message(
        id=found.message_id or "", queue=queue, exchange=found.exchange or "", routing_key=found.routing_key or "",
        text=text, json=None if encoded else _parsed(text), base64=encoded, headers=_amqp.plain(found.headers or {}),
        content_type=found.content_type or "", correlation_id=str(found.correlation_id or ""),
        reply_to=found.reply_to or "", redelivered=bool(found.redelivered),
    )  # fmt: skip
