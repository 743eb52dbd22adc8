"""Which lines are added to a file? Also while areabox is off, and when a log is rotated or emptied."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from areabox.connectors import _disk, _watch
from areabox.sdk import Folders

CHUNK_BYTES = 1 << 20
LINE_BYTES_MAX = 64 * 1024
RESCAN_S = 10.0


class Place(NamedTuple):
    """How far a file was read: its number on the file system (0: there was none), and the bytes."""

    file: int
    at: int


async def followed(folders: Folders, path: str, cursor: dict[str, Any]) -> AsyncIterator[str | None]:
    """Yield the lines that are added to a file, None when it is found; `cursor` keeps how far it was read."""
    async with _watch.bell(folders.find(path).parent, deep=False) as rung:
        while True:
            before = Place(cursor["file"], cursor["at"]) if "at" in cursor else None
            lines, after = await asyncio.to_thread(_read, folders, path, before)
            for line, place in lines:
                cursor |= place._asdict()
                yield line
            cursor |= after._asdict()
            if before is None:
                yield None
            if after == before:
                await rung(RESCAN_S)


def _read(folders: Folders, path: str, before: Place | None) -> tuple[list[tuple[str, Place]], Place]:
    """Return the next lines, each with the place behind it, and the place behind them all."""
    with _disk.told(path), folders.opened(path) as (folder, name):
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return [], before or Place(0, 0)
        if before is None:
            return [], Place(found.st_ino, found.st_size)
        if found.st_ino == before.file and found.st_size >= before.at:
            return _lines(folder, name, before, whole=False)
        if found.st_ino != before.file and (old := _renamed(folder, name, before)):
            lines, after = _lines(folder, old, before, whole=True)
            return lines, after if after != before else Place(found.st_ino, 0)
        return [], Place(found.st_ino, 0)


def _lines(folder: int, name: str, start: Place, *, whole: bool) -> tuple[list[tuple[str, Place]], Place]:
    """Return the lines from a place on; the last one without an end only where the file is `whole`."""
    with _disk.opened(folder, name, os.O_RDONLY) as file:
        file.seek(start.at)
        data = file.read(CHUNK_BYTES)
    found, at = list[tuple[str, Place]](), start.at
    pieces = data.split(b"\n")
    rest = pieces.pop()
    for piece in pieces:
        at += len(piece) + 1
        found.append((_text(piece), Place(start.file, at)))
    if rest and (whole or len(rest) > LINE_BYTES_MAX):
        at += len(rest)
        found.append((_text(rest), Place(start.file, at)))
    return found, Place(start.file, at)


def _renamed(folder: int, name: str, place: Place) -> str | None:
    """Return the name that a file has now, as `app.log.1`, None if it is gone or was read to its end."""
    for other in os.listdir(folder):
        if other.startswith(name.rpartition(".")[0] or name) and other != name:
            try:
                found = os.stat(other, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if found.st_ino == place.file and found.st_size > place.at:
                return other
    return None


def _text(line: bytes) -> str:
    return line[:LINE_BYTES_MAX].rstrip(b"\r").decode(errors="replace")
