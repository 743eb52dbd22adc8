"""WebSockets through the guard: opened, spoken, bounded, closed."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import pytest

from areabox.errors import AuthExpired, Permanent, Transient
from areabox.services.addresses import Refused
from areabox.services.bodies import TooLarge
from areabox.services.websockets import Closed, masked
from tests.services.loopback import Connection, Script, opened, serving

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(opcode: int, data: bytes = b"", *, final: bool = True, bits: int = 0) -> bytes:
    length = len(data)
    size = b"\x7f" + length.to_bytes(8, "big")
    if length < 1 << 16:
        size = bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big")
    return bytes([(0x80 if final else 0) | bits | opcode]) + size + data


async def accept(connection: Connection, more: str = "", then: bytes = b"") -> None:
    request = await connection.read()
    answer = base64.b64encode(hashlib.sha1(request.headers["sec-websocket-key"].encode() + GUID).digest()).decode()
    head = f"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {answer}\r\n"
    await connection.send(f"{head}{more}\r\n".encode() + then)


async def received(connection: Connection) -> tuple[int, bytes]:
    """Read one frame of the client, which must be masked."""
    first, second = await connection.reader.readexactly(2)
    assert first & 0x80
    assert second & 0x80
    length = second & 0x7F
    if length >= 126:
        length = int.from_bytes(await connection.reader.readexactly(2 if length == 126 else 8), "big")
    mask = await connection.reader.readexactly(4)
    return first & 15, masked(await connection.reader.readexactly(length), mask)


def sends(*frames: bytes) -> Script:
    async def script(connection: Connection) -> None:
        await accept(connection, then=frames[0] if frames else b"")
        for data in frames[1:]:
            await connection.send(data)
            await asyncio.sleep(0.001)
        await connection.reader.read(1)  # until the client says goodbye

    return script


async def echoes(connection: Connection) -> None:
    await accept(connection)
    while True:
        opcode, data = await received(connection)
        await connection.send(frame(opcode, data))
        if opcode == 8:
            return


def ws(server) -> str:
    return server.url(scheme="ws")


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 300_000])
async def test_messages_go_there_and_back(clock, length):
    async with serving(echoes) as server, opened(clock) as egress, egress.websocket(ws(server)) as socket:
        await socket.send("ü" * (length // 2))
        assert await socket.receive() == "ü" * (length // 2)
        await socket.send(b"\x00\xff" * length)
        assert await socket.receive() == b"\x00\xff" * length


async def test_the_request_asks_for_the_switch(clock):
    async with serving(echoes) as server, opened(clock) as egress:
        async with egress.websocket(ws(server), headers={"X-Key": "k"}, protocols=["mqtt"]):
            pass
        headers = server.requests[0].headers
        assert (headers["upgrade"], headers["connection"], headers["x-key"]) == ("websocket", "Upgrade", "k")
        assert (headers["sec-websocket-version"], headers["sec-websocket-protocol"]) == ("13", "mqtt")


async def test_what_comes_with_the_answer_is_not_lost(clock):
    async with (
        serving(sends(frame(1, b"hello") + frame(1, b"wor"), frame(2, b"x"))) as server,
        opened(clock) as egress,
        egress.websocket(ws(server)) as socket,
    ):
        messages = socket.messages()
        assert [await anext(messages) for _ in range(3)] == ["hello", "wor", b"x"]


async def test_parts_are_put_together_and_pings_between_them_answered(clock):
    pongs = []

    async def script(connection: Connection) -> None:
        await accept(connection)
        await connection.send(frame(1, b"h\xc3", final=False) + frame(9, b"ping?") + frame(0, b"\xa4", final=False))
        pongs.append(await received(connection))
        await connection.send(frame(0, b"us"))
        await connection.reader.read(1)  # until the client says goodbye

    async with serving(script) as server, opened(clock) as egress, egress.websocket(ws(server)) as socket:
        assert await socket.receive() == "häus"
        assert pongs == [(10, b"ping?")]


async def test_the_end_tells_its_code_and_is_answered(clock):
    answers = []

    async def script(connection: Connection) -> None:
        await accept(connection)
        await connection.send(frame(8, (4004).to_bytes(2, "big") + b"no such thing"))
        answers.append(await received(connection))

    async with serving(script) as server, opened(clock) as egress:
        async with egress.websocket(ws(server)) as socket:
            with pytest.raises(Closed, match="4004 no such thing") as caught:
                await socket.receive()
            assert (caught.value.code, caught.value.reason) == (4004, "no such thing")
            assert isinstance(caught.value, Transient)
            with pytest.raises(Closed):
                await socket.send("x")
        await server.gone.wait()
        assert answers == [(8, (4004).to_bytes(2, "big"))]


async def test_leaving_says_goodbye(clock):
    heard = []

    async def script(connection: Connection) -> None:
        await accept(connection)
        heard.append(await received(connection))
        await connection.send(frame(8, (1000).to_bytes(2, "big")))

    async with serving(script) as server, opened(clock) as egress:
        async with egress.websocket(ws(server)):
            pass
        await server.gone.wait()
        assert heard == [(8, (1000).to_bytes(2, "big"))]
        assert not egress._transport._busy


async def test_an_end_without_a_word_is_an_end(clock):
    async def script(connection: Connection) -> None:
        await accept(connection)

    async with serving(script) as server, opened(clock) as egress, egress.websocket(ws(server)) as socket:
        with pytest.raises(Closed, match="without a word") as caught:
            await socket.receive()
        assert caught.value.code == 1006


async def test_silence_is_asked_about_once(clock):
    pings = []

    async def script(connection: Connection) -> None:
        await accept(connection)
        pings.append(await received(connection))
        await connection.send(frame(10))
        pings.append(await received(connection))
        await connection.reader.read(1)  # until the client says goodbye

    async with (
        serving(script) as server,
        opened(clock) as egress,
        egress.websocket(ws(server), ping_s=0.03) as socket,
    ):
        with pytest.raises(Closed, match="was silent"):
            await socket.receive()
        assert pings == [(9, b""), (9, b"")]


@pytest.mark.parametrize(
    "data",
    [
        frame(1, b"x", bits=0x40),
        b"\x81\x81abcdx",
        frame(9, b"x" * 126),
        frame(9, b"x", final=False),
        frame(3, b"x"),
        frame(11),
        frame(0, b"x"),
        frame(1, b"x", final=False) + frame(1, b"y"),
        frame(1, b"\xff\xfe"),
    ],
)
async def test_what_is_no_websocket_ends_it(clock, data):
    async with (
        serving(sends(b"", data)) as server,
        opened(clock) as egress,
        egress.websocket(ws(server), timeout_s=5) as socket,
    ):
        with pytest.raises(Closed):
            await socket.receive()


async def test_messages_have_a_limit(clock):
    many = [frame(1, b"x" * 60, final=False), *[frame(0, b"x" * 60, final=False)] * 3]
    for frames in ([b"\x81\x7f" + (1 << 40).to_bytes(8, "big")], many):
        async with (
            serving(sends(b"", *frames)) as server,
            opened(clock) as egress,
            egress.websocket(ws(server), max_bytes=100) as socket,
        ):
            with pytest.raises(TooLarge):
                await socket.receive()


@pytest.mark.parametrize(
    ("status", "error"), [("200 OK", Permanent), ("404 No", Permanent), ("401 No", AuthExpired), ("503 No", Transient)]
)
async def test_a_server_that_does_not_switch_says_why_by_its_status(clock, status, error):
    async def script(connection: Connection) -> None:
        await connection.read()
        await connection.answer(b"no", status)

    async with serving(script) as server, opened(clock) as egress:
        with pytest.raises(error, match=f"answered {status[:3]}"):
            async with egress.websocket(ws(server)):
                pass


@pytest.mark.parametrize(
    "more", ["Sec-WebSocket-Accept: wrong\r\n", "Sec-WebSocket-Protocol: x\r\n", "Sec-WebSocket-Extensions: y\r\n"]
)
async def test_a_server_that_switches_to_something_else_is_left(clock, more):
    async with serving(lambda connection: accept(connection, more)) as server, opened(clock) as egress:
        with pytest.raises(Permanent):
            async with egress.websocket(ws(server)):
                pass


async def test_the_address_policy_holds(clock):
    async with opened(clock) as egress:
        for url in ("ws://10.0.0.1/", "wss://169.254.169.254/"):
            with pytest.raises(Refused):
                async with egress.websocket(url):
                    pass
