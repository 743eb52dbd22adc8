"""A real feed over real HTTP, through the catalogue, the guarded client and the database."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, Self

import pytest

from areabox.actions.inbox import Inbox
from areabox.actions.poller import Poller
from areabox.actions.subscriptions import Subscriptions, Wanted
from areabox.clock import SystemClock
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from areabox.services.connections import Connections
from areabox.services.egress import Egress
from areabox.services.vault import Vault

HOUR = 3_600_000


def rss(*numbers: int) -> bytes:
    items = "".join(
        f"<item><guid>g{n}</guid><title>t{n}</title><link>https://example.org/{n}</link></item>" for n in numbers
    )
    return f"<rss version='2.0'><channel><title>T</title>{items}</channel></rss>".encode()


class FeedServer:
    """An HTTP server with one feed, and a list of what it was asked."""

    def __init__(self) -> None:
        self.body = rss(1)
        self.status = 200
        self.headers: dict[str, str] = {}
        self.validators = True
        self.asked: list[dict[str, str]] = []
        self.answered: list[int] = []
        self.cut_after: int | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/feed.xml"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:]
                self._answer(writer, {k.lower(): v for k, _, v in (line.partition(": ") for line in lines if line)})
                await writer.drain()
                if self.cut_after is not None:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, writer: asyncio.StreamWriter, asked: dict[str, str]) -> None:
        self.asked.append(asked)
        etag = f'"{hashlib.sha1(self.body).hexdigest()}"'
        status = 304 if self.validators and self.status == 200 and asked.get("if-none-match") == etag else self.status
        body = self.body if status == 200 else b""
        headers = {"content-type": "application/rss+xml", "content-length": str(len(body))} | self.headers
        if self.validators and status in (200, 304):
            headers |= {"etag": etag, "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        self.answered.append(status)
        writer.write(
            f"HTTP/1.1 {status} X\r\n".encode() + "".join(f"{k}: {v}\r\n" for k, v in headers.items()).encode()
        )
        writer.write(b"\r\n" + (body if self.cut_after is None else body[: self.cut_after]))


@pytest.fixture
async def feed(world: Any, tmp_path: Any) -> AsyncIterator[SimpleNamespace]:
    """A poller over everything that is real, one area on one feed, and time in the test's hand."""
    clock, catalogue = world.clock, Catalogue.discover()
    vault = Vault.load(SystemClock(), tmp_path / "areabox.key", create=True)
    connections = Connections(world.backend, clock, catalogue, vault)
    egress = Egress(clock, allow=[ipaddress.ip_network("127.0.0.0/8")], limits_off=True)
    services = Services(clock, catalogue, connections, egress)
    world.subscriptions = Subscriptions(world.backend, world.clock, catalogue, vault)
    world.inbox = Inbox(world.backend, world.clock, world.runs, world.subscriptions)
    poller = Poller(world.backend, world.clock, world.subscriptions, world.inbox, services, connections)
    async with FeedServer() as server:
        want = Wanted(place="feed", action="rss.new_entry", params={"feed": server.url}, every_ms=HOUR)
        (sub,) = await world.area("a", want)

        async def poll(ms: int = HOUR) -> list[str]:
            world.clock.advance(ms)
            await poller.tick()
            await poller.settle()
            return [payload["title"] for payload in await world.payloads()]

        async def row() -> Any:
            return await world.subscriptions.load(sub.id)

        yield SimpleNamespace(server=server, poll=poll, row=row, world=world, poller=poller)
        await poller.close()
        await services.close()
        egress.close()


async def test_a_feed_is_remembered_then_followed(feed):
    assert await feed.poll(0) == []
    feed.server.body = rss(3, 2, 1)
    assert await feed.poll() == ["t2", "t3"]
    feed.server.body = rss(4, 3)
    assert await feed.poll() == ["t2", "t3", "t4"]
    (first, *_) = await feed.world.payloads()
    assert (first["id"], first["link"]) == (f"{feed.server.url.removesuffix('feed.xml')}g2", "https://example.org/2")


