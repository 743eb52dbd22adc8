"""Compressed answers: opened with a bound, and refused when they lie."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from areabox.errors import Permanent, Uncertain
from areabox.services.bodies import TooLarge
from areabox.services.guarded import guarded_client
from tests.services.loopback import opened, raw, serving


def packed(data: bytes, encoding: str = "gzip") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (gzip.compress(b"hello " * 100), "gzip"),
        (gzip.compress(b"hello " * 50) + gzip.compress(b"hello " * 50), "x-gzip"),
        (gzip.compress(b"hello " * 100) + b"\0\0\0", "GZIP"),
        (zlib.compress(b"hello " * 100), "deflate"),
        (zlib.compress(b"hello " * 100)[2:-4], "deflate"),
        (b"hello " * 100, "identity"),
    ],
)
async def test_a_compressed_answer_is_opened(clock, data, encoding):
    async with serving(raw(packed(data, encoding))) as server, opened(clock) as egress:
        reply = await egress.request("GET", server.url())
        assert reply.content == b"hello " * 100
        assert reply.text.startswith("hello")


@pytest.mark.parametrize("cut", [1, 5, 9, 30, -9, -1])
async def test_a_truncated_one_is_not(clock, cut):
    whole = gzip.compress(b"".join(str(n).encode() for n in range(500)))
    async with serving(raw(packed(whole[:cut]))) as server, opened(clock) as egress:
        with pytest.raises(Uncertain, match="cut off"):
            await egress.request("GET", server.url())


async def test_neither_is_rubbish_nor_an_unknown_encoding(clock):
    async with serving(raw(packed(b"rubbish"))) as server, opened(clock) as egress:
        with pytest.raises(Uncertain, match="cannot be opened"):
            await egress.request("GET", server.url())
    for encoding in ("br", "zstd", "gzip, gzip", "compress"):
        async with serving(raw(packed(b"x", encoding))) as server, opened(clock) as egress:
            with pytest.raises(Permanent, match="which nobody asked for"):
                await egress.request("GET", server.url())


def bomb(mebibytes: int, encoding: str) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(mebibytes)) + packer.flush()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_is_given_up_before_it_takes_memory(clock, encoding):
    data = bomb(256, encoding)
    async with serving(raw(packed(data, encoding))) as server, opened(clock) as egress:
        tracemalloc.start()
        try:
            with pytest.raises(TooLarge):
                await egress.request("GET", server.url())
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


async def test_what_opens_to_more_than_allowed_is_too_large(clock):
    data = gzip.compress(bytes(range(256)) * 20_000)
    async with serving(raw(packed(data))) as server, opened(clock) as egress:
        with pytest.raises(TooLarge, match="more than 1 MiB"):
            await egress.request("GET", server.url(), max_bytes=1 << 20)


async def test_a_librarys_answers_are_opened_with_the_same_bounds(clock):
    async with (
        serving(raw(packed(gzip.compress(b"hello")))) as server,
        opened(clock) as egress,
        guarded_client(egress) as client,
    ):
        assert (await client.get(server.url())).text == "hello"
