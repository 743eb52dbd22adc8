"""What came, changed and went in a folder? It is compared with what it held before, and watchfiles says when to look.

So nothing is lost while areabox is off, nor on a network drive that tells nobody. A file counts when its size and time
have stood still for a while: nobody writes to it any more.
"""

from __future__ import annotations

import asyncio
import fnmatch
import logging
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

from areabox.sdk import Permanent, Transient

SETTLE_S = 1.0  # how long a file must have stood still
RESCAN_S = 60.0  # how often to look though nothing was told
RESCAN_S_ALONE = 5.0  # … where nothing can be told
STEP_MS = 100
FILES_MAX = 5_000

Kind = Literal["created", "changed", "deleted"]
Files = dict[str, list[int]]  # by path from the folder on: time in nanoseconds, size


async def watched(folder: Path, pattern: str, known: Files, *, deep: bool) -> AsyncIterator[tuple[Kind, str]]:
    """Yield what happens to the files of a folder, by their path from there; `known` is kept as it was last told."""
    loop, moving = asyncio.get_running_loop(), dict[str, tuple[list[int], float]]()
    async with bell(folder, deep=deep) as rung:
        while True:
            found = await asyncio.to_thread(listed, folder, pattern, deep=deep)
            for name in [name for name in known if name not in found]:
                del known[name]
                yield "deleted", name
            moving = {name: _since(moving, name, state, loop.time())
                      for name, state in found.items() if known.get(name) != state}  # fmt: skip
            for name, (_, since_s) in list(moving.items()):
                if loop.time() - since_s >= SETTLE_S:
                    kind: Kind = "changed" if name in known else "created"
                    known[name] = moving.pop(name)[0]
                    yield kind, name
            await rung(SETTLE_S / 2 if moving else RESCAN_S)


def listed(folder: Path, pattern: str, *, deep: bool) -> Files:
    """Return a folder's files whose name, or path where the pattern has a slash, matches; links are none.

    Raises `Transient` if it cannot be read, `Permanent` if it holds too many.
    """
    found: Files = {}
    try:
        for name, entry in _entries(str(folder), "", deep=deep):
            if _matches(name, pattern):
                with suppress(FileNotFoundError):
                    stat = entry.stat(follow_symlinks=False)
                    found[name] = [stat.st_mtime_ns, stat.st_size]
            if len(found) > FILES_MAX:
                raise Permanent(f"{folder} holds more than {FILES_MAX} files that match")
    except OSError as error:
        raise Transient(f"{folder} cannot be read: {error.strerror}") from error
    return dict(sorted(found.items(), key=lambda item: item[1]))


@asynccontextmanager
async def bell(folder: Path, *, deep: bool) -> AsyncIterator[Bell]:
    """Give a bell that watchfiles rings when something happens in a folder."""
    rings = Bell(folder, deep=deep)
    try:
        yield rings
    finally:
        await rings.end()


class Bell:
    """Waits until something happens in a folder, or some time is over."""

    def __init__(self, folder: Path, *, deep: bool) -> None:
        self._loop, self._rung, self._over = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(folder, deep), name=f"watch {folder}", daemon=True)
        self._thread.start()

    async def __call__(self, wait_s: float) -> None:
        """Wait."""
        told = self._thread.is_alive()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s if told else min(wait_s, RESCAN_S_ALONE)):
                await self._rung.wait()
        self._rung.clear()

    async def end(self) -> None:
        """Wait no more."""
        self._over.set()
        await asyncio.to_thread(self._thread.join, 5 * STEP_MS / 1000)

    def _watch(self, folder: Path, deep: bool) -> None:  # noqa: FBT001 -- private
        import watchfiles

        logging.getLogger("watchfiles.main").setLevel(logging.WARNING)  # it tells of every change
        is_new = True
        with suppress(OSError, RuntimeError):  # no more watches to be had, or the loop is closed: then it looks alone
            for changes in watchfiles.watch(
                folder, watch_filter=None, recursive=deep, stop_event=self._over, step=STEP_MS, debounce=STEP_MS * 2,
                rust_timeout=STEP_MS * 10, yield_on_timeout=True, raise_interrupt=False, ignore_permission_denied=True,
            ):  # fmt: skip
                if changes or is_new:  # something may have happened before the watch was set
                    self._loop.call_soon_threadsafe(self._rung.set)
                is_new = False


def _entries(folder: str, prefix: str, *, deep: bool) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                yield prefix + entry.name, entry
            elif deep and entry.is_dir(follow_symlinks=False):
                with suppress(PermissionError, FileNotFoundError):
                    yield from _entries(entry.path, f"{prefix}{entry.name}/", deep=True)


def _matches(name: str, pattern: str) -> bool:
    """Tell whether a file is meant; hidden ones are where the pattern says so."""
    whole, last = name if "/" in pattern else name.rpartition("/")[2], name.rpartition("/")[2]
    hidden = last.startswith(".") and not pattern.rpartition("/")[2].startswith(".")
    return not hidden and fnmatch.fnmatchcase(whole, pattern)


def _since(
    moving: dict[str, tuple[list[int], float]], name: str, state: list[int], now_s: float
) -> tuple[list[int], float]:
    before = moving.get(name)
    return before if before is not None and before[0] == state else (state, now_s)
