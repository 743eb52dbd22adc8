"""Answers without an end: pieces, lines, server-sent events."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from areabox.errors import Permanent, Transient
from areabox.services.addresses import Refused
from areabox.services.streams import ServerEvent
from areabox.services.wire import NoAnswer
from tests.services.loopback import Connection, Script, echo, opened, serving

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def pieces(*parts: bytes, head: bytes = HEAD, hang: bool = False) -> Script:
    async def script(connection: Connection) -> None:
        await connection.read()
        await connection.send(head)
        for part in parts:
            await connection.send(part)
            await asyncio.sleep(0.001)  # so that the parts arrive one by one
        if hang:
            await connection.hang()

    return script


async def test_lines_are_cut_wherever_the_pieces_fall(clock):
    sent = [b"one\ntw", b"o\r", b"\nthree\r", b"four\r\n\r\n", "fünf".encode()[:2], "fünf".encode()[2:] + b"\nsix"]
    async with (
        serving(pieces(*sent)) as server,
        opened(clock) as egress,
        egress.stream(server.url()) as stream,
    ):
        assert stream.status_code == 200
        assert stream.headers["content-type"] == "text/event-stream"
        assert [line async for line in stream.lines()] == ["one", "two", "three", "four", "", "fünf", "six"]


async def test_events_are_put_together_as_the_standard_says(clock):
    sent = (
        b"\xef\xbb\xbf: hello\n\ndata: one\n\nevent: door\nid: 7\nretry: 3000\ndata: a\ndata:b\nfoo: x\n\n"
        b"data\n\nevent: empty\n\nid\nretry: soon\ndata:  two\n\nid: a\0b\ndata: x\n\ndata: cut off"
    )
    async with (
        serving(pieces(sent[:40], sent[40:])) as server,
        opened(clock) as egress,
        egress.stream(server.url()) as stream,
    ):
        assert [event async for event in stream.events()] == [
            ServerEvent("one"),
            ServerEvent("a\nb", "door", "7", 3000),
            ServerEvent("", "message", "7"),
            ServerEvent(" two"),
            ServerEvent("x"),
        ]


async def test_an_event_is_there_as_soon_as_it_is_sent(clock):
    async with (
        serving(pieces(b"data: now\n\n", hang=True)) as server,
        opened(clock) as egress,
        egress.stream(server.url()) as stream,
    ):
        assert (await anext(stream.events())).data == "now"


async def test_leaving_closes_the_connection(clock):
    async with serving(pieces(b"data: now\n\n", hang=True)) as server, opened(clock) as egress:
        async with egress.stream(server.url()) as stream:
            await anext(stream.events())
        assert not egress._transport._busy


async def test_a_stream_that_breaks_off_is_to_be_opened_again(clock):
    chunked = HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    async with (
        serving(pieces(b"3\r\na\nb\r\n", head=chunked)) as server,
        opened(clock) as egress,
        egress.stream(server.url()) as stream,
    ):
        lines = stream.lines()
        assert await anext(lines) == "a"
        with pytest.raises(Transient, match="in the middle of its answer"):
            await anext(lines)


async def test_silence_has_a_limit_if_one_is_given(clock):
    async with (
        serving(pieces(b"a\n", hang=True)) as server,
        opened(clock) as egress,
        egress.stream(server.url(), quiet_s=0.05) as stream,
    ):
        lines = stream.lines()
        assert await anext(lines) == "a"
        with pytest.raises(Transient, match=r"was silent for 0\.05 s"):
            await anext(lines)


async def test_the_head_has_a_deadline(clock):
    async with serving(lambda connection: connection.hang()) as server, opened(clock) as egress:
        with pytest.raises(NoAnswer):
            async with egress.stream(server.url(), timeout_s=0.05):
                pass


async def test_lines_and_events_have_a_limit(clock):
    for sent in ([b"x" * 3000], [b"data: x\n"] * 400):
        async with (
            serving(pieces(*sent)) as server,
            opened(clock) as egress,
            egress.stream(server.url()) as stream,
        ):
            with pytest.raises(Permanent, match="more than 300 bytes"):
                [event async for event in stream.events(max_bytes=300)]


async def test_a_compressed_stream_is_opened_as_it_comes(clock):
    packed = gzip.compress(b"one\ntwo\n")
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    async with (
        serving(pieces(packed[:15], packed[15:], head=head)) as server,
        opened(clock) as egress,
        egress.stream(server.url()) as stream,
    ):
        assert [line async for line in stream.lines()] == ["one", "two"]


async def test_who_reads_slowly_slows_the_sender_down(clock):
    sent = 0

    async def flood(connection: Connection) -> None:
        nonlocal sent
        await connection.read()
        await connection.send(HEAD)
        while sent < 200 << 20:
            await connection.send(b"x" * 65535 + b"\n")
            sent += 65536

    async with (
        serving(flood) as server,
        opened(clock) as egress,
        egress.stream(server.url()) as stream,
    ):
        lines = stream.lines()
        await anext(lines)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.02)
        assert sent < 40 << 20  # what fits into the buffers of two sockets
        for _ in range(300):
            assert len(await anext(lines)) == 65535


async def test_an_open_stream_takes_no_slot(clock):
    async with serving(pieces(b"a\n", hang=True)) as server, opened(clock) as egress:
        first, second = egress.stream(server.url()), egress.stream(server.url())
        async with first, second:
            assert egress.limits.running == 0


async def test_redirects_and_the_address_policy_hold_for_streams_too(clock):
    async def moved(connection: Connection) -> None:
        while True:
            request = await connection.read()
            if request.path == "/old":
                await connection.answer(b"", "307 Moved", "Location: /new\r\n")
            else:
                await connection.answer(b"here\n")

    async with serving(moved) as server, opened(clock) as egress:
        async with egress.stream(server.url("/old")) as stream:
            assert (stream.url, [line async for line in stream.lines()]) == (server.url("/new"), ["here"])
        with pytest.raises(Refused):
            async with egress.stream("http://10.0.0.1/"):
                pass


async def test_a_short_answer_can_be_read_as_it_is(clock):
    async with (
        serving(echo) as server,
        opened(clock) as egress,
        egress.stream(server.url("/x"), method="POST", content="abc") as stream,
    ):
        assert await stream.read(8) == b"POST /x "
