"""Reading a Redis stream as one of its groups: every entry is handed on, and acknowledged when that returned.

The group stays at the server. What was handed out and not acknowledged, because somebody was killed, is read again: by
the same name at once, and from names that are gone when they have been silent for a minute.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from areabox.connectors import _redis
from areabox.sdk import Context, driver

COUNT = 100
BLOCK_MS = 5_000
ABANDONED_MS = 60_000
_LOST = ("NOGROUP", "UNBLOCKED")  # the group is gone; the stream is, while it was waited for

Entry = tuple[str, dict[str, str]]


class Group:
    """One group of one stream, as one reader sees it."""

    def __init__(self, ctx: Context, stream: str, name: str) -> None:
        self._client, self._cursor, self._reader = ctx.session, ctx.cursor, ctx.client_id
        self.stream, self.name = stream, name or ctx.client_id

    async def open(self) -> None:
        """Make the group where there is none: from now on, or after what was read before the server lost it."""
        with _redis.told():
            last = self._cursor.get("last") or await self._newest()
            errors = driver("redis.exceptions", extra="redis")
            try:
                await self._client.xgroup_create(self.stream, self.name, last, mkstream=True)
            except errors.ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
            self._cursor.setdefault("last", last)

    async def _newest(self) -> str:
        if not await self._client.exists(self.stream):
            return "0-0"
        return _redis.text_of((await self._client.xinfo_stream(self.stream))["last-generated-id"])

    async def entries(self) -> AsyncIterator[list[Entry]]:
        """Yield entries, some at a time, an empty list when there was none; acknowledges those that it yielded."""
        after = "0"  # what this reader was given before, and did not acknowledge
        while True:
            found = await self._read(after)
            if after == ">" and not found:
                found = await self._abandoned()
            yield [(id, fields) for id, fields in found if fields]  # one that was deleted meanwhile has none
            if found:
                with _redis.told():
                    await self._client.xack(self.stream, self.name, *(id for id, _ in found))
            elif after == "0":
                after = ">"

    async def _read(self, after: str) -> list[Entry]:
        block = BLOCK_MS if after == ">" else None
        with _redis.told():
            try:
                answer = await self._client.xreadgroup(
                    self.name, self._reader, {self.stream: after}, count=COUNT, block=block
                )
            except Exception as error:
                if not str(error).startswith(_LOST):
                    raise
                await self.open()  # the server was emptied, or began anew
                return []
        return [_entry(*pair) for _, entries in answer or () for pair in entries]

    async def _abandoned(self) -> list[Entry]:
        """Take over what another reader of the group was given and never acknowledged."""
        with _redis.told():
            answer = await self._client.xautoclaim(
                self.stream, self.name, self._reader, ABANDONED_MS, start_id="0-0", count=COUNT
            )
        return [_entry(*pair) for pair in answer[1]]


def _entry(id: bytes, fields: Any) -> Entry:
    return _redis.text_of(id), _redis.fields_of(fields)


def check_group(text: str) -> None:
    """Raise ValueError unless a text may name a group."""
    if text != text.strip() or any(ord(c) < 0x20 for c in text):
        raise ValueError("a group is named without white space around")