async def test_an_unchanged_feed_is_asked_conditionally_and_writes_nothing(feed):
    await feed.poll(0)
    before = feed.world.backend.commits
    for _ in range(3):
        await feed.poll()
    assert feed.server.answered == [200, 304, 304, 304]
    assert feed.server.asked[1]["if-none-match"]
    assert feed.server.asked[1]["if-modified-since"]
    assert feed.world.backend.commits == before


async def test_a_feed_without_validators_is_not_parsed_where_its_bytes_are_the_same(feed, monkeypatch):
    import feedparser

    parsed = []
    parse = feedparser.parse
    monkeypatch.setattr(feedparser, "parse", lambda *args, **options: parsed.append(1) or parse(*args, **options))
    feed.server.validators = False
    await feed.poll(0)
    before = feed.world.backend.commits
    for _ in range(3):
        await feed.poll()
    assert len(parsed) == 1
    assert feed.world.backend.commits == before
    feed.server.body = rss(2, 1)
    assert await feed.poll() == ["t2"]


async def test_a_feed_emptied_and_refilled_fires_nothing(feed):
    feed.server.body = rss(1, 2, 3)
    await feed.poll(0)
    for numbers in ((), (3, 2, 1), (2,), (1, 2, 3)):
        feed.server.body = rss(*numbers)
        assert await feed.poll() == []


async def test_a_server_that_asks_for_patience_gets_it(feed):
    await feed.poll(0)
    feed.server.status, feed.server.headers, feed.server.body = 429, {"retry-after": "7200"}, rss(2, 1)
    assert await feed.poll() == []
    assert (await feed.row()).fails == 1
    feed.server.status, feed.server.headers = 200, {}
    for _ in range(7):
        assert await feed.poll(1_000_000) == []
    assert await feed.poll(201_000) == ["t2"]
    assert len(feed.server.answered) == 3


@pytest.mark.parametrize(("status", "words"), [(404, "404"), (500, "500"), (503, "503"), (401, ""), (403, "403")])
async def test_an_error_shows_and_passes(feed, status, words):
    await feed.poll(0)
    feed.server.status, feed.server.body = status, rss(2, 1)
    await feed.poll()
    row = await feed.row()
    assert row.fails == 1
    assert words in row.error
    feed.server.status = 200
    assert await feed.poll() == ["t2"]
    row = await feed.row()
    assert (row.fails, row.error) == (0, None)


async def test_an_answer_that_is_cut_off_is_no_answer(feed):
    await feed.poll(0)
    feed.server.body, feed.server.cut_after = rss(5, 4, 3, 2, 1), 200
    assert await feed.poll() == []
    assert (await feed.row()).fails == 1
    feed.server.cut_after = None
    assert await feed.poll() == ["t2", "t3", "t4", "t5"]


async def test_what_is_no_feed_says_so(feed):
    feed.server.body = b"<html><body>Moved!</body></html>"
    await feed.poll(0)
    row = await feed.row()
    assert "there is no feed at this address" in row.error
    assert row.baseline


async def test_a_feed_that_is_too_large_is_refused(feed):
    feed.server.body = rss(1) + b" " * 3_000_000
    await feed.poll(0)
    assert (await feed.row()).fails == 1


async def test_a_feed_on_a_server_that_is_gone_shows_and_comes_back(feed):
    await feed.poll(0)
    await feed.server.__aexit__()
    await feed.poll()
    assert (await feed.row()).fails == 1


@pytest.mark.parametrize(
    ("headers", "ttl"),
    [
        ({"cache-control": "public, max-age=7200"}, ""),
        ({}, "<ttl>120</ttl>"),
        ({"cache-control": "max-age=60"}, "<ttl>120</ttl>"),
    ],
)
async def test_a_feed_that_says_how_long_it_stays_is_asked_again_then(feed, headers, ttl):
    feed.server.headers = headers
    feed.server.body = feed.server.body.replace(b"<channel>", b"<channel>" + ttl.encode())
    await feed.poll(0)
    for _ in range(4):
        await feed.poll()
    assert feed.server.answered == [200, 304, 304]
    assert "_wait_s" not in (await feed.row()).cursor


async def test_a_feed_that_must_not_be_kept_is_asked_as_wished(feed):
    feed.server.headers = {"cache-control": "no-cache, max-age=7200"}
    await feed.poll(0)
    await feed.poll()
    assert len(feed.server.answered) == 2
