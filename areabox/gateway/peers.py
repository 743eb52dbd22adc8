"""Where does a request come from, and by which name did it reach us? Proxies are believed only where they are named."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import msgspec

from areabox.gateway.base_path import PREFIX
from areabox.gateway.parts import Site

LOCAL = "areabox.local"  # in scope["state"]: who calls may open the data directory
_FORWARDING = ("x-forwarded-for", "forwarded", "x-real-ip", "via")

Scope = Mapping[str, Any]
Headers = Mapping[str, str]


class Peer(msgspec.Struct, frozen=True):
    """The other side of a request. `host` is the Host header; `local` needs no name, `loopback` is this machine."""

    address: str
    scheme: str
    host: str
    local: bool
    loopback: bool

    @property
    def secure(self) -> bool:
        """Return whether the browser's side speaks https."""
        return self.scheme == "https"

    @property
    def origin(self) -> str:
        """Return the origin that our own pages have for this browser."""
        return f"{self.scheme}://{self.host}"


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers of a request by their names in lower case; what comes twice is joined."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joint = "; " if name == "cookie" else ", "
        found[name] = f"{found[name]}{joint}{value}" if name in found else value
    return found


def peer_of(scope: Scope, headers: Headers, site: Site) -> Peer:
    """Return who asks."""
    local = bool(scope.get("state", {}).get(LOCAL))
    client = scope.get("client")
    direct = client[0] if client else ""
    host = headers.get("host", "").lower()
    scheme = str(scope.get("scheme", "http"))
    if local:
        return Peer("local", scheme, host, local=True, loopback=True)
    if _trusted(direct, site):
        address = _behind(headers.get("x-forwarded-for", ""), direct, site)
        scheme = headers.get("x-forwarded-proto", scheme).rpartition(",")[2].strip().lower()
        host = headers.get("x-forwarded-host", host).rpartition(",")[2].strip().lower()
        loopback = _is_loopback(address)
    else:
        address = direct
        loopback = _is_loopback(direct) and not any(name in headers for name in _FORWARDING)
    if site.public_url.startswith("https:") and host == urlsplit(site.public_url).netloc.lower():
        scheme = "https"
    return Peer(address, "https" if scheme == "https" else "http", host, local=False, loopback=loopback)


def prefix_of(scope: Scope, headers: Headers, site: Site) -> str:
    """Return the path below which the browser sees areabox: the proxy's, or that of the settings."""
    client = scope.get("client")
    if "x-forwarded-prefix" in headers and _trusted(client[0] if client else "", site):
        given = headers["x-forwarded-prefix"].rpartition(",")[2].strip().rstrip("/")
        if not given or PREFIX.fullmatch(given):
            return given
    return site.base_path


def in_networks(address: str, networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]) -> bool:
    """Return whether an address lies in one of these networks."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def _trusted(address: str, site: Site) -> bool:
    return bool(site.trusted_proxies) and in_networks(address, site.trusted_proxies)


def _behind(chain: str, direct: str, site: Site) -> str:
    """Return the right-most address of X-Forwarded-For that is no proxy of ours."""
    address = direct
    for hop in reversed([part.strip() for part in chain.split(",") if part.strip()]):
        if _parsed(hop) is None:
            break
        address = hop
        if not _trusted(hop, site):
            break
    return address


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _is_loopback(address: str) -> bool:
    parsed = _parsed(address)
    return parsed is not None and parsed.is_loopback


def is_own_host(host: str, site: Site) -> bool:
    """Return whether a Host header names us: an address, this machine, or a configured name.

    A page elsewhere can make its own name point at us (DNS rebinding), but neither an address nor these names.
    """
    name = _name(host)
    if _parsed(name) is not None:
        return True
    return name in {"localhost", *_machine()} or name.endswith(".localhost") or name in _configured(site)


def _name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _configured(site: Site) -> set[str]:
    names = {_name(name.lower()) for name in site.allowed_hosts}
    return names | {urlsplit(site.public_url).hostname or ""} - {""}


@lru_cache(maxsize=1)
def _machine() -> tuple[str, str]:
    name = socket.gethostname().lower()
    return name, f"{name}.local"
