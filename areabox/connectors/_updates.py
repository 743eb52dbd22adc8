"""One long poll of a Telegram bot, read by all its streams: an update is confirmed when every reader has stored it.

A bot has one queue of updates at Telegram, and asking with a higher `offset` drops what is below (getUpdates).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from areabox.sdk import ConnectorError, Transient

GATHER_S = 1.0  # until the other streams of the bot are open, too
Ask = Callable[[int], Awaitable[list[dict[str, Any]]]]
Letter = tuple[dict[str, Any] | ConnectorError, asyncio.Future[bool]]


class Updates:
    """The updates of one bot, from when the first reads them."""

    def __init__(self) -> None:
        self._readers: dict[asyncio.Queue[Letter], Ask] = {}
        self._offset = 0
        self._task: asyncio.Task[None] | None = None

    async def read(self, ask: Ask) -> AsyncGenerator[dict[str, Any], None]:
        """Yield updates; asking for the next one says that this one is stored. `ask` gets those from an offset on."""
        box: asyncio.Queue[Letter] = asyncio.Queue()
        self._readers[box] = ask
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._pump())
        stored: asyncio.Future[bool] | None = None
        try:
            while True:
                item, stored = await box.get()
                if isinstance(item, ConnectorError):
                    raise item
                yield item
                stored.set_result(True)
        finally:
            self._leave(box, stored)

    def _leave(self, box: asyncio.Queue[Letter], stored: asyncio.Future[bool] | None) -> None:
        del self._readers[box]
        open_letters = [stored] if stored is not None else []
        while not box.empty():
            open_letters.append(box.get_nowait()[1])
        for letter in open_letters:
            if not letter.done():
                letter.set_result(False)
        if not self._readers and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _pump(self) -> None:
        error: ConnectorError = Transient("the updates were not stored by all")
        try:
            await asyncio.sleep(GATHER_S)
            while await self._handed_out(await next(iter(self._readers.values()))(self._offset)):
                pass
        except ConnectorError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001 -- the readers are to know of it, whatever it is
            error = Transient(f"the updates cannot be read: {raised}")
        self._send(error)

    async def _handed_out(self, updates: list[dict[str, Any]]) -> bool:
        """Give updates to all readers, one after the other, and tell whether all were stored."""
        for update in updates:
            if not all(await asyncio.gather(*self._send(update))):
                return False
            self._offset = int(update["update_id"]) + 1
        return True

    def _send(self, item: dict[str, Any] | ConnectorError) -> list[asyncio.Future[bool]]:
        loop, waiting = asyncio.get_running_loop(), list[asyncio.Future[bool]]()
        for box in self._readers:
            waiting.append(loop.create_future())
            box.put_nowait((item, waiting[-1]))
        return waiting
