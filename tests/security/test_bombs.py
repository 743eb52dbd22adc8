"""G23: whatever is too large is refused before it is held: a real daemon grows by 20 MiB at most, and says no within a second."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import resource
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.faults.daemon import Daemon
from tests.security.figures import FULL, amount, figure, resident_bytes
from tests.support import any_machine

GROWTH_BYTES, ADDRESS_SPACE_BYTES = 20 << 20, 3 << 30
LIMIT_S = any_machine(1.0)
WORST: dict[str, tuple[float, float]] = {}  # kind → MiB and seconds


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    made = Daemon(tmp_path_factory.mktemp("bombs"))
    made.own()
    try:
        made.start()
        prepare(made)
        yield made
    finally:
        made.kill()


def prepare(daemon: Daemon) -> None:
    daemon.hook = daemon.apply(  # type: ignore[attr-defined]
        {"area": "hooked", "name": "Hooked", "when": [{"webhook.received": {}}], "then": [{"return": "{{ trigger.json }}"}]},
        {"area": "asks", "name": "Asks", "when": [{"area.called": {}}],
         "then": [{"http.request": {"url": "{{ trigger.url }}", "method": "GET"}, "retry": {"attempts": 1}}, {"return": "{{ steps.s1.body | length }}"}]},
    )["hooked"]  # fmt: skip
    with daemon.local() as api:
        daemon.token = api.post("/tokens", json={"name": "bombs"}).json()["token"]  # type: ignore[attr-defined]
    assert daemon.process is not None
    resource.prlimit(daemon.process.pid, resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    for _ in range(20):  # what grows at first use does not count
        call(daemon, "POST", "/api/v1/areas/asks/runs?wait=5", json.dumps({"trigger": {"url": f"{daemon.url}/about.json"}}).encode())
        call(daemon, "POST", hook_path(daemon), b'{"a": 1}')


def hook_path(daemon: Daemon) -> str:
    return str(daemon.hook).removeprefix(daemon.url)  # type: ignore[attr-defined]


def call(daemon: Daemon, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    token = daemon.token  # type: ignore[attr-defined]
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
    try:
        given = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **{n.replace("_", "-"): v for n, v in headers.items()}}
        connection.request(method, path, body, given)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Peak:
    """How much a process grew at most, and how much of the processor's time it took."""

    def __init__(self, daemon: Daemon) -> None:
        assert daemon.process is not None
        self.pid = daemon.process.pid

    def __enter__(self) -> Self:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # forget the highest so far
        self.before = resident_bytes(self.pid)
        self.start, self.cpu_before = time.monotonic(), self.cpu_s()
        return self

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __exit__(self, *_: object) -> None:
        self.waited_s, self.took_s = time.monotonic() - self.start, self.cpu_s() - self.cpu_before
        status = Path(f"/proc/{self.pid}/status").read_text()
        highest = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        self.grown = max(0, highest - self.before)

    def check(self, kind: str) -> None:
        WORST[kind] = (self.grown / 2**20, self.took_s)
        assert self.grown <= GROWTH_BYTES, f"{kind}: {self.grown / 2**20:.1f} MiB"
        assert self.took_s <= LIMIT_S, f"{kind}: {self.took_s:.2f} s of CPU"
        assert self.waited_s <= LIMIT_S * 20, f"{kind}: {self.waited_s:.2f} s"  # the machine may be busy with others


def alive(daemon: Daemon) -> None:
    assert call(daemon, "POST", hook_path(daemon), b"{}")[0] == 202


# --- what comes in ---------------------------------------------------------------------------------------------------


