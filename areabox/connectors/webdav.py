"""WebDAV: files of Nextcloud, ownCloud, Synology, Apache and others.

Tested against rclone 1.75 (`rclone serve webdav`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote, urlsplit

import msgspec

from areabox.connectors import _listing, _xml
from areabox.sdk import Connector, Context, Event, Field, Fields, Permanent, Secret, Text, Transient, Url

webdav = Connector(
    "webdav", "WebDAV", about="Files of Nextcloud, ownCloud, a NAS and others.", icon="webdav",
    docs="https://www.rfc-editor.org/rfc/rfc4918", base=lambda auth: auth.url,
    auth=Fields(
        "A server",
        url=Annotated[Url, Field("Address", placeholder="https://cloud.example.org/remote.php/dav/files/ann")],
        username=(Annotated[str, Field("User name")], ""),
        password=(Annotated[Secret, Field("Password", "Best one that was made for areabox.")], ""),
        basic=("username", "password"),
    ),
)  # fmt: skip

FOLDERS_MAX = 300
PROPFIND = """<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:"><prop>
<resourcetype/><getcontentlength/><getlastmodified/><getetag/><getcontenttype/>
</prop></propfind>
"""


def _check(path: str) -> None:
    if any(part in (".", "..") for part in path.split("/")):
        raise ValueError("must not lead out of the folder by ..")


Path = Annotated[
    str, Field("File", "From the address on.", check=_check, min_length=1, max_length=1024, placeholder="scans/a.pdf")
]
Folder = Annotated[str, Field("Folder", "Empty: the topmost.", check=_check, max_length=1024, placeholder="scans")]
Deep = Annotated[bool, Field("With the folders in it")]
Encoding = Literal["text", "base64"]


class File(Event):
    """A file of a server."""

    path: str
    name: str
    folder: str
    size: int
    modified: str  # RFC 3339
    etag: str = ""
    type: str = ""


class Done(msgspec.Struct):
    """Where something is now."""

    path: str


SAMPLE = File(
    id="scans/a.pdf@6599a2f1", path="scans/a.pdf", name="a.pdf", folder="scans", size=48213,
    modified="2026-01-01T12:00:00Z", etag="6599a2f1", type="application/pdf",
)  # fmt: skip


@webdav.test
async def test(ctx: Context) -> str:
    """List the topmost folder."""
    await _children(ctx, "")
    name = urlsplit(ctx.auth.url).hostname or ""
    return f"{ctx.auth.username} at {name}" if ctx.auth.username else name


@webdav.action("New file", poll="5m", sentence="a file appears in {folder}", sample=SAMPLE)
async def new_file(ctx: Context, folder: Folder = "", *, deep: Deep = False) -> AsyncIterator[File]:
    """Fires for each file that was not in the folder at the last look; not for one that was written over."""
    for found in _listing.news(ctx, _states(await _listed(ctx, folder, deep=deep)), "new"):
        yield found


@webdav.action("File changed", poll="5m", sentence="a file in {folder} changes", sample=SAMPLE)
async def changed_file(ctx: Context, folder: Folder = "", *, deep: Deep = False) -> AsyncIterator[File]:
    """Fires for each file that was written since the last look; not for new ones."""
    for found in _listing.news(ctx, _states(await _listed(ctx, folder, deep=deep)), "changed"):
        yield found


@webdav.reaction("Write a file", sentence="write {path}", effect="idempotent", sample=Done("notes/a.txt"))
async def put(
    ctx: Context, path: Path, text: Annotated[Text, Field("Content")] = "",
    encoding: Annotated[Encoding, Field("The content is", "base64: for pictures and the like.")] = "text",
) -> Done:  # fmt: skip
    """Write a file whole, in the place of what was there. Folders that are missing are made."""
    content = _listing.written(text, encoding)
    await _make_parents(ctx, path)
    await ctx.http.put(_url(path), content=content)
    return Done(path.strip("/"))


@webdav.reaction(
    "Get a file", sentence="get {path}", effect="read",
    sample=_listing.Content("notes/a.txt", 12, "text/plain", "6599a2f1", "Hello world."),
)  # fmt: skip
async def get(
    ctx: Context, path: Path,
    encoding: Annotated[Encoding, Field("Give it as", "base64: for pictures and the like.")] = "text",
) -> _listing.Content:  # fmt: skip
    """Give what stands in a file of up to 10 MiB."""
    answer = await ctx.http.get(_url(path), max_bytes=_listing.READ_MAX)
    return _listing.shown(path.strip("/"), answer.content, answer.headers, encoding)


@webdav.reaction("List a folder", sentence="list {folder}", effect="read", sample={"files": [SAMPLE]})
async def list(ctx: Context, folder: Folder = "", *, deep: Deep = False) -> dict[str, Any]:
    """Give the files of a folder."""
    return {"files": await _listed(ctx, folder, deep=deep)}


@webdav.reaction("Move a file", sentence="move {path} to {to}", sample=Done("archive/a.pdf"))
async def move(
    ctx: Context, path: Path, to: Path, *, overwrite: Annotated[bool, Field("Replace what is there")] = False
) -> Done:
    """Move or rename a file or folder. Folders that are missing are made."""
    await _make_parents(ctx, to)
    headers = {"Destination": ctx.auth.url.rstrip("/") + _url(to), "Overwrite": "T" if overwrite else "F"}
    answer = await ctx.http.request("MOVE", _url(path), headers=headers, ok=(412,))
    if answer.status == 412:
        raise Permanent(f"there is a {to} already")
    return Done(to.strip("/"))


@webdav.reaction("Delete a file", sentence="delete {path}", effect="idempotent")
async def delete(ctx: Context, path: Path) -> None:
    """Delete a file, or a folder with all that is in it; it is no error if there is none."""
    await ctx.http.delete(_url(path), ok=(404,))


@webdav.reaction("Make a folder", sentence="make the folder {folder}", effect="idempotent", sample=Done("archive/2026"))
async def make_folder(
    ctx: Context, folder: Annotated[str, Field("Folder", check=_check, min_length=1, placeholder="archive/2026")]
) -> Done:
    """Make a folder, and those above it that are missing; it is no error if it is there."""
    await _make_parents(ctx, f"{folder.strip('/')}/.")
    return Done(folder.strip("/"))


async def _make_parents(ctx: Context, path: str) -> None:
    """Make the folders above a path, from the top on; 405 says that one is there (RFC 4918, 9.3.1)."""
    parts = path.strip("/").split("/")[:-1]
    for count in range(1, len(parts) + 1):
        await ctx.http.request("MKCOL", f"{_url('/'.join(parts[:count]))}/", ok=(405,))


async def _listed(ctx: Context, folder: str, *, deep: bool) -> Any:
    """Return the files of a folder, one request for each folder; raises `Permanent` where there are too many."""
    found: Any = []
    waiting = deque([folder.strip("/")])
    for _ in range(FOLDERS_MAX):
        if not waiting:
            return found
        files, folders = await _children(ctx, waiting.popleft())
        found += files
        waiting.extend(folders if deep else ())
    raise Permanent(f"there are more than {FOLDERS_MAX} folders; name one that holds fewer")


async def _children(ctx: Context, folder: str) -> tuple[Any, Any]:
    """Return the files of a folder, and the paths of the folders in it."""
    url = _url(folder).rstrip("/") + "/"
    answer = await ctx.http.request(
        "PROPFIND", url, content=PROPFIND, headers={"Depth": "1", "Content-Type": "application/xml; charset=utf-8"}
    )
    base = unquote(urlsplit(ctx.auth.url).path).strip("/")
    files, folders = [], []
    for one in _xml.every(_xml.parse(answer.content, root="multistatus"), "response"):
        path = unquote(urlsplit(_xml.text(one, "href")).path).strip("/")
        if not path.startswith(base):
            raise Transient(f"the server lists {path}, which is not below its address")
        path = path.removeprefix(base).strip("/")
        if path == folder:
            continue
        if _xml.every(one, "collection"):
            folders.append(path)
        else:
            files.append(_file(path, one))
    return files, folders


def _file(path: str, one: Any) -> File:
    folder, _, name = path.rpartition("/")
    size = _xml.text(one, "getcontentlength")
    return File(
        path=path, name=name, folder=folder, size=int(size) if size.isdecimal() else 0,
        modified=_time(_xml.text(one, "getlastmodified")), etag=_xml.text(one, "getetag").removeprefix("W/").strip('"'),
        type=_xml.text(one, "getcontenttype"),
    )  # fmt: skip


def _states(files: Any) -> Any:
    return [(one.path, one.etag or f"{one.modified} {one.size}", one) for one in files]


def _time(text: str) -> str:
    try:
        return parsedate_to_datetime(text).isoformat().replace("+00:00", "Z")
    except ValueError:
        return ""


def _url(path: str) -> str:
    return f"/{quote(path.strip('/'), safe='/-_.~')}"
