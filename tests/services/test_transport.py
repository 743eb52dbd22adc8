"""Connections: kept, replaced, never shared between rights; and what an answer on the wire may look like."""

from __future__ import annotations

import asyncio
import socket

import pytest

from areabox.errors import Permanent, Transient, Uncertain
from areabox.services.addresses import Refused, kind_of, parse_address
from areabox.services.bodies import TooLarge
from areabox.services.wire import NoAnswer, NotSent, Stale, Wire
from tests.services.loopback import Connection, echo, names, opened, raw, serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_a_connection_is_used_again(clock):
    async with serving(echo) as server, opened(clock) as egress:
        for number in range(5):
            reply = await egress.request("POST", server.url("/x"), content=f"{number}")
            assert reply.text == f"POST /x {number}"
        assert server.connections == 1


async def test_requests_at_the_same_time_have_connections_of_their_own(clock):
    async with serving(echo) as server, opened(clock) as egress:
        replies = await asyncio.gather(*(egress.request("GET", server.url(f"/{n}")) for n in range(4)))
        assert [reply.text for reply in replies] == [f"GET /{n} " for n in range(4)]
        assert server.connections == 4


async def test_requests_with_other_rights_do_not_share_a_connection(clock):
    resolve = names({"nas.lan": ["127.0.0.1"]})
    async with serving(echo) as server, opened(clock, resolve=resolve) as egress:
        url = server.url(host="nas.lan")
        await egress.request("GET", url)
        await egress.request("GET", url, literal_hosts=frozenset({"nas.lan"}))
        assert server.connections == 2
        await egress.request("GET", url, literal_hosts=frozenset({"nas.lan"}))
        assert server.connections == 2


async def test_a_connection_that_the_server_closes_is_not_used_again(clock):
    async with serving(raw(OK)) as server, opened(clock) as egress:
        for _ in range(3):
            assert (await egress.request("POST", server.url(), content="x")).text == "ok"
            while egress._transport._kept:
                await asyncio.sleep(0)
        assert server.connections == 3


async def _dies_at_the_second(connection: Connection) -> None:
    await connection.read()
    await connection.answer()
    await connection.read()
    connection.reset()


async def test_a_repeatable_request_on_a_dead_kept_connection_is_sent_again(clock):
    async with serving(_dies_at_the_second) as server, opened(clock) as egress:
        await egress.request("GET", server.url())
        assert (await egress.request("GET", server.url())).text == "ok"
        assert server.connections == 2


async def test_any_other_is_not_and_nobody_knows_whether_it_happened(clock):
    async with serving(_dies_at_the_second) as server, opened(clock) as egress:
        await egress.request("GET", server.url())
        with pytest.raises(NoAnswer, match="without an answer"):
            await egress.request("POST", server.url(), content="x")
        assert server.connections == 1


async def test_the_caller_may_declare_a_post_repeatable(clock):
    async with serving(_dies_at_the_second) as server, opened(clock) as egress:
        await egress.request("GET", server.url())
        assert (await egress.request("POST", server.url(), content="x", repeatable=True)).text == "ok"


async def test_a_server_that_says_how_long_it_waits_is_believed(clock):
    async with (
        serving(raw(OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=1\r\n\r\n"))) as server,
        opened(clock) as egress,
    ):
        await egress.request("GET", server.url())
        await egress.request("GET", server.url())
        assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nSum: 1\r\n\r\n", b"a"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"ok"),
        (OK + b"rubbish behind", b"ok"),
        (OK + OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Empty:\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    ],
)
async def test_whole_answers(clock, answer, body):
    async with serving(raw(answer)) as server, opened(clock) as egress:
        reply = await egress.request("GET", server.url())
        assert reply.content == body
        assert "sum" not in reply.headers
        assert "link" not in reply.headers


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 mail.example.org ESMTP\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * 100_000,
    ],
)
async def test_what_is_no_whole_answer_leaves_it_open_whether_it_happened(clock, answer):
    async with serving(raw(answer)) as server, opened(clock) as egress:
        with pytest.raises(NoAnswer) as caught:
            await egress.request("GET", server.url(), timeout_s=5)
        assert isinstance(caught.value, Uncertain)
        assert f"127.0.0.1:{server.port}" in str(caught.value)


