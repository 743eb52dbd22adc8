"""What is answered straight, without ASGI, behaves on the wire as everything else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from areabox.deployment import lifecycle
from areabox.deployment.settings import ServiceManager, load
from areabox.deployment.speaking import STRAIGHT_MAX_BYTES


class App:
    """Says which way it was asked, what it got, and in what order it was asked."""

    def __init__(self) -> None:
        self.straight = {"/hooks/": self.answer}
        self.hold: asyncio.Event | None = None
        self.asked: list[str] = []
        self.begun = asyncio.Event()

    async def answer(self, scope, body):
        self.asked.append(scope["path"])
        self.begun.set()
        if self.hold is not None:
            await self.hold.wait()
        content = b"straight %b?%b %d" % (scope["path"].encode(), scope["query_string"], len(body))
        return 202, [(b"content-length", b"%d" % len(content))], content

    async def __call__(self, scope, receive, send) -> None:
        self.asked.append(scope["path"])
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        content = b"asgi %b %d" % (scope["path"].encode(), size)
        headers = [(b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


class Daemon:
    """Serves an app."""

    def __init__(self) -> None:
        self.asgi = self.hooks_asgi = App()

    def status(self) -> str:
        return ""

    async def alive(self) -> None:
        pass

    async def drain(self) -> None:
        pass


@pytest.fixture
def settings(tmp_path):
    return load({"port": "0"}, {"AREABOX_DATA_DIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})


@asynccontextmanager
async def connected(settings) -> AsyncIterator[tuple[App, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Serve, and return the app with a connection to it."""
    daemon = Daemon()
    with lifecycle.bound(settings, ServiceManager()) as (settings, taken):
        async with lifecycle._listening(daemon, settings, taken):
            reader, writer = await asyncio.open_connection("127.0.0.1", settings.port)
            yield daemon.asgi, reader, writer
        writer.close()


def post(path: str, body: bytes = b"{}", *more: str, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(lines).encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], str]:
    """Return the first line, the headers and the body of the next answer."""
    async with asyncio.timeout(30):
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest if line)}
        return first, headers, (await reader.readexactly(int(headers["content-length"]))).decode()


async def test_a_small_body_is_answered_straight_and_the_connection_stays(settings):
    async with connected(settings) as (app, reader, writer):
        for number in range(3):
            writer.write(post(f"/hooks/a?n={number}", b"x" * number))
            first, headers, body = await answer(reader)
            assert (first, body) == ("HTTP/1.1 202 Accepted", f"straight /hooks/a?n={number} {number}")
            assert "date" in headers
            assert "connection" not in headers
        assert app.asked == ["/hooks/a"] * 3


@pytest.mark.parametrize("path", ["/other", "/hooks/a%20b"])
async def test_other_paths_go_the_ordinary_way(settings, path):
    async with connected(settings) as (_, reader, writer):
        writer.write(post(path))
        assert (await answer(reader))[2].startswith("asgi")


async def test_large_and_chunked_and_expected_bodies_go_the_ordinary_way(settings):
    async with connected(settings) as (_, reader, writer):
        writer.write(post("/hooks/a", b"x" * (STRAIGHT_MAX_BYTES + 1)))
        assert (await answer(reader))[2] == f"asgi /hooks/a {STRAIGHT_MAX_BYTES + 1}"
        writer.write(b"POST /hooks/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
        assert (await answer(reader))[2] == "asgi /hooks/a 2"
        writer.write(post("/hooks/a", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 2"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"ab")
        assert (await answer(reader))[2] == "asgi /hooks/a 2"


@pytest.mark.parametrize(("more", "version"), [(("Connection: close",), "1.1"), ((), "1.0")])
async def test_a_connection_ends_where_the_client_wishes(settings, more, version):
    async with connected(settings) as (_, reader, writer):
        writer.write(post("/hooks/a", b"{}", *more, version=version))
        _, headers, body = await answer(reader)
        assert body.startswith("straight")
        assert headers["connection"] == "close"
        assert await asyncio.wait_for(reader.read(), 30) == b""


async def test_requests_that_come_together_are_answered_in_their_order(settings):
    async with connected(settings) as (app, reader, writer):
        app.hold = asyncio.Event()
        writer.write(post("/hooks/a") + post("/other") + post("/hooks/b"))
        await asyncio.wait_for(app.begun.wait(), 30)
        assert app.asked == ["/hooks/a"]
        app.hold.set()
        assert [(await answer(reader))[2].split()[1] for _ in range(3)] == ["/hooks/a?", "/other", "/hooks/b"]


async def test_a_body_in_pieces_is_waited_for_and_one_that_breaks_off_is_nothing(settings):
    async with connected(settings) as (app, reader, writer):
        whole = post("/hooks/a", b"abc")
        for byte in whole[:-1]:
            writer.write(bytes([byte]))
            await writer.drain()
        assert app.asked == []
        writer.write(whole[-1:])
        assert (await answer(reader))[2] == "straight /hooks/a? 3"
        writer.write(whole[:-1])
        writer.write_eof()
        writer.close()
        await writer.wait_closed()
        assert app.asked == ["/hooks/a"]


async def test_a_client_that_leaves_before_the_answer_has_delivered_all_the_same(settings):
    async with connected(settings) as (app, _, writer):
        app.hold = asyncio.Event()
        writer.write(post("/hooks/a"))
        await asyncio.wait_for(app.begun.wait(), 30)
        writer.transport.abort()
        app.hold.set()
        await asyncio.sleep(0)
        assert app.asked == ["/hooks/a"]


async def test_a_stop_waits_for_the_answer(settings):
    async with connected(settings) as (app, reader, writer):
        app.hold = asyncio.Event()
        writer.write(post("/hooks/a"))
        await asyncio.wait_for(app.begun.wait(), 30)
        asyncio.get_running_loop().call_later(0.05, app.hold.set)
    assert (await answer(reader))[2] == "straight /hooks/a? 2"


async def test_the_answer_to_head_has_no_body_so_that_the_next_one_stays_in_step(settings):
    async with connected(settings) as (app, reader, writer):
        writer.write(post("/hooks/a", b"").replace(b"POST", b"HEAD") + post("/hooks/b"))
        first = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).decode()
        assert first.startswith("HTTP/1.1 202")
        assert (await answer(reader))[2].split()[1:] == ["/hooks/b", "2"]
        assert app.asked == ["/hooks/a", "/hooks/b"]
