"""Redis, and what speaks its protocol (Valkey, KeyDB): streams, channels, keys.

Tested against Redis 7.0 (Debian's), with the server restarted and areabox killed while entries come.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, suppress
from typing import Annotated, Any, Literal

import msgspec

from areabox.connectors import _redis
from areabox.connectors._entries import Group, check_group
from areabox.connectors._sql import Changed, changed
from areabox.sdk import Connector, Context, Event, Field, Fields, Secret, Text, duration_ms

redis = Connector(
    "redis", "Redis", about="Streams, channels and keys of a Redis or Valkey server.", icon="redis",
    docs="https://redis.io/docs/latest/commands/",
    auth=Fields(
        "A server",
        host=Annotated[str, Field("Host", format="host", placeholder="redis.example.org")],
        port=(Annotated[int, Field("Port", ge=1, le=65_535)], 6379),
        tls=(Annotated[bool, Field("TLS", "The connection is encrypted.")], False),
        certificate=(Annotated[Text, Field("Trusted certificate", "PEM; for a server that made its own.")], ""),
        username=(Annotated[str, Field("User name", "Of Redis 6 and later; may be empty.")], ""),
        password=(Annotated[Secret, Field("Password")], ""),
        database=(Annotated[int, Field("Database", ge=0, le=1_000_000)], 0),
    ),
)  # fmt: skip

PING_S = 30.0
Key = Annotated[str, Field("Key", min_length=1, max_length=1024, placeholder="home:door")]
Value = Annotated[Text, Field("Value", "Text; lists and mappings become JSON.", max_length=_redis.VALUE_MAX)]


class Entry(Event):
    """An entry of a stream; its `id` is the one that the server gave it."""

    stream: str
    fields: dict[str, str]


class Message(Event):
    """A message of a channel."""

    channel: str
    payload: str
    json: Any = None  # the parsed payload, null if it is not JSON
    base64: str = ""  # the payload where it is no text


class Read(msgspec.Struct):
    """What a key holds."""

    value: Any  # a text, a list or a mapping; null if there is no such key
    json: Any = None  # a text that is JSON, parsed


class Stored(msgspec.Struct):
    """Whether a value was stored."""

    stored: bool


def _ttl(text: str) -> None:
    if duration_ms(text) < 1:
        raise ValueError("must be longer than nothing")


@redis.session
def session(auth: Any, ctx: Context) -> AbstractAsyncContextManager[Any]:
    """Keep some sockets for a connection."""
    return _redis.connect(auth, ctx)


@redis.test
async def test(ctx: Context) -> str:
    """Log in, and name the server."""
    with _redis.told():
        await ctx.session.ping()
    return f"{ctx.auth.host}:{ctx.auth.port}/{ctx.auth.database}"


@redis.action(
    "Stream entry", stream=True, dedupe="key", sentence="an entry is added to {stream}",
    sample=Entry(id="1767225600000-0", stream="orders", fields={"item": "lamp", "count": "2"}),
)  # fmt: skip
async def stream_entry(
    ctx: Context,
    stream: Annotated[str, Field("Stream", min_length=1, max_length=1024, placeholder="orders")],
    group: Annotated[
        str, Field("Group", "Readers of the same group share the entries. Empty: one of areabox's own.",
                   check=check_group, max_length=200)
    ] = "",
) -> AsyncIterator[Entry | None]:  # fmt: skip
    """Fires for each entry that is added to a stream, once.

    Read by a group, whose entries are acknowledged when they are on disk: what is added while areabox is away, or was
    under way when it was killed, fires when it is back. What was in the stream before does not.
    """
    reader = Group(ctx, stream, group)
    await reader.open()
    yield None
    async for entries in reader.entries():
        for id, fields in entries:
            ctx.cursor["last"] = id
            yield Entry(id=id, stream=stream, fields=fields)


@redis.action(
    "Message", stream=True, dedupe=None, sentence="a message is published to {channel}",
    sample=Message(channel="home:door", payload='{"open": true}', json={"open": True}),
)  # fmt: skip
async def message(
    ctx: Context,
    channel: Annotated[str, Field("Channel", "* and ? stand for any text.", min_length=1, placeholder="home:*")],
) -> AsyncIterator[Message | None]:
    """Fires for each message that is published to a channel while areabox listens.

    Redis keeps no messages: what is published while areabox is away, or not connected, is lost. For what must arrive
    use a stream.
    """
    with _redis.told():
        async with ctx.session.pubsub(ignore_subscribe_messages=True) as listener:
            is_pattern = any(sign in channel for sign in "*?[")
            await (listener.psubscribe if is_pattern else listener.subscribe)(channel)
            yield None
            while True:
                found = await listener.get_message(timeout=PING_S)
                if found is None:
                    await listener.ping()  # a server that is gone without a word is noticed
                elif found["type"] in ("message", "pmessage"):
                    yield _event(found)


@redis.action(
    "Key changes", poll="1m", sentence="{key} changes",
    sample=Changed(id="1-6b86b273ff34fce1", value="open", old="closed"),
)  # fmt: skip
async def key_changed(ctx: Context, key: Key) -> AsyncIterator[Changed]:
    """Fires when a key holds another value than at the last look, or is there no more (null).

    Text, lists, sets, hashes and sorted sets are compared whole. What changes and changes back between two looks is
    not seen.
    """
    for event in changed(ctx, await _redis.read(ctx.session, key)):
        yield event


@redis.reaction("Get a key", sentence="get {key}", effect="read", sample=Read('{"on": true}', {"on": True}))
async def get(ctx: Context, key: Key) -> Read:
    """Read what a key holds: text, or a list, set, hash or sorted set of up to 1,000 members."""
    value = await _redis.read(ctx.session, key)
    return Read(value, _parsed(value))


@redis.reaction(
    "Set a key", sentence="set {key} to {value}", sample=Stored(True),
    effect=lambda params: "idempotent" if params.get("only", "always") == "always" else "keyed",
)  # fmt: skip
async def set(
    ctx: Context, key: Key, value: Value = "",
    ttl: Annotated[str, Field("For", "Then it is forgotten; empty: never.", format="duration", check=_ttl,
                              placeholder="1h")] = "",
    only: Annotated[Literal["always", "new", "existing"],
                    Field("If", "new: there is no such key. existing: there is one.")] = "always",
) -> Stored:  # fmt: skip
    """Store a text under a key."""
    command = ["SET", key, value.encode(), *(["PX", duration_ms(ttl)] if ttl else [])]
    if only != "always":
        return Stored(await _redis.once(ctx, key, *command, {"new": "NX", "existing": "XX"}[only]) == "OK")
    with _redis.told():
        await ctx.session.execute_command(*command)
    return Stored(True)


@redis.reaction("Delete a key", sentence="delete {key}", effect="idempotent", sample={"deleted": True})
async def delete(ctx: Context, key: Key) -> dict[str, Any]:
    """Delete a key; it is no error if there is none."""
    with _redis.told():
        return {"deleted": bool(await ctx.session.delete(key))}


@redis.reaction("Count up", sentence="add {by} to {key}", effect="keyed", sample={"value": 8})
async def increment(
    ctx: Context, key: Key, by: Annotated[int, Field("By", "May be below zero.")] = 1,
    ttl: Annotated[str, Field("For", "Counted from now on; empty: for ever.", format="duration", check=_ttl)] = "",
) -> dict[str, Any]:  # fmt: skip
    """Add to the number that a key holds, and give the sum. A step adds once, however often it is tried."""
    value = int(await _redis.once(ctx, key, "INCRBY", key, by))
    if ttl:
        with _redis.told():
            await ctx.session.pexpire(key, duration_ms(ttl))
    return {"value": value}


@redis.reaction("Publish a message", sentence="publish {message} to {channel}", effect="keyed", sample={"receivers": 2})
async def publish(
    ctx: Context, channel: Annotated[str, Field("Channel", min_length=1, placeholder="home:door")],
    message: Annotated[Text, Field("Message", "Text; lists and mappings become JSON.", max_length=_redis.VALUE_MAX)],
) -> dict[str, Any]:  # fmt: skip
    """Send a message to whoever listens to a channel now, and give their number. Who does not listen never gets it."""
    return {"receivers": int(await _redis.once(ctx, channel, "PUBLISH", channel, message.encode()))}


@redis.reaction("Add to a stream", sentence="add to {stream}", effect="keyed", sample={"id": "1767225600000-0"})
async def add(
    ctx: Context,
    stream: Annotated[str, Field("Stream", min_length=1, max_length=1024, placeholder="orders")],
    fields: Annotated[dict[str, Any], Field("Fields", "Texts; lists and mappings become JSON.", min_length=1,
                                            example={"item": "lamp", "count": 2})],
    keep: Annotated[int, Field("Keep", "About so many entries; 0: all.", ge=0)] = 0,
) -> dict[str, Any]:  # fmt: skip
    """Add an entry to a stream, and give its id. A step adds one entry, however often it is tried."""
    pairs = [part for name, value in fields.items() for part in (name, _text(value))]
    trim = ["MAXLEN", "~", keep] if keep else []
    return {"id": await _redis.once(ctx, stream, "XADD", stream, *trim, "*", *pairs)}


def _event(found: dict[str, Any]) -> Message:
    payload: bytes = found["data"]
    text = _redis.text_of(payload)
    encoded = "" if text.encode() == payload else base64.b64encode(payload).decode()
    return Message(channel=_redis.text_of(found["channel"]), payload=text, json=_parsed(text), base64=encoded)


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value.strip():
        with suppress(msgspec.DecodeError, RecursionError):
            return msgspec.json.decode(value)
    return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
