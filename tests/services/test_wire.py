"""The parser's side of a connection, with bytes as they might come: in any pieces, and of any sort."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from areabox.services.addresses import parse_address
from areabox.services.bodies import TooLarge
from areabox.services.wire import NoAnswer, Wire

QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
PARTS = (
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.0 404 No\r\n",
    b"HTTP/1.1 204 None\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Keep-Alive: timeout=5\r\n",
    b"\r\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"abc",
)


class Pipe(asyncio.Transport):
    """A transport to nowhere that only remembers that it was closed."""

    closed = False

    def write(self, data: Any) -> None: ...
    def writelines(self, data: Any) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


def begin(limit: int | None = 1000, *, head_only: bool = False) -> tuple[Wire, Pipe, asyncio.Future[Wire], list[Wire]]:
    gone: list[Wire] = []
    wire, pipe = Wire("a.example.org", parse_address("8.8.8.8"), gone.append), Pipe()
    wire.connection_made(pipe)
    return wire, pipe, wire.start(b"x", b"", head_only=head_only, limit=limit, streaming=False), gone


def feed(wire: Wire, pipe: Pipe, data: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        if not pipe.closed:
            wire.data_received(data[start:end])


@QUIET
@given(cuts=st.lists(st.integers(0, 10_000), max_size=30), body=st.binary(max_size=300), chunked=st.booleans())
async def test_an_answer_is_the_same_in_whatever_pieces_it_comes(cuts, body, chunked):
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: one\r\nX-A: two\r\n"
    if chunked:
        pieces = [body[start : start + 7] for start in range(0, len(body), 7)]
        framed = b"".join(b"%x;e=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        data = head + b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\nTrailer: x\r\n\r\n"
    else:
        data = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    wire, pipe, answer, _ = begin()
    feed(wire, pipe, data, cuts)
    assert answer.done()
    assert (await answer).status == 200
    assert wire.body() == body
    assert [value for name, value in wire.headers if name == b"x-a"] == [b"one", b"two"]
    assert wire.finish()
    assert not pipe.closed


@QUIET
@given(
    data=st.one_of(st.binary(max_size=400), st.lists(st.sampled_from(PARTS), max_size=12).map(b"".join)),
    cuts=st.lists(st.integers(0, 10_000), max_size=10),
    head_only=st.booleans(),
    again=st.binary(max_size=50),
)
async def test_whatever_comes_there_is_an_end_and_no_surprise(data, cuts, head_only, again):
    wire, pipe, answer, gone = begin(head_only=head_only)
    feed(wire, pipe, data, cuts)
    reusable = answer.done() and answer.exception() is None and wire.finish()
    if reusable:
        assert not pipe.closed
        if again:
            wire.data_received(again)
            assert pipe.closed  # nobody asked
    wire.connection_lost(None)
    assert gone == [wire]
    assert answer.done()
    assert answer.exception() is None or isinstance(answer.exception(), NoAnswer | TooLarge)
    if answer.exception() is None:
        assert wire.status >= 200
