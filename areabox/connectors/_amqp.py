"""One connection to an AMQP broker: at an address that was judged, with the errors of the connector API.

The library looks up nothing: it is given an address, and asks by TLS for the certificate of the name. A connection that
broke is not mended here; whoever notices says so, and the runtime opens another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any

from areabox.sdk import AuthExpired, Context, Permanent, Transient, driver, tls_for

ANSWER_S = 20.0  # how long the broker may take to answer
HEARTBEAT_S = 30
_OVER = object()


@asynccontextmanager
async def connect(auth: Any, ctx: Context) -> AsyncIterator[Any]:
    """Give a connection to the broker; raises `ConnectorError`."""
    addresses = await ctx.addresses(auth.host)
    context = tls_for(await ctx.tls(auth.certificate), auth.host) if auth.tls else None
    pika = driver("aio_pika", extra="amqp")
    with told():
        connection = await _first(pika, addresses, auth, ctx.client_id, context)
        try:
            yield connection
        finally:
            await _within(connection.close())


async def _first(pika: Any, addresses: list[str], auth: Any, name: str, context: Any) -> Any:
    """Return a connection to the first address that answers."""
    why: Exception = Transient(f"{auth.host} has no address")
    for address in addresses:
        try:
            return await pika.connect(
                host=address, port=auth.port, login=auth.username, password=auth.password,
                virtualhost=auth.virtual_host, ssl=auth.tls, ssl_context=context, timeout=ANSWER_S,
                client_properties={"connection_name": name}, heartbeat=HEARTBEAT_S,
            )  # fmt: skip
        except OSError as error:
            why = error
            if not _unreachable(error):
                break
    raise why


def _unreachable(error: OSError) -> bool:
    return not isinstance(error, driver("aiormq.exceptions", extra="amqp").AuthenticationError)


async def _within(leaving: Any) -> None:
    """Leave, and do not wait for a broker that is gone."""
    try:
        async with asyncio.timeout(ANSWER_S / 10):
            await leaving
    except (TimeoutError, OSError):
        pass  # it is gone already


@asynccontextmanager
async def channel(connection: Any, **options: Any) -> AsyncIterator[Any]:
    """Open a channel of its own: what goes wrong in it harms nobody else."""
    if connection.is_closed or not connection.connected.is_set():
        raise Transient("the connection to the broker broke")
    with told():
        made = connection.channel(**options)
        async with asyncio.timeout(ANSWER_S):
            await made.initialize(timeout=ANSWER_S)
        try:
            yield made
        finally:
            await _within(made.close())


async def consumed(channel: Any, connection: Any, queue: Any) -> AsyncGenerator[Any, None]:
    """Yield the messages of a queue, none of them acknowledged; raises `Transient` when the broker sends no more."""
    waiting: asyncio.Queue[Any] = asyncio.Queue()  # as long as the prefetch, which the broker keeps to
    over = lambda *_: waiting.put_nowait(_OVER)
    channel.close_callbacks.add(over)
    connection.close_callbacks.add(over)
    tag = await queue.consume(waiting.put, timeout=ANSWER_S)
    yield None
    while True:
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                found = await waiting.get()
        except TimeoutError:
            await queue.declare(timeout=ANSWER_S)  # one that was deleted is noticed
            continue
        if found is _OVER:
            raise Transient("the broker ended the connection")
        assert found.consumer_tag == tag
        yield found


@contextmanager
def told() -> Iterator[None]:
    """Raise what an error of the library means."""
    errors = driver("aiormq.exceptions", extra="amqp")
    try:
        yield
    except errors.ConnectionNotAllowed as error:
        raise Permanent(f"the broker refuses: {error}") from error
    except (errors.AuthenticationError, errors.ProbableAuthenticationError) as error:
        raise AuthExpired("the broker refused the user name or password") from error
    except errors.ChannelAccessRefused as error:
        raise AuthExpired(f"the user may not do this: {error}") from error
    except (errors.ChannelNotFoundEntity, errors.ChannelPreconditionFailed, errors.ChannelLockedResource) as error:
        raise Permanent(f"the broker refuses: {error}") from error
    except (errors.AMQPError, errors.ChannelInvalidStateError, OSError) as error:
        raise Transient(f"the connection to the broker broke: {error}") from error


def plain(value: Any) -> Any:
    """Return a value of a header as JSON has it."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode(errors="replace")
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