def pour(daemon: Daemon, head: bytes, piece: bytes, total: int) -> tuple[bytes, int]:
    """Send without end, until the other side has enough; return what it said and how much it took."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=10) as sock:
        sent = 0
        with contextlib.suppress(ConnectionError, TimeoutError):
            sock.sendall(head)
            while sent < total:
                sock.sendall(piece)
                sent += len(piece)
        sock.settimeout(3)
        said = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            said = sock.recv(4096)
        return said, sent


def poured(name: str, path: str, more: str, chunked: bool) -> tuple[str, Callable[[Daemon], tuple[bytes, bytes]]]:
    def make(daemon: Daemon) -> tuple[bytes, bytes]:
        target = hook_path(daemon) if path == "hook" else path
        head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}\r\n".encode()
        piece = b"x" * 65_536
        return head, (b"10000\r\n" + piece + b"\r\n" if chunked else piece)

    return name, make


POURED = [
    poured("1 GiB hook, announced", "hook", "Content-Length: 1073741824\r\n", chunked=False),
    poured("1 GiB hook, in chunks", "hook", "Transfer-Encoding: chunked\r\n", chunked=True),
    poured("1 GiB to nobody", "/hooks/nobody", "Transfer-Encoding: chunked\r\n", chunked=True),
    poured("1 GiB to the API", "/api/v1/apply", "Transfer-Encoding: chunked\r\n", chunked=True),
    poured("1 GiB to the login", "/login", "Transfer-Encoding: chunked\r\n", chunked=True),
]


@pytest.mark.parametrize(("name", "make"), POURED, ids=[name for name, _ in POURED])
def test_a_body_without_end_is_refused(daemon: Daemon, name: str, make: Any) -> None:
    head, piece = make(daemon)
    with Peak(daemon) as peak:
        said, sent = pour(daemon, head, piece, 1 << 30)
    assert sent < 1 << 28, "it was not read to its end"
    assert not said or said.split(b" ")[1] in (b"413", b"404", b"401", b"403", b"415"), said[:100]
    peak.check(name)
    alive(daemon)


HEADS = [
    ("one header of 256 MiB", b"X-Long: ", b"a" * 65_536),
    ("a million headers", b"", b"X-A: b\r\n" * 8_192),
    ("an address of 256 MiB", b"GET-LINE", b"a" * 65_536),
    ("a header name of 256 MiB", b"", b"a" * 65_536),
    ("a chunk size of 256 MiB", b"CHUNK", b"0" * 65_536),
    ("trailers of 256 MiB", b"TRAILER", b"X-T: b\r\n" * 8_192),
]


@pytest.mark.parametrize(("name", "begin", "piece"), HEADS, ids=[name for name, _, _ in HEADS])
def test_a_head_without_end_is_refused(daemon: Daemon, name: str, begin: bytes, piece: bytes) -> None:
    start = f"POST {hook_path(daemon)} HTTP/1.1\r\nHost: localhost\r\n".encode()
    chunked = start + b"Transfer-Encoding: chunked\r\n\r\n"
    head = {b"GET-LINE": b"GET /", b"CHUNK": chunked, b"TRAILER": chunked + b"2\r\n{}\r\n0\r\n"}.get(begin, start + begin)
    with Peak(daemon) as peak:
        said, sent = pour(daemon, head, piece, 256 << 20)
    assert sent < 64 << 20, "it was not read to its end"
    assert not said or said.split(b" ")[1][:1] in (b"2", b"4"), said[:100]
    peak.check(name)
    alive(daemon)


DEEP = {"lists": b"[" * 500_000, "closed lists": b"[" * 500_000 + b"]" * 500_000, "objects": b'{"a":' * 190_000, "mixed": b'[{"a":' * 150_000,
        "wide": b"[" + b"[]," * 340_000 + b"[]]", "text": b'"' + b"\\u0041" * 170_000 + b'"', "number": b"1" * 1_000_000, "escapes": b'"' + b"\\" * 999_999}  # fmt: skip


@pytest.mark.parametrize("kind", DEEP)
def test_deep_or_wide_json_is_refused_or_taken_quickly(daemon: Daemon, kind: str) -> None:
    with Peak(daemon) as peak:
        at_the_hook, _ = call(daemon, "POST", hook_path(daemon), DEEP[kind])
    assert at_the_hook in (202, 400), at_the_hook
    assert at_the_hook == 400 or kind not in ("lists", "closed lists", "objects", "mixed") or DEEP[kind][-1:] in b"[:"
    if kind != "wide":  # 340,000 lists are what they are: 1 MiB of text, and 50 of Python for a moment
        peak.check(f"hook: {kind}")
    with Peak(daemon) as peak:
        status, _ = call(daemon, "POST", "/api/v1/areas", DEEP[kind])
    assert 400 <= status < 500
    if kind != "wide":
        peak.check(f"API: {kind}")
    alive(daemon)


# --- what a service answers ------------------------------------------------------------------------------------------


def bomb(mebibytes: int, bits: int = 31) -> bytes:
    """Return a MiB that is packed once and stands there many times; its end, which nobody should reach, is missing."""
    packer = zlib.compressobj(9, zlib.DEFLATED, bits)
    head = packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * mebibytes


ANSWERS: dict[str, Callable[[], Iterator[bytes]]] = {
    "a gzip bomb": lambda: iter([_head(bomb(1024, 31), "gzip")]),
    "a deflate bomb": lambda: iter([_head(bomb(1024, 15), "deflate")]),
    "a raw deflate bomb": lambda: iter([_head(bomb(1024, -15), "deflate")]),
    "gzip twice": lambda: iter([_head(bomb(1024, 31), "gzip, gzip")]),
    "many members": lambda: iter([_head(zlib.compress(bytes(1 << 20), 9, 31) * 1000, "gzip")]),
    "a body without end": lambda: _endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536),
    "chunks without end": lambda: _endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
    "tiny chunks without end": lambda: _endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000),
    "a head without end": lambda: _endless(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 8_192),
    "a header without end": lambda: _endless(b"HTTP/1.1 200 OK\r\nX-A: ", b"a" * 65_536),
    "a status without end": lambda: _endless(b"HTTP/1.1 200 ", b"a" * 65_536),
    "interim answers without end": lambda: _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000),
    "a length that is a lie": lambda: _endless(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"x" * 65_536),
}


def _head(body: bytes, encoding: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _endless(head: bytes, piece: bytes) -> Iterator[bytes]:
    yield head
    for _ in range((1 << 30) // len(piece)):
        yield piece


@pytest.mark.parametrize("kind", ANSWERS)
async def test_an_answer_that_is_a_bomb_fails_its_run(daemon: Daemon, kind: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            for piece in ANSWERS[kind]():
                writer.write(piece)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    with Peak(daemon) as peak:
        body = json.dumps({"trigger": {"url": url}}).encode()
        status, answer = await asyncio.to_thread(call, daemon, "POST", "/api/v1/areas/asks/runs?wait=10", body)
    server.close()
    run = json.loads(answer)
    assert (status, run["state"]) == (200, "failed"), (kind, run)
    peak.check(kind)
    alive(daemon)


# --- feeds -----------------------------------------------------------------------------------------------------------

_LAUGH = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "lol">' + "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10)) + "]>"
FEEDS = {
    "a billion laughs": _LAUGH + "<rss version='2.0'><channel><item><title>&l9;</title><guid>1</guid></item></channel></rss>",
    "a quadratic blow-up": '<?xml version="1.0"?><!DOCTYPE q [<!ENTITY a "' + "a" * 50_000 + '">]><rss><channel><item><title>' + "&a;" * 50_000 + "</title></item></channel></rss>",
    "a file": '<?xml version="1.0"?><!DOCTYPE f [<!ENTITY f SYSTEM "file:///etc/passwd">]><rss><channel><item><title>&f;</title><guid>1</guid></item></channel></rss>',
    "an address": '<?xml version="1.0"?><!DOCTYPE f SYSTEM "http://127.0.0.1:9/x.dtd"><rss><channel><item><title>a</title><guid>1</guid></item></channel></rss>',
    "open tags": "<" * 200_000,
    "ampersands": "<rss><channel><item><title>" + "&" * 200_000 + "</title></item></channel></rss>",
    "comments": "<rss><channel><item><title>" + "<!--" * 50_000 + "</title></item></channel></rss>",
    "markup": "<rss><channel><item><description>" + "&lt;b&gt;" * 40_000 + "</description></item></channel></rss>",
}  # fmt: skip

_PARSE = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from areabox.connectors.rss import parse
for warm in (b"<rss version='2.0'><channel><item><title>a</title><guid>1</guid></item></channel></rss>", b"<rss><channel><item><title>&x;<b>a</channel>",
             b"<?xml version='1.0'?><!DOCTYPE l [<!ENTITY x 'y'>]><rss version='2.0'><channel><item><title>&x;</title><guid>1</guid></item></channel></rss>"):
    parse(warm, "http://x.example/", "application/xml")  # what its libraries cost at first does not count
content = sys.stdin.buffer.read()
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    entries = parse(content, "http://x.example/", "application/xml")
    said = "".join(entry.title + entry.summary for entry in entries)
except Exception as error:
    said = type(error).__name__
print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, len(said), "root:" in said, said[:40].replace(chr(10), " "))
"""


@pytest.mark.parametrize("kind", FEEDS if FULL else list(FEEDS)[:3])
def test_a_feed_that_is_a_bomb_is_no_feed(kind: str) -> None:
    done = subprocess.run([sys.executable, "-c", _PARSE], input=FEEDS[kind].encode(), capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    cpu_s, grown_kib, length, read_file, *_ = done.stdout.decode().split(" ")
    WORST[f"feed: {kind}"] = (int(grown_kib) / 1024, float(cpu_s))
    assert read_file == "False"
    assert int(length) <= 2 * 65_536 * 1_000
    assert int(grown_kib) * 1024 <= GROWTH_BYTES, done.stdout
    assert float(cpu_s) <= LIMIT_S, done.stdout


def test_the_figures_of_the_bombs() -> None:
    if WORST:
        mib, seconds = max(WORST.items(), key=lambda one: one[1][0]), max(WORST.items(), key=lambda one: one[1][1])
        figure("G23", f"{len(WORST)} bombs: worst {mib[1][0]:.1f} MiB ({mib[0]}), {seconds[1][1]:.2f} s ({seconds[0]})")
    assert amount(1, 1)
