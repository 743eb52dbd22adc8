"""Files: what comes, changes, goes and grows in folders of this machine; reading, writing, copying, moving there.

Only in folders that the setting `files_allow` names.

Tested against real files.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from areabox.connectors import _disk, _tail, _watch
from areabox.sdk import Connector, Context, Event, Field, Folders, Permanent, Text

file = Connector("file", "Files", about="Files and folders of this machine.", icon="file", builtin=True)

READ_MAX = 10 * 1024 * 1024

Path_ = Annotated[str, Field("File", "Its whole path.", format="path", pattern=r"^/", placeholder="/srv/scans/a.pdf")]
Folder = Annotated[str, Field("Folder", "Its whole path.", format="path", pattern=r"^/", placeholder="/srv/scans")]
Pattern = Annotated[
    str, Field("Which files", "A name with * and ?, or a path from the folder on.", min_length=1, placeholder="*.pdf")
]
Deep = Annotated[bool, Field("With the folders in it")]
Overwrite = Annotated[bool, Field("Replace what is there")]


class Found(Event):
    """A file of a watched folder."""

    path: str
    name: str
    folder: str  # the one that it lies in
    size: int
    modified: str  # RFC 3339


class Gone(Event):
    """A file that is no longer there."""

    path: str
    name: str
    folder: str


class Line(Event):
    """A line that was added to a file."""

    line: str
    path: str


class Written(msgspec.Struct):
    """A file that was written."""

    path: str
    size: int


class Content(msgspec.Struct):
    """A file and what stands in it."""

    path: str
    name: str
    size: int
    modified: str
    text: str = ""
    base64: str = ""


class Deleted(msgspec.Struct):
    """Whether there was a file to delete."""

    deleted: bool


SAMPLE = Found(path="/srv/scans/a.pdf", name="a.pdf", folder="/srv/scans", size=48213, modified="2026-01-01T12:00:00Z")


@file.action("File created", stream=True, sentence="a file appears in {folder}", sample=SAMPLE)
async def created(
    ctx: Context, folder: Folder, pattern: Pattern = "*", *, deep: Deep = False
) -> AsyncIterator[Found | None]:
    """Fires for each file that is new in a folder, when nobody writes to it any more; moved there counts, too.

    What was there before does not fire; what came while areabox was off does.
    """
    async for path in _happened(ctx, "created", folder, pattern, deep=deep):
        yield _found(path) if path else None


@file.action("File changed", stream=True, sentence="a file in {folder} changes", sample=SAMPLE)
async def changed(
    ctx: Context, folder: Folder, pattern: Pattern = "*", *, deep: Deep = False
) -> AsyncIterator[Found | None]:
    """Fires for each file of a folder that was written, when nobody writes to it any more; not for new ones."""
    async for path in _happened(ctx, "changed", folder, pattern, deep=deep):
        yield _found(path) if path else None


@file.action(
    "File deleted", stream=True, sentence="a file in {folder} goes",
    sample=Gone(path="/srv/scans/a.pdf", name="a.pdf", folder="/srv/scans"),
)  # fmt: skip
async def deleted(
    ctx: Context, folder: Folder, pattern: Pattern = "*", *, deep: Deep = False
) -> AsyncIterator[Gone | None]:
    """Fires for each file that is no longer in a folder: deleted, moved away, or renamed."""
    async for path in _happened(ctx, "deleted", folder, pattern, deep=deep):
        yield Gone(path=str(path), name=path.name, folder=str(path.parent)) if path else None


@file.action(
    "Line added", stream=True, sentence="a line is added to {path}",
    sample=Line(line="Jan 1 12:00:00 nas smartd: error", path="/var/log/syslog"),
)  # fmt: skip
async def line_appended(ctx: Context, path: Path_) -> AsyncIterator[Line | None]:
    """Fires for each line that is added to a file, as to a log, also one that is rotated."""
    async for line in _tail.followed(_host(ctx), path, ctx.cursor):
        yield Line(line=line, path=path) if line is not None else None


@file.reaction("Write a file", sentence="write {path}", effect="idempotent", sample=Written("/srv/notes/a.txt", 12))
async def write(
    ctx: Context, path: Path_, text: Annotated[Text, Field("Text")],
    encoding: Annotated[Literal["text", "base64"], Field("The text is", "base64: for pictures and the like.")] = "text",
) -> Written:  # fmt: skip
    """Write a file whole, in the place of what was there. Folders that are missing are made."""
    data = _decoded(text) if encoding == "base64" else text.encode()
    return Written(path, await asyncio.to_thread(_disk.write, _host(ctx), path, data))


@file.reaction("Add to a file", sentence="add a line to {path}", sample=Written("/srv/notes/a.txt", 24))
async def append(
    ctx: Context, path: Path_, text: Annotated[Text, Field("Text")],
    newline: Annotated[bool, Field("End it with a new line")] = True,  # noqa: FBT002 -- a field of a form
) -> Written:  # fmt: skip
    """Add a text to the end of a file, which is made if there is none."""
    data = (text + "\n" if newline and not text.endswith("\n") else text).encode()
    return Written(path, await asyncio.to_thread(_disk.append, _host(ctx), path, data))


@file.reaction(
    "Read a file", sentence="read {path}", effect="read",
    sample=Content("/srv/notes/a.txt", "a.txt", 12, "2026-01-01T12:00:00Z", "Hello world."),
)  # fmt: skip
async def read(
    ctx: Context, path: Path_,
    encoding: Annotated[Literal["text", "base64"], Field("Give it as", "base64: for pictures and the like.")] = "text",
) -> Content:  # fmt: skip
    """Give what stands in a file of up to 10 MiB."""
    data, at_ns = await asyncio.to_thread(_disk.read, _host(ctx), path, READ_MAX)
    shown = (
        {"base64": base64.b64encode(data).decode()} if encoding == "base64" else {"text": data.decode(errors="replace")}
    )
    return Content(path=path, name=Path(path).name, size=len(data), modified=_time(at_ns), **shown)


@file.reaction("List a folder", sentence="list {folder}", effect="read", sample={"files": [SAMPLE]})
async def list(ctx: Context, folder: Folder, pattern: Pattern = "*", *, deep: Deep = False) -> dict[str, Any]:
    """Give the files of a folder, oldest first."""
    where = _host(ctx).find(folder)
    found = await asyncio.to_thread(_watch.listed, where, pattern, deep=deep)
    return {"files": [_shown(where / name, *state) for name, state in found.items()]}


@file.reaction(
    "Copy a file", sentence="copy {path} to {to}", sample=Written("/srv/archive/a.pdf", 48213),
    effect=lambda params: "idempotent" if params.get("overwrite") is True else "once",
)  # fmt: skip
async def copy(ctx: Context, path: Path_, to: Path_, *, overwrite: Overwrite = False) -> Written:
    """Copy a file to a path, or into a folder where that ends with a slash. Folders that are missing are made."""
    to = _target(path, to)
    return Written(to, await asyncio.to_thread(_disk.copy, _host(ctx), path, to, overwrite=overwrite))


@file.reaction("Move a file", sentence="move {path} to {to}", sample=Written("/srv/archive/a.pdf", 48213))
async def move(ctx: Context, path: Path_, to: Path_, *, overwrite: Overwrite = False) -> Written:
    """Move or rename a file, or move it into a folder where that ends with a slash."""
    to = _target(path, to)
    return Written(to, await asyncio.to_thread(_disk.move, _host(ctx), path, to, overwrite=overwrite))


@file.reaction("Delete a file", sentence="delete {path}", effect="idempotent", sample=Deleted(True))
async def delete(ctx: Context, path: Path_) -> Deleted:
    """Delete a file; it is no error if there is none."""
    return Deleted(await asyncio.to_thread(_disk.delete, _host(ctx), path))


async def _happened(
    ctx: Context, wanted: _watch.Kind, folder: str, pattern: str, *, deep: bool
) -> AsyncIterator[Path | None]:
    """Yield the paths to which it happens; the cursor keeps what the folder held. First None: all is well."""
    where = _host(ctx).find(folder)
    known = ctx.cursor.get("files")
    if known is None:
        known = ctx.cursor["files"] = await asyncio.to_thread(_watch.listed, where, pattern, deep=deep)
    yield None
    async for kind, name in _watch.watched(where, pattern, known, deep=deep):
        if kind == wanted:
            yield where / name


def _host(ctx: Context) -> Folders:
    assert ctx.host is not None
    return ctx.host.folders


def _target(path: str, to: str) -> str:
    return to + Path(path).name if to.endswith("/") else to


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Permanent("the text is no base64") from None


def _found(path: Path) -> Found:
    try:
        state = path.stat()
    except OSError:  # gone again in the same moment
        return Found(path=str(path), name=path.name, folder=str(path.parent), size=0, modified="")
    return _shown(path, state.st_mtime_ns, state.st_size)


def _shown(path: Path, at_ns: int, size: int) -> Found:
    return Found(path=str(path), name=path.name, folder=str(path.parent), size=size, modified=_time(at_ns))


def _time(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
