"""What the house itself does for its own services.

`store` keeps values, `notify` tells the owner something, `file` is shown the folders that areas may touch.

Tables: stored, effect. An effect's result is written in the transaction that makes it, under the step's key, so that a
repeat finds it and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from areabox.clock import Clock
from areabox.database import Backend, Unit, one
from areabox.errors import Permanent, Transient
from areabox.sdk import Command
from areabox.services.folders import Folders
from areabox.services.helper import Helper

KEY_LENGTH_MAX = 256
VALUE_BYTES_MAX = 256 * 1024
KEYS_MAX = 10_000  # of one owner
TRIES = 20

_GET = "select value from stored where owner = ? and key = ?"
_CHANGE = "update stored set value = ?, at = ? where owner = ? and key = ? and value = ?"
_NEW = """
insert into stored (owner, key, value, at) select ?, ?, ?, ?
where (select count(*) from stored where owner = ?) < ?
on conflict (owner, key) do nothing
"""
_EFFECT = "insert into effect (key, result, at) values (?, ?, ?) on conflict (key) do nothing"
_RESULT = "select result from effect where key = ?"
_PRUNE = "delete from effect where key in (select key from effect where at < ? order by at limit ?) returning key"

Notify = Callable[[str, str, str, str, str], Awaitable[None]]  # owner, title, message, link, key


class House:
    """Makes the `Host` of each owner."""

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        notify: Notify | None = None,
        folders: Folders | None = None,
        *,
        push_key: bytes = b"",
        commands: Iterable[Command] = (),
        trusts: Callable[[str], Awaitable[bool]] | None = None,
        apprise: Helper | None = None,
    ) -> None:
        self._backend, self._clock, self._notify = backend, clock, notify
        self.folders, self.push_key = folders or Folders(), push_key
        self._commands, self._trusts = {one.name: one for one in commands}, trusts
        self.helper = apprise
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def of(self, owner: str) -> OwnersHost:
        """Return the host as one owner's areas see it."""
        return OwnersHost(self, owner)

    async def get(self, owner: str, key: str) -> Any:
        """Return what an owner stored under a key, None if nothing."""
        row = await one(self._backend, _GET, owner, _key(key))
        return None if row is None else msgspec.json.decode(row["value"])

    async def change(self, owner: str, key: str, change: Callable[[Any], Any], effect_key: str) -> Any:
        """Replace a value by `change(value)` once for each effect key, and return what it then was."""
        lock = self._locks.setdefault((owner, key), asyncio.Lock())
        async with lock:  # spares the guard most of its failures; the guard is what counts
            for _ in range(TRIES):
                row = await one(self._backend, _GET, owner, _key(key))
                value = change(None if row is None else msgspec.json.decode(row["value"]))
                if await self._backend.commit(self._unit(owner, key, row and row["value"], value, effect_key)):
                    return value
                done = await one(self._backend, _RESULT, effect_key)
                if done is not None:
                    return msgspec.json.decode(done["result"])
                await self._refuse_more(owner, key, new=row is None)
        raise Transient(f"{key!r} was changed by others again and again")

    async def notify(self, owner: str, title: str, message: str, link: str, effect_key: str) -> None:
        """Tell an owner something."""
        if self._notify is None:
            raise Permanent("there is nobody here who could pass a notice on")
        await self._notify(owner, title, message, link, effect_key)

    async def commands(self, owner: str) -> dict[str, Command]:
        """Return the commands that an owner's areas may run, by name."""
        if not self._commands or (self._trusts is not None and await self._trusts(owner)):
            return self._commands
        return {name: command for name, command in self._commands.items() if command.everybody}

    async def prune(self, before_ms: int, limit: int = 500) -> int:
        """Forget effects from before a time, when no step can be repeated any more, and return how many."""
        return len(await self._backend.write(_PRUNE, before_ms, limit))

    def _unit(self, owner: str, key: str, before: str | None, value: Any, effect_key: str) -> Unit:
        text, now = _text(value), self._clock.now_ms()
        unit = Unit().do(_EFFECT, effect_key, text, now, expect=1)
        if before is None:
            return unit.do(_NEW, owner, key, text, now, owner, KEYS_MAX, expect=1)
        return unit.do(_CHANGE, text, now, owner, key, before, expect=1)

    async def _refuse_more(self, owner: str, key: str, *, new: bool) -> None:
        row = await one(self._backend, "select count(*) as n from stored where owner = ?", owner) if new else None
        if row is not None and row["n"] >= KEYS_MAX:
            raise Permanent(f"{key!r} is not stored: there are {KEYS_MAX} keys already")


class OwnersHost:
    """The `Host` of the SDK for one owner."""

    __slots__ = ("_house", "_owner")

    def __init__(self, house: House, owner: str) -> None:
        self._house, self._owner = house, owner

    @property
    def folders(self) -> Folders:
        """Return the files that areas may touch."""
        return self._house.folders

    async def commands(self) -> dict[str, Command]:
        """Return the commands that the owner's areas may run, by name."""
        return await self._house.commands(self._owner)

    async def apprise(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Have Apprise do something in its own process."""
        if self._house.helper is None:
            raise Permanent("Apprise opens connections by itself, so it is off; an admin can set `apprise = true`")
        return await self._house.helper.ask(request, timeout_s)

    @property
    def push_key(self) -> bytes:
        """Return the private key that signs push messages."""
        return self._house.push_key

    async def store_get(self, key: str) -> Any:
        """Return what is stored under a key, None if nothing is."""
        return await self._house.get(self._owner, key)

    async def store_set(self, key: str, value: Any, effect_key: str) -> Any:
        """Store a value, once for each effect key, and return it."""
        return await self._house.change(self._owner, key, lambda before: value, effect_key)  # noqa: ARG005

    async def store_increment(self, key: str, value: float, effect_key: str) -> Any:
        """Add to a stored number, once for each effect key, and return the sum."""
        return await self._house.change(self._owner, key, lambda before: _sum(key, before, value), effect_key)

    async def notify(self, title: str, message: str, link: str, effect_key: str) -> None:
        """Tell the owner something, once for each effect key."""
        await self._house.notify(self._owner, title, message, link, effect_key)


def _key(key: str) -> str:
    if not 0 < len(key) <= KEY_LENGTH_MAX:
        raise Permanent(f"a key has 1 to {KEY_LENGTH_MAX} characters")
    return key


def _text(value: Any) -> str:
    data = msgspec.json.encode(value)
    if len(data) > VALUE_BYTES_MAX:
        raise Permanent(f"a stored value is at most {VALUE_BYTES_MAX // 1024} KiB; this one has {len(data) // 1024}")
    return data.decode()


def _sum(key: str, before: Any, value: float) -> int | float:
    if before is not None and (isinstance(before, bool) or not isinstance(before, (int, float))):
        raise Permanent(f"what is stored under {key!r} is no number, so nothing can be added to it")
    total = (before or 0) + value
    return int(total) if isinstance(total, float) and total.is_integer() and not isinstance(before, float) else total
