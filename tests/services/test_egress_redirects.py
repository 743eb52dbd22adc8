"""Where redirects lead, and what does not come along."""

from __future__ import annotations

import ipaddress

import pytest

from areabox.errors import Permanent
from areabox.services.addresses import Refused
from areabox.services.egress import Credentials
from tests.services.loopback import Connection, Script, echo, names, opened, serving


def redirecting(table: dict[str, str], status: int = 302) -> Script:
    async def script(connection: Connection) -> None:
        while True:
            request = await connection.read()
            if request.path in table:
                await connection.answer(b"moved", f"{status} Moved", f"Location: {table[request.path]}\r\n")
            else:
                await connection.answer(f"{request.method} {request.path} ".encode() + request.body)

    return script


async def test_redirects_are_followed_and_the_last_address_is_told(clock):
    async with serving(redirecting({"/a": "/b", "/b": "c?d=1"})) as server, opened(clock) as egress:
        reply = await egress.request("GET", server.url("/a"))
        assert (reply.text, str(reply.url)) == ("GET /c?d=1 ", server.url("/c?d=1"))
        assert server.connections == 1


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (302, "PUT", "PUT"),
        (301, "DELETE", "DELETE"),
    ],
)
async def test_the_status_says_which_method_follows(clock, status, method, then):
    async with serving(redirecting({"/a": "/b"}, status)) as server, opened(clock) as egress:
        headers = {"Content-Type": "text/plain"}
        content = None if method == "HEAD" else b"body"
        await egress.request(method, server.url("/a"), content=content, headers=headers)
        last = server.requests[-1]
        assert last.method == then
        assert last.body == (content if then == method and content else b"")
        assert ("content-type" in last.headers) == (then == method)


async def test_redirects_end(clock):
    async with serving(redirecting({"/a": "/a"})) as server, opened(clock) as egress:
        with pytest.raises(Permanent, match="redirects more than 5 times"):
            await egress.request("GET", server.url("/a"))
        assert len(server.requests) == 6


async def test_a_redirect_can_be_left_to_the_caller(clock):
    async with serving(redirecting({"/a": "/b"})) as server, opened(clock) as egress:
        reply = await egress.request("GET", server.url("/a"), follow_redirects=False)
        assert (reply.status_code, reply.headers["location"]) == (302, "/b")


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/",
        "http://10.0.0.1/",
        "http://[::ffff:10.0.0.1]/",
        "http://2852039166/",
        "//10.0.0.1/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "http://ann:pw@127.0.0.1/",
        "http://[::1/",
    ],
)
async def test_a_redirect_is_judged_as_any_request(clock, location):
    async with serving(redirecting({"/a": location})) as server, opened(clock) as egress:
        with pytest.raises(Permanent):
            await egress.request("GET", server.url("/a"))


async def test_a_public_service_cannot_redirect_into_the_local_network(clock):
    local = ipaddress.ip_network("127.0.0.0/8")
    resolve = names({"public.example.org": ["127.0.0.1"], "nas.lan": ["127.0.0.1"]})
    async with (
        serving(redirecting({"/a": "http://nas.lan:1/"})) as server,
        opened(clock, resolve=resolve, allow=[local]) as egress,
    ):
        public = lambda address: str(address) == "127.0.0.1"  # the public host of this test
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("areabox.services.egress.is_public", public)
            with pytest.raises(Refused, match="a public service redirected there"):
                await egress.request(
                    "GET", server.url("/a", host="public.example.org"), literal_hosts=frozenset({"nas.lan"})
                )


SECRETS = {"Authorization": "Bearer x", "Cookie": "a=b", "X-Api-Key": "k", "Accept": "text/html", "X-Custom": "c"}


async def test_another_party_gets_no_credentials(clock):
    resolve = names({"first.example.org": ["127.0.0.1"], "second.example.org": ["127.0.0.1"]})
    async with (
        serving(echo) as second,
        opened(clock, resolve=resolve) as egress,
        serving(redirecting({"/a": second.url("/b", host="second.example.org")}, 307)) as first,
    ):
        await egress.request("POST", first.url("/a", host="first.example.org"), content="x", headers=SECRETS)
        assert first.requests[0].headers["x-api-key"] == "k"
        got = second.requests[0].headers
        assert not {"authorization", "cookie", "x-api-key", "x-custom"} & set(got)
        assert got["accept"] == "text/html"


async def test_another_port_is_another_party(clock):
    async with (
        serving(echo) as second,
        serving(redirecting({"/a": second.url("/b")})) as first,
        opened(clock) as egress,
    ):
        await egress.request("GET", first.url("/a"), headers=SECRETS)
        assert "authorization" not in second.requests[0].headers


async def test_the_same_party_gets_everything_again(clock):
    async with serving(redirecting({"/a": "/b"})) as server, opened(clock) as egress:
        await egress.request("GET", server.url("/a"), headers=SECRETS)
        assert server.requests[1].headers["authorization"] == "Bearer x"


async def test_credentials_go_to_their_hosts_only(clock):
    table = {host: ["127.0.0.1"] for host in ("api.example.org", "cdn.api.example.org", "evil.example.org")}
    key = Credentials((("Authorization", "Bearer k"),), frozenset({"api.example.org", "*.api.example.org"}))
    async with serving(echo) as server, opened(clock, resolve=names(table)) as egress:
        for host in table:
            await egress.request("GET", server.url(host=host), credentials=key, headers={"authorization": "other"})
        assert [request.headers["authorization"] for request in server.requests] == ["Bearer k", "Bearer k", "other"]


async def test_credentials_return_when_a_redirect_leads_back_to_their_host(clock):
    resolve = names({"api.example.org": ["127.0.0.1"], "login.example.org": ["127.0.0.1"]})
    key = Credentials((("Authorization", "Bearer k"),), frozenset({"api.example.org"}))
    table: dict[str, str] = {}
    async with serving(redirecting(table)) as server, opened(clock, resolve=resolve) as egress:
        table["/a"] = server.url("/b", host="login.example.org")
        table["/b"] = server.url("/c", host="api.example.org")
        await egress.request("GET", server.url("/a", host="api.example.org"), credentials=key)
        assert ["authorization" in request.headers for request in server.requests] == [True, False, True]
