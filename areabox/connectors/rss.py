"""RSS and Atom feeds.

Tested against real HTTP servers on the loopback.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from areabox.sdk import Connector, Context, Event, Field, Permanent, Url

rss = Connector("rss", "RSS & Atom", about="Blogs, news, podcasts, releases: any feed.", icon="rss")

BYTES_MAX = 2 * 1024 * 1024
ENTRIES_MAX = 1_000
TEXT_MAX = 64 * 1024
HEAD_BYTES = 16 * 1024
_TTL = re.compile(rb"<ttl>\s*(\d{1,5})\s*</ttl>")  # how many minutes a feed may be kept, says RSS 2.0

_GROWS = re.compile(rb"\A[^>]{0,200}&(?!#)|\A[^>]{200}")  # made of other entities, or long

Feed = Annotated[Url, Field("Address of the feed", placeholder="https://example.org/feed.xml")]


class Entry(Event):
    """One entry of a feed."""

    title: str = ""
    link: str = ""
    summary: str = ""  # HTML, cleaned; the whole text where the feed has no summary
    author: str = ""
    published: str = ""  # RFC 3339, empty where the feed does not say
    tags: tuple[str, ...] = ()
    enclosures: tuple[str, ...] = ()  # addresses of sound, pictures, files


@rss.action(
    "New entry",
    poll="15m",
    sentence="a new entry appears in {feed}",
    sample=Entry(
        id="https://example.org/hello",
        title="Hello",
        link="https://example.org/hello",
        summary="<p>First post</p>",
        author="Example",
        published="2026-01-01T12:00:00Z",
        tags=("news",),
        enclosures=("https://example.org/hello.mp3",),
    ),
)
async def new_entry(ctx: Context, feed: Feed) -> AsyncIterator[Entry]:
    """Fires once for each entry that was not in the feed before, oldest first.

    The feed is not read again where the server says that nothing has changed, nor parsed where its bytes are the same.
    """
    answer = await ctx.http.get(
        feed,
        conditional=True,
        max_bytes=BYTES_MAX,
        headers={"Accept": "application/atom+xml, application/rss+xml, application/xml;q=0.9, */*;q=0.5"},
    )
    if found := _TTL.search(answer.content, 0, HEAD_BYTES):
        ctx.cursor["ttl"] = int(found[1])
    ctx.fresh_for(60 * ctx.cursor.get("ttl", 0))
    if not answer.content:
        return
    print = hashlib.blake2b(answer.content, digest_size=16).hexdigest()
    if ctx.cursor.get("body") == print:
        return
    for entry in await asyncio.to_thread(parse, answer.content, feed, answer.headers.get("content-type", "")):
        yield entry
    ctx.cursor["body"] = print


def parse(content: bytes, url: str, content_type: str) -> list[Entry]:
    """Return a feed's entries, oldest first; raises `Permanent` for what is no feed.

    `url` is the address as the area names it, since relative ids are made whole with it and must not change when the
    feed moves.
    """
    import feedparser

    if any(_GROWS.search(entity) for entity in content.replace(b"\0", b"").split(b"<!ENTITY")[1:]):  # UTF-16, too
        raise Permanent("the feed declares entities that grow, which is not read")
    headers = {"content-location": url, "content-type": content_type}
    parsed = feedparser.parse(io.BytesIO(content), response_headers=headers)  # bytes alone may be taken for a file name
    if not parsed.version and not parsed.entries:
        raise Permanent("there is no feed at this address")
    entries = [_entry(entry) for entry in parsed.entries[:ENTRIES_MAX]]
    entries.reverse()  # feeds list the newest first
    if all(entry.published for entry in entries):
        entries.sort(key=lambda entry: entry.published)
    return [entry for entry in entries if entry.id]


def _entry(raw: Mapping[str, Any]) -> Entry:
    title, link = _text(raw, "title"), _text(raw, "link")
    content = next((str(part.get("value") or "") for part in raw.get("content", ())), "")
    summary = _text(raw, "summary") or content[:TEXT_MAX]
    published = _time(raw.get("published_parsed") or raw.get("updated_parsed"))
    return Entry(
        id=_text(raw, "id") or link or _print(title, summary, published),
        title=title,
        link=link,
        summary=summary,
        author=_text(raw, "author"),
        published=published,
        tags=tuple(str(tag["term"])[:200] for tag in raw.get("tags", ())[:50] if tag.get("term")),
        enclosures=tuple(str(file["href"]) for file in raw.get("enclosures", ())[:20] if file.get("href")),
    )


def _text(raw: Mapping[str, Any], name: str) -> str:
    return str(raw.get(name) or "")[:TEXT_MAX]


def _print(*parts: str) -> str:
    """Return an id for an entry that has neither id nor link."""
    if not any(parts):
        return ""
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def _time(parsed: Any) -> str:
    if parsed is None:
        return ""
    try:
        year, month, day, hour, minute, second = parsed[:6]
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, TypeError):
        return ""
