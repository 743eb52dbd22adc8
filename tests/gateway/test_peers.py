"""Where a request comes from."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from areabox.gateway.parts import Site
from areabox.gateway.peers import Peer, peer_of

PROXIED = Site(trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("127.0.0.1/32")))


def peer(site: Site, address: str, **headers: str) -> Peer:
    given = {name.replace("_", "-"): value for name, value in headers.items()} | {
        "host": headers.get("host", "box.lan")
    }
    scope: dict[str, Any] = {"client": (address, 1), "scheme": "http", "state": {}}
    return peer_of(scope, given, site)


def test_forwarded_headers_count_for_nothing_without_a_configured_proxy() -> None:
    found = peer(Site(), "203.0.113.5", x_forwarded_for="127.0.0.1", x_forwarded_proto="https", x_forwarded_host="x")
    assert (found.address, found.scheme, found.host, found.loopback) == ("203.0.113.5", "http", "box.lan", False)


@pytest.mark.parametrize(
    ("chain", "address"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("127.0.0.1, 203.0.113.5", "203.0.113.5"),
        ("1.2.3.4, 203.0.113.5, 10.0.0.9", "203.0.113.5"),
        ("evil, 10.0.0.9", "10.0.0.9"),
        ("", "10.0.0.2"),
        ("10.0.0.3", "10.0.0.3"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_behind_proxies_the_right_most_stranger_counts(chain: str, address: str) -> None:
    assert peer(PROXIED, "10.0.0.2", x_forwarded_for=chain).address == address


def test_a_proxy_says_how_the_browser_speaks() -> None:
    found = peer(
        PROXIED, "10.0.0.2", x_forwarded_for="203.0.113.5", x_forwarded_proto="https", x_forwarded_host="a.example.org"
    )
    assert found.secure
    assert found.origin == "https://a.example.org"


def test_a_proxy_on_this_machine_does_not_make_everybody_its_owner() -> None:
    assert not peer(PROXIED, "127.0.0.1", x_forwarded_for="203.0.113.5").loopback
    assert not peer(Site(), "127.0.0.1", x_forwarded_for="127.0.0.1").loopback
    assert not peer(Site(), "127.0.0.1", forwarded="for=1.2.3.4").loopback
    assert peer(Site(), "127.0.0.1").loopback
    assert peer(Site(), "::1").loopback
    assert peer(Site(), "::ffff:127.0.0.1").loopback


def test_under_the_public_https_address_cookies_are_secure() -> None:
    site = Site(public_url="https://a.example.org")
    assert peer(site, "127.0.0.1", host="a.example.org").secure
    assert not peer(site, "127.0.0.1", host="box.lan").secure
