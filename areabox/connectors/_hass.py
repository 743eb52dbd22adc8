"""How is Home Assistant spoken to? One WebSocket for each connection: commands with numbers, and events to readers.

The protocol: https://developers.home-assistant.io/docs/api/websocket. An event type is subscribed to once, however many
read it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from areabox.sdk import AuthExpired, ConnectorError, Context, Permanent, Transient, Uncertain

ANSWER_S = 30.0
QUEUE_MAX = 10_000  # events that a reader may be behind
States = dict[str, dict[str, Any]]


class Refused(Permanent):
    """What Home Assistant answered to a command that it did not take; `code` is its word for why."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Link:
    """An open connection."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._readers: dict[int, set[asyncio.Queue[Any]]] = {}
        self._kinds: dict[str, tuple[int, set[asyncio.Queue[Any]]]] = {}
        self._turn = asyncio.Lock()
        self._over: ConnectorError | None = None

    async def ask(self, kind: str, *, sure: bool = True, limit_s: float | None = ANSWER_S, **fields: Any) -> Any:
        """Send a command and return its result; raises `Refused`, or `Transient` where no answer came.

        `sure=False` says that it may have an effect: without an answer it is `Uncertain`.
        """
        if self._over is not None:
            raise self._over
        self._number += 1
        number = self._number
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send(msgspec.json.encode({"id": number, "type": kind, **fields}).decode())
            async with asyncio.timeout(limit_s):
                return await answer
        except TimeoutError:
            raise Transient(f"Home Assistant gave no answer within {limit_s} s") from None
        except Transient as error:
            if sure:
                raise
            raise Uncertain(f"{error}; it may have been done") from error
        finally:
            self._waiting.pop(number, None)

    async def states(self) -> States:
        """Return the states of all entities, by their ids."""
        found = await self.ask("get_states")
        return {str(one["entity_id"]): one for one in found if isinstance(one, dict) and one.get("entity_id")}

    @asynccontextmanager
    async def reading(self, kind: str) -> AsyncIterator[asyncio.Queue[Any]]:
        """Give a queue of the events of a type; an error in it is the end of the connection."""
        queue: asyncio.Queue[Any] = asyncio.Queue(QUEUE_MAX)
        async with self._turn:
            if kind not in self._kinds:
                number, readers = self._number + 1, set[asyncio.Queue[Any]]()
                self._readers[number] = readers
                self._kinds[kind] = (number, readers)
                try:
                    await self.ask("subscribe_events", event_type=kind)
                except BaseException:
                    del self._kinds[kind], self._readers[number]
                    raise
            self._kinds[kind][1].add(queue)
        try:
            yield queue
        finally:
            await self._left(kind, queue)

    async def pump(self) -> None:
        """Hand out what comes until the connection ends."""
        try:
            async for text in self._socket.messages():
                found = msgspec.json.decode(text)
                for one in found if isinstance(found, list) else [found]:
                    self._take(one)
        except ConnectorError as error:
            self.end(error)
        except msgspec.DecodeError:
            self.end(Transient("Home Assistant sent what is no JSON"))

    def end(self, error: ConnectorError) -> None:
        """Tell everybody that the connection has ended."""
        self._over = error if isinstance(error, Transient) else Transient(str(error))
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Transient(str(error)))
        for readers in self._readers.values():
            for queue in readers:
                _put(queue, Transient(str(error)))

    def _take(self, found: dict[str, Any]) -> None:
        number = found.get("id", 0)
        if found.get("type") == "event":
            for queue in list(self._readers.get(number, ())):
                _put(queue, found.get("event"))
        answer = self._waiting.get(number)
        if found.get("type") != "result" or answer is None or answer.done():
            return
        if found.get("success"):
            answer.set_result(found.get("result"))
        else:
            error = found.get("error") or {}
            answer.set_exception(Refused(str(error.get("message") or "refused"), str(error.get("code") or "")))

    async def _left(self, kind: str, queue: asyncio.Queue[Any]) -> None:
        async with self._turn:
            number, readers = self._kinds.get(kind, (0, set[asyncio.Queue[Any]]()))
            readers.discard(queue)
            if readers or kind not in self._kinds:
                return
            del self._kinds[kind], self._readers[number]
            if self._over is None:
                with suppress(ConnectorError):  # it is no longer heard, whatever the answer
                    await self.ask("unsubscribe_events", subscription=number, limit_s=1.0)


async def following(queue: asyncio.Queue[Any], limit_s: float | None = None) -> Any:
    """Return the next event, None if none comes in time; raises `Transient` when the connection has ended."""
    try:
        async with asyncio.timeout(limit_s):
            found = await queue.get()
    except TimeoutError:
        return None
    if isinstance(found, Exception):
        raise found
    return found


def _put(queue: asyncio.Queue[Any], found: Any) -> None:
    """Add to a queue; one that is full is emptied, and its reader starts anew."""
    if queue.full():
        while not queue.empty():
            queue.get_nowait()
        found = Transient(f"more than {QUEUE_MAX} events were waiting")
    queue.put_nowait(found)


@asynccontextmanager
async def connected(ctx: Context, token: str) -> AsyncIterator[Link]:
    """Open a connection and log in; raises `AuthExpired` for a token that is not taken."""
    async with ctx.http.websocket("/api/websocket") as socket:
        try:
            async with asyncio.timeout(ANSWER_S):
                await _log_in(socket, token)
        except (TimeoutError, msgspec.DecodeError):
            raise Transient("Home Assistant did not let in, and gave no reason") from None
        link = Link(socket)
        pumping = asyncio.create_task(link.pump())
        try:
            yield link
        finally:
            pumping.cancel()
            link.end(Transient("the connection was closed"))


async def _log_in(socket: Any, token: str) -> None:
    hello: dict[str, Any] = {}
    while hello.get("type") != "auth_ok":
        hello = msgspec.json.decode(await socket.receive(), type=dict[str, Any])
        if hello.get("type") == "auth_invalid":
            raise AuthExpired(f"Home Assistant refuses the token: {hello.get('message', '')}")
        if hello.get("type") == "auth_required":
            await socket.send(msgspec.json.encode({"type": "auth", "access_token": token}).decode())
