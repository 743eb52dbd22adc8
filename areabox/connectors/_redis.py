"""One client of a Redis server: over sockets that were judged, with the errors of the connector API.

The library repeats nothing by itself. What must not happen twice is done by a script at the server, which remembers for
a day under which key it was done.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from areabox.sdk import AuthExpired, ConnectorError, Context, Permanent, Transient, driver

ANSWER_S = 30.0  # how long the server may take to answer
DONE_S = 86_400  # how long the server remembers what was done
MEMBERS_MAX = 1_000
VALUE_MAX = 1 << 20
ONCE = """
local done = redis.call('GET', KEYS[2])
if done then return done end
local made = redis.call(unpack(ARGV, 2))
if type(made) == 'table' then made = made.ok or '' end
redis.call('SET', KEYS[2], tostring(made), 'EX', ARGV[1])
return tostring(made)
"""
_LATER = re.compile(r"BUSY |MISCONF|NOREPLICAS|UNKILLABLE")
_REFUSED = re.compile(r"NOAUTH|WRONGPASS|invalid (?:username-)?password|without any password", re.IGNORECASE)


@asynccontextmanager
async def connect(auth: Any, ctx: Context) -> AsyncIterator[Any]:
    """Give a client whose sockets are dialled by areabox; raises `ConnectorError`."""
    redis = driver("redis.asyncio", extra="redis")
    retry, backoff = driver("redis.asyncio.retry", extra="redis"), driver("redis.backoff", extra="redis")
    with told():
        pool = redis.ConnectionPool(
            _connection(ctx, auth), max_connections=64, db=auth.database, username=auth.username or None,
            password=auth.password or None, protocol=2, client_name=ctx.client_id, socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S, retry=retry.Retry(backoff.NoBackoff(), 0), health_check_interval=60,
        )  # fmt: skip
        client = redis.Redis(connection_pool=pool)
        try:
            yield client
        finally:
            await client.aclose()
            await pool.disconnect()


def _connection(ctx: Context, auth: Any) -> Any:
    """Return the library's connection, made of a socket that was judged."""
    kind: Any = driver("redis.asyncio", extra="redis").Connection

    class Dialled(kind):  # type: ignore[misc]  # the driver is imported here only, so its type is not known
        async def _connect(self) -> None:
            sock = await ctx.dial(auth.host, auth.port)
            try:
                secure = {"ssl": await ctx.tls(auth.certificate), "server_hostname": auth.host} if auth.tls else {}
                async with asyncio.timeout(ANSWER_S):
                    self._reader, self._writer = await asyncio.open_connection(sock=sock, **secure)
            except BaseException:
                sock.close()
                raise

    return Dialled


@contextmanager
def told() -> Iterator[None]:
    """Raise what an error of the library means."""
    errors = driver("redis.exceptions", extra="redis")
    try:
        yield
    except errors.RedisError as error:
        raise _judged(error, errors) from error
    except (OSError, EOFError) as error:
        raise Transient(f"the connection to the server broke: {error}") from error


def _judged(error: Exception, errors: Any) -> ConnectorError:
    text = str(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectorError):  # of a dial that the library called
            return cause
        cause = cause.__cause__
    if isinstance(error, errors.AuthenticationError) or _REFUSED.search(text):
        return AuthExpired(f"the server refused the user name or password: {text}")
    later = (
        errors.ConnectionError, errors.TimeoutError, errors.ReadOnlyError, errors.OutOfMemoryError,
        errors.TryAgainError, errors.ClusterDownError,
    )  # fmt: skip
    if isinstance(error, later) or _LATER.match(text):
        return Transient(text)
    return Permanent(text)


async def once(ctx: Context, key: str, *command: Any) -> str:
    """Do a command that may be repeated with the same `ctx.key` and is done once; return what it answered, as text.

    Which was done is kept under a key beside the one that the command concerns (in the same slot of a cluster).
    """
    with told():
        done: bytes = await ctx.session.eval(ONCE, 2, key, f"areabox:done:{ctx.key}:{{{tag(key)}}}", DONE_S, *command)
    return text_of(done)


def tag(key: str) -> str:
    """Return the part of a key that says in which slot of a cluster it lies (Redis cluster specification)."""
    found = re.search(r"\{([^}]+)\}", key)
    return found[1] if found else key


async def read(client: Any, key: str) -> Any:
    """Return the value of a key as JSON has it: text, a mapping or a list; None if there is none.

    Raises `Permanent` for what is too large, or of a kind that has no such form.
    """
    with told():
        kind = text_of(await client.type(key))
        sized = {"string": client.strlen, "list": client.llen, "set": client.scard, "hash": client.hlen,
                 "zset": client.zcard}.get(kind)  # fmt: skip
        if sized is None:
            if kind == "none":
                return None
            raise Permanent(f"{key} is a {kind}, which cannot be read as a value")
        if await sized(key) > (VALUE_MAX if kind == "string" else MEMBERS_MAX):
            raise Permanent(f"{key} is too large to be read: a value has at most 1 MiB or {MEMBERS_MAX} members")
        return await _read(client, key, kind)


async def _read(client: Any, key: str, kind: str) -> Any:
    match kind:
        case "string":
            found = await client.get(key)
            return None if found is None else text_of(found)
        case "hash":
            return fields_of(await client.hgetall(key))
        case "list":
            return [text_of(one) for one in await client.lrange(key, 0, MEMBERS_MAX)]
        case "set":
            return sorted(text_of(one) for one in await client.smembers(key))
        case _:
            return {text_of(one): score for one, score in await client.zrange(key, 0, MEMBERS_MAX, withscores=True)}


def text_of(value: Any) -> str:
    """Return what the server gave as text; bytes that are none are replaced."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def fields_of(mapping: Any) -> dict[str, str]:
    """Return the fields of a hash or an entry."""
    return {text_of(name): text_of(value) for name, value in (mapping or {}).items()}
