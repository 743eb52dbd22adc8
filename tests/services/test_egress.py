"""One request through the guard: what goes out, where redirects lead, what may come back."""

from __future__ import annotations

import base64

import httpx2
import pytest

from areabox.errors import Permanent
from areabox.services.addresses import Refused
from areabox.services.guarded import guarded_client
from areabox.services.targets import host_of
from areabox.services.wire import NotSent
from tests.services.loopback import echo, names, opened, raw, serving

# -- what goes out


async def test_the_request_is_what_was_asked_for(clock):
    async with serving(echo) as server, opened(clock) as egress:
        await egress.request("post", server.url("/a%20b?c=ü#part"), content="häus", headers={"X-Title": "Größe"})
        request = server.requests[0]
        assert (request.method, request.path, request.body.decode()) == ("POST", "/a%20b?c=%C3%BC", "häus")
        assert request.headers["host"] == f"127.0.0.1:{server.port}"
        assert request.headers["x-title"] == "Größe"
        assert request.headers["user-agent"].startswith("areabox/")
        assert request.headers["accept-encoding"] == "gzip, deflate"
        assert "connection" not in request.headers


async def test_the_caller_may_name_itself_but_not_frame_the_message(clock):
    own = {"User-Agent": "me", "Content-Length": "99", "Host": "other", "Transfer-Encoding": "chunked", "Upgrade": "x"}
    async with serving(echo) as server, opened(clock) as egress:
        await egress.request("PUT", server.url(), content=b"abc", headers=own)
        headers = server.requests[0].headers
        assert (headers["user-agent"], headers["content-length"]) == ("me", "3")
        assert headers["host"] != "other"
        assert not {"transfer-encoding", "upgrade"} & set(headers)


async def test_a_post_without_a_body_says_so_and_a_get_says_nothing(clock):
    async with serving(echo) as server, opened(clock) as egress:
        await egress.request("POST", server.url())
        await egress.request("GET", server.url())
        assert server.requests[0].headers["content-length"] == "0"
        assert "content-length" not in server.requests[1].headers


async def test_name_and_password_of_an_address_go_into_a_header(clock):
    async with serving(echo) as server, opened(clock) as egress:
        reply = await egress.request("GET", f"http://ann:p%40ss@127.0.0.1:{server.port}/")
        assert server.requests[0].headers["authorization"] == "Basic " + base64.b64encode(b"ann:p@ss").decode()
        assert "ann" not in str(reply.url)


@pytest.mark.parametrize("headers", [{"A b": "x"}, {"": "x"}, {"X": "a\r\nEvil: 1"}, {"X": "a\nb"}, {"X\r\nY": "z"}])
async def test_headers_cannot_break_out(clock, headers):
    async with opened(clock) as egress:
        with pytest.raises(Permanent):
            await egress.request("GET", "http://127.0.0.1/", headers=headers)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/x",
        "example.org",
        "ftp://example.org/",
        "file:///etc/passwd",
        "unix:///run/x.sock",
        "http://",
        "http:///x",
        "http://a b/",
        "http://[::1/",
        "http://x:99999/",
        "http://x:0x/",
        "javascript:alert(1)",
        "http://" + "x" * 70000,
        "gopher://127.0.0.1/",
        "http://exa\nmple.org/",
        "http://example.org/\r\nX: y",
    ],
)
async def test_what_is_no_address_is_refused_with_a_sentence(clock, url):
    async with opened(clock) as egress:
        with pytest.raises(Permanent):
            await egress.request("GET", url)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "GET /x HTTP/1.1\r\n", "", "BREW"])
async def test_methods_are_a_short_list(clock, method):
    async with opened(clock) as egress:
        with pytest.raises(Permanent, match="no method"):
            await egress.request(method, "http://127.0.0.1/")


