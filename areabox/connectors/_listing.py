"""What is new or changed in a listing that is read whole each time, and how files are written down.

The cursor keeps what was listed last: each path with its state. So what was deleted and comes again is new.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, Protocol, TypeVar

import msgspec

from areabox.sdk import Context, Permanent

LISTED_MAX = 10_000
READ_MAX = 10 * 1024 * 1024
STATE_LENGTH = 40


class Listed(Protocol):
    """Something that a listing names."""

    id: str
    modified: str


F = TypeVar("F", bound=Listed)


class Content(msgspec.Struct):
    """A file and what stands in it, as text, or as base64 where that was asked for or it is no text."""

    path: str
    size: int
    type: str = ""
    etag: str = ""
    text: str = ""
    base64: str = ""


def news(ctx: Context, found: Iterable[tuple[str, str, F]], kind: Literal["new", "changed"]) -> Iterator[F]:
    """Yield what is new (or what changed) of triples of path, state and event, oldest first; gives each an id."""
    listed = sorted(found, key=lambda one: (one[2].modified, one[0]))
    if len(listed) > LISTED_MAX:
        raise Permanent(f"there are more than {LISTED_MAX} files; name a folder or prefix that holds fewer")
    known = ctx.cursor.get("known")
    for path, state, event in listed:
        before = None if known is None else known.get(path)
        if (before is None) if kind == "new" else (before not in (None, state[:STATE_LENGTH])):
            event.id = f"{path}@{state[:STATE_LENGTH]}"
            yield event
    ctx.cursor["known"] = {path: state[:STATE_LENGTH] for path, state, _ in listed}


def written(text: str, encoding: str) -> bytes:
    """Return the bytes that a text means in an encoding, `text` or `base64`; raises `Permanent`."""
    if encoding == "text":
        return text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Permanent("the text is no base64") from None


def shown(path: str, content: bytes, headers: Mapping[str, str], encoding: str) -> Content:
    """Return what a service answered as a file."""
    made = Content(path, len(content), headers.get("content-type", ""), headers.get("etag", "").strip('"'))
    if encoding == "base64":
        made.base64 = base64.b64encode(content).decode()
    else:
        made.text = content.decode(errors="replace")
    return made