async def test_an_answer_to_head_has_no_body_and_ends_the_connection(clock):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
    async with serving(raw(head, OK)) as server, opened(clock) as egress:
        reply = await egress.request("HEAD", server.url())
        assert (reply.content, reply.headers["content-length"]) == (b"", "5000")
        await egress.request("HEAD", server.url())
        assert server.connections == 2


async def test_what_a_server_sends_unasked_spoils_the_connection(clock):
    async def talkative(connection: Connection) -> None:
        await connection.read()
        await connection.send(OK)
        await connection.send(OK)
        await connection.hang()

    async with serving(talkative) as server, opened(clock) as egress:
        for _ in range(3):
            assert (await egress.request("GET", server.url())).text == "ok"
            await asyncio.sleep(0.01)  # the second answer is on its way


async def test_an_answer_larger_than_allowed_is_given_up_early(clock):
    async def endless(connection: Connection) -> None:
        await connection.read()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await connection.send(b"x" * 65536)

    async with serving(endless) as server, opened(clock) as egress:
        with pytest.raises(TooLarge, match="more than 1 MiB") as caught:
            await egress.request("GET", server.url(), max_bytes=1 << 20)
        assert isinstance(caught.value, Permanent)
        with pytest.raises(TooLarge):
            await egress.request("GET", server.url(), max_bytes=100)


async def test_framing_without_an_answer_is_given_up(clock):
    async def chunks(connection: Connection) -> None:
        await connection.read()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await connection.send(b"1;" + b"x" * 500 + b"\r\na\r\n")

    async with serving(chunks) as server, opened(clock) as egress:
        with pytest.raises(NoAnswer, match="more framing than answer"):
            await egress.request("GET", server.url())


async def test_a_server_that_hangs_is_left_at_the_deadline(clock):
    async def hangs(connection: Connection) -> None:
        await connection.read()
        await connection.hang()

    async with serving(hangs) as server, opened(clock) as egress:
        with pytest.raises(NoAnswer, match=r"no whole answer within 0\.05 s"):
            await egress.request("POST", server.url(), content="x", timeout_s=0.05)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
async def test_a_server_that_drips_is_left_at_the_deadline(clock, start):
    async def drips(connection: Connection) -> None:
        await connection.read()
        await connection.send(start)
        while True:
            await connection.send(b"X" if start.endswith(b"\r\n\r\n") else b"H: x\r\n" if start else b"\r\n")
            await asyncio.sleep(0.01)

    async with serving(drips) as server, opened(clock) as egress:
        before = asyncio.get_running_loop().time()
        with pytest.raises(NoAnswer):
            await egress.request("GET", server.url(), timeout_s=0.1)
        assert asyncio.get_running_loop().time() - before < 1.0


async def test_a_server_that_does_not_read_is_left_at_the_deadline(clock):
    async with serving(lambda connection: connection.hang()) as server, opened(clock) as egress:
        with pytest.raises(NoAnswer):
            await egress.request("POST", server.url(), content=b"x" * (8 << 20), timeout_s=0.2)