async def test_the_environment_does_not_choose_a_proxy(clock, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(echo) as server, opened(clock) as egress:
        assert (await egress.request("GET", server.url())).text == "GET / "


async def test_the_answer_is_a_response_of_httpx2(clock):
    answer = (
        b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n" + b'{"a":"\xc3\xbc"}'[:9]
    )
    async with serving(raw(answer.replace(b"9", b"10", 1) + b"}")) as server, opened(clock) as egress:
        reply = await egress.request("GET", server.url("/x"))
        assert isinstance(reply, httpx2.Response)
        assert reply.json() == {"a": "ü"}
        assert (reply.status_code, reply.is_success, str(reply.url)) == (201, True, server.url("/x"))
        assert reply.request.method == "GET"
        assert await reply.aread() == reply.content == reply.read()
        assert [piece async for piece in reply.aiter_bytes()] == [reply.content]
        reply.raise_for_status()


def test_a_host_is_named_as_rights_name_it():
    assert [host_of(text) for text in ("https://NAS.lan:8443/x", "nas.lan:80", "NAS.lan.", "[fd00::1]:80")] == [
        "nas.lan", "nas.lan", "nas.lan", "fd00::1",
    ]  # fmt: skip


# -- where it may go


NUMBERS = """
127.0.0.1 127.1 127.0.1 2130706433 0x7f000001 0x7f.1 0x7f.0x0.0x0.0x1 0177.0.0.1 017700000001 0 0.0.0.0 localhost
[::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:7f00:1] [::127.0.0.1] [64:ff9b::7f00:1] [2002:7f00:1::]
[fe80::1] 169.254.169.254 2852039166 0xa9fea9fe 0xA9.0xFE.0xA9.0xFE 0251.0376.0251.0376 [::ffff:169.254.169.254]
[fd00:ec2::254] 10.0.0.1 192.168.1.1 3232235777 0xc0a80101 172.16.0.1 [fd00::1] 100.64.0.1 127.0.0.1. LOCALHOST
１２７.0.0.1 ①②⑦.⓪.⓪.① 127。0。0。1
"""


@pytest.mark.parametrize("host", NUMBERS.split())
@pytest.mark.parametrize("form", ["http://{}/", "http://{}:8080/x", "http://user@{}/", "https://{}/", "HTTP://{}/?a#b"])
async def test_no_spelling_of_a_forbidden_address_gets_through(clock, host, form):
    async with opened(clock, allow=()) as egress:
        with pytest.raises((Permanent, NotSent)) as caught:
            await egress.request("GET", form.format(host), timeout_s=5)
        assert isinstance(caught.value, Refused) or "no address" in str(caught.value)


async def test_a_local_host_is_reached_if_a_person_typed_it(clock, monkeypatch):
    monkeypatch.setattr("areabox.services.addresses.kind_of", lambda address: ("local", "in the local network"))
    async with serving(echo) as server, opened(clock, allow=(), resolve=names({"nas.lan": ["127.0.0.1"]})) as egress:
        url = server.url(host="nas.lan")
        with pytest.raises(Refused):
            await egress.request("GET", url, literal_hosts=frozenset({"other.lan"}))
        assert server.connections == 0
        assert (await egress.request("GET", url, literal_hosts=frozenset({"nas.lan"}))).text == "GET / "
        with pytest.raises(Refused):
            await egress.request("GET", url)


async def test_other_protocols_get_judged_addresses(clock):
    resolve = names({"broker.lan": ["192.168.1.9"], "broker.example.org": ["93.184.216.34"]})
    async with opened(clock, allow=(), resolve=resolve) as egress:
        assert await egress.addresses("broker.example.org", 1883) == ["93.184.216.34"]
        assert await egress.addresses("broker.lan", 1883, literal_hosts=frozenset({"broker.lan"})) == ["192.168.1.9"]
        for host in ("broker.lan", "127.0.0.1", "169.254.169.254"):
            with pytest.raises(Refused):
                await egress.addresses(host, 1883)
        assert await egress.addresses("broker.example.org", 25) == ["93.184.216.34"]


# -- a client for libraries


async def test_a_library_can_have_a_client_over_the_same_guard(clock):
    async with serving(echo) as server, opened(clock) as egress, guarded_client(egress) as client:
        reply = await client.post(server.url("/x"), json={"a": 1})
        assert reply.text == 'POST /x {"a":1}'
        assert str(reply.request.url) == server.url("/x")
        async with client.stream("GET", server.url("/y")) as streamed:
            assert await streamed.aread() == b"GET /y "


async def test_its_errors_are_those_that_libraries_know(clock):
    async with serving(raw(b"")) as server, opened(clock) as egress, guarded_client(egress) as client:
        with pytest.raises(httpx2.ReadError):
            await client.get(server.url())
        with pytest.raises(httpx2.ConnectError):
            await client.get("http://127.0.0.1:1/")
        with pytest.raises(httpx2.TransportError, match="AREABOX_EGRESS_ALLOW") as caught:
            await client.get("http://169.254.169.254/")
        assert isinstance(caught.value.__cause__, Refused)