async def test_an_answer_before_the_request_was_read_is_an_answer(clock):
    async def early(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.answer(b"too much", "413 Content Too Large", "Connection: close\r\n")
        await connection.reader.read()

    async with serving(early) as server, opened(clock) as egress:
        assert (await egress.request("POST", server.url(), content=b"x" * 100_000)).status_code == 413


async def test_nothing_was_sent_if_nobody_listens(clock):
    async with serving(echo) as server:
        port = server.port
    async with opened(clock) as egress:
        with pytest.raises(NotSent, match=rf"127\.0\.0\.1:{port} cannot be reached: connection refused") as caught:
            await egress.request("POST", f"http://127.0.0.1:{port}/", content="x")
        assert isinstance(caught.value, Transient)


async def test_nothing_was_sent_if_the_name_is_unknown_or_the_name_server_is_silent(clock):
    async def silent(host: str, port: int) -> list[str]:
        if host == "gone.example.org":
            raise OSError(-2, "Name or service not known")
        if host == "empty.example.org":
            return []
        await asyncio.Event().wait()
        raise AssertionError

    async with opened(clock, resolve=silent) as egress:
        with pytest.raises(NotSent, match=r"no address is known for gone\.example\.org: Name or service not known"):
            await egress.request("GET", "http://gone.example.org/")
        with pytest.raises(NotSent, match="no address is known"):
            await egress.request("GET", "http://empty.example.org/")
        with pytest.raises(NotSent, match="could not be reached within"):
            await egress.request("GET", "http://slow.example.org/", timeout_s=0.05)


async def test_the_next_address_is_tried_if_one_does_not_answer(clock):
    resolve = names({"two.example.org": ["127.0.0.3", "127.0.0.1"]})
    async with serving(echo) as server, opened(clock, resolve=resolve) as egress:
        assert (await egress.request("GET", server.url("/a", host="two.example.org"))).text == "GET /a "


async def test_the_address_that_was_judged_is_the_one_that_is_dialled(clock):
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    asked = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    async with serving(raw(OK)) as server, opened(clock, resolve=rebinding) as egress:
        url = server.url(host="rebind.example.org")
        assert (await egress.request("GET", url)).text == "ok"
        assert len(asked) == 1
        while egress._transport._kept:
            await asyncio.sleep(0)
        with pytest.raises(Refused, match=r"rebind\.example\.org \(10\.0\.0\.1\)"):
            await egress.request("GET", url)


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return ""
        return str(probe.getsockname()[0])


async def test_areabox_does_not_speak_to_itself_by_its_address_in_the_local_network(clock):
    own = _own_address()
    if not own or kind_of(parse_address(own))[0] != "local":
        pytest.skip("this machine has no address in a local network")
    typed = frozenset({own})
    async with serving(echo, host=own) as server:
        async with opened(clock, allow=()) as egress:
            await egress.request("GET", server.url(host=own), literal_hosts=typed, timeout_s=5)
            assert len(server.requests) == 1
        async with opened(clock, allow=(), own_ports={server.port}) as egress:
            with pytest.raises(Refused, match="areabox itself"):
                await egress.request("GET", server.url(host=own), literal_hosts=typed, timeout_s=5)
            assert len(server.requests) == 1


async def test_a_cancelled_request_closes_its_connection(clock):
    arrived = asyncio.Event()

    async def hangs(connection: Connection) -> None:
        await connection.read()
        arrived.set()
        await connection.reader.read()

    async with serving(hangs) as server, opened(clock) as egress:
        task = asyncio.create_task(egress.request("GET", server.url()))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.gone.wait()
        assert egress.limits.running == 0


async def test_closing_the_client_closes_its_connections(clock):
    async with serving(echo) as server:
        async with opened(clock) as egress:
            await egress.request("GET", server.url())
        await server.gone.wait()


async def test_expired_connections_are_swept(clock, monkeypatch):
    monkeypatch.setattr("areabox.services.transport._SWEEP_S", 0.01)
    monkeypatch.setattr("areabox.services.transport.KEEP_S", 0.0)
    async with serving(echo) as server, opened(clock) as egress:
        await egress.request("GET", server.url())
        await server.gone.wait()


async def test_a_wire_to_nowhere_is_not_quiet(clock):
    wire = Wire("x", None, lambda wire: None)  # type: ignore[arg-type]
    assert not wire.quiet()


async def test_in_all_this_trouble_no_slot_and_no_connection_is_lost(clock):
    async def moody(connection: Connection) -> None:
        while True:
            match int((await connection.read()).path[1:]) % 6:
                case 0 | 1:
                    await connection.answer()
                case 2:
                    connection.reset()
                    return
                case 3:
                    await connection.send(OK[:20])
                    return
                case 4:
                    await connection.send(OK + OK)
                case _:
                    await connection.hang()

    async with serving(moody) as server, opened(clock, limits_off=True) as egress:
        sent = [egress.request("POST" if n % 2 else "GET", server.url(f"/{n}"), timeout_s=1.5) for n in range(300)]
        tasks = [asyncio.create_task(request) for request in sent]
        await asyncio.sleep(0.02)
        for task in tasks[::7]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        kinds = {type(result) for result in results if isinstance(result, BaseException)}
        assert kinds <= {NoAnswer, NotSent, Stale, asyncio.CancelledError}
        assert sum(not isinstance(result, BaseException) for result in results) > 0
        assert egress.limits.running == 0
        assert not egress._transport._busy
        assert len(egress._transport._kept) == sum(len(wires) for wires in egress._transport._idle.values())
