"""The address policy: which addresses may areabox speak to, and why not to this one.

A decision about an address, never about the spelling of a host: names, `2130706433`, `0x7f.1`, `::ffff:127.0.0.1` are
resolved first, and the connection goes to the very address that was judged. Python's own `is_global` is not used: it
calls NAT64, 6to4 and multicast global (checked on 3.11), and it changes between versions.

    public       always
    local        10/8, 172.16/12, 192.168/16 (RFC 1918) and fc00::/7 (RFC 4193): if a person typed the host
    all others   loopback, link-local, metadata services, translated, reserved: by AREABOX_EGRESS_ALLOW only
    sockets      of this machine (Unix): by AREABOX_SOCKETS_ALLOW, for connections of admins
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import msgspec

from areabox.errors import Permanent

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Kind = Literal["public", "local", "forbidden"]

SETTING = "AREABOX_EGRESS_ALLOW"
SOCKETS_SETTING = "AREABOX_SOCKETS_ALLOW"

_METADATA = "a metadata service of the machine's host"
_FORBIDDEN: tuple[tuple[str, str], ...] = (  # IANA's special-purpose registries, 2025; the first match tells the reason
    ("169.254.169.254/32", _METADATA),
    ("169.254.170.2/32", _METADATA),  # Amazon ECS
    ("100.100.100.200/32", _METADATA),  # Alibaba
    ("168.63.129.16/32", _METADATA),  # Azure; a public address that only answers its guests
    ("192.0.0.192/32", _METADATA),  # Oracle
    ("fd00:ec2::/32", _METADATA),  # Amazon
    ("fd20:ce::254/128", _METADATA),  # Google
    ("0.0.0.0/8", "this machine"),
    ("127.0.0.0/8", "this machine"),
    ("::/127", "this machine"),
    ("169.254.0.0/16", "link-local"),
    ("fe80::/10", "link-local"),
    ("100.64.0.0/10", "shared address space"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "for documentation"),
    ("198.51.100.0/24", "for documentation"),
    ("203.0.113.0/24", "for documentation"),
    ("2001:db8::/32", "for documentation"),
    ("3fff::/20", "for documentation"),
    ("192.31.196.0/24", "reserved"),
    ("192.52.193.0/24", "reserved"),
    ("192.175.48.0/24", "reserved"),
    ("192.88.99.0/24", "translated"),  # 6to4 relays
    ("198.18.0.0/15", "for benchmarks"),
    ("224.0.0.0/4", "multicast"),
    ("ff00::/8", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/96", "translated"),  # IPv4-compatible
    ("::ffff:0:0/96", "translated"),  # IPv4-mapped; unwrapped before, so none is left
    ("::ffff:0:0:0/96", "translated"),  # IPv4-translated (RFC 2765)
    ("64:ff9b::/96", "translated"),  # NAT64
    ("64:ff9b:1::/48", "translated"),  # NAT64 for local use
    ("2002::/16", "translated"),  # 6to4
    ("2001::/23", "reserved"),  # Teredo, ORCHID, benchmarks
    ("2620:4f:8000::/48", "reserved"),
    ("fec0::/10", "site-local"),
)
_LOCAL = tuple(ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
_TABLE = tuple((ipaddress.ip_network(net), why) for net, why in _FORBIDDEN)
_UNICAST6 = ipaddress.ip_network("2000::/3")  # the only part of IPv6 that is given out

# Ports where an HTTP request can do harm in another language: the WHATWG's "bad ports" (Fetch §2.9), and databases.
_PORTS = (
    "1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123 "
    "135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 993 995 1719 "
    "1720 1723 2049 3306 3659 4045 4190 5060 5061 5432 6000 6379 6566 6665 6666 6667 6668 6669 6679 6697 10080 11211 "
    "27017"
)
_FOREIGN_PORTS = frozenset(map(int, _PORTS.split()))


class Refused(Permanent):
    """The address policy does not let a request go there."""


class Rights(msgspec.Struct, frozen=True):
    """What one request may reach: hosts that a person typed, and whether it has left the local network already.

    A typed host is `name`, `name:port` or an address, in lower case. `public_only` is set behind a public redirect.
    """

    literal_hosts: frozenset[str] = frozenset()
    public_only: bool = False

    def typed(self, host: str, port: int) -> bool:
        """Tell whether a person typed this host."""
        return not self.public_only and (host in self.literal_hosts or f"{host}:{port}" in self.literal_hosts)


def parse_address(text: str) -> Address:
    """Return an address, an IPv4 one that is wrapped in IPv6 (`::ffff:…`) without its wrap; raises ValueError."""
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


def kind_of(address: Address) -> tuple[Kind, str]:
    """Return what sort of address it is, and the reason in words if it is not public."""
    for network, why in _TABLE:
        if address.version == network.version and address in network:
            return "forbidden", why
    if any(address.version == network.version and address in network for network in _LOCAL):
        return "local", "in the local network"
    if address.version == 6 and address not in _UNICAST6:
        return "forbidden", "reserved"
    return "public", ""


class Policy:
    """The rule of one installation: public addresses, and what its operator allows beside them.

    `own_ports` are those that areabox listens on; a request to this machine's own address and such a port is refused.
    """

    def __init__(
        self, allow: Iterable[Network] = (), *, own_ports: Collection[int] = (), sockets: Iterable[str] = ()
    ) -> None:
        self.allow = tuple(allow)
        self.own_ports = own_ports
        self.sockets = frozenset(sockets)

    def allowed(self, address: Address) -> bool:
        """Tell whether the operator's setting names this address."""
        return any(address.version == network.version and address in network for network in self.allow)

    def choose(
        self, host: str, port: int, resolved: Sequence[str], rights: Rights, *, http: bool = True
    ) -> list[Address]:
        """Return the addresses of a host that may be dialled, in order; raises `Refused` with a sentence.

        `http` closes the ports that speak another language. A name that has a public and a forbidden address at once
        is refused whole: honest names do not look like that.
        """
        addresses = list(dict.fromkeys(parse_address(text) for text in resolved))
        typed, foreign = rights.typed(host, port), http and port in _FOREIGN_PORTS
        good = [address for address in addresses if self._may(address, rights, typed=typed, foreign=foreign)]
        bad = [address for address in addresses if address not in good]
        if bad and (not good or any(kind_of(address)[0] == "public" for address in addresses)):
            raise Refused(_sentence(host, port, bad[0], rights, foreign=foreign))
        return good

    def check_socket(self, path: str, rights: Rights) -> None:
        """Raise `Refused` for a Unix socket, unless the operator named it and it stands in an admin's connection."""
        if path not in self.sockets:
            raise Refused(f"{path} is a socket of this machine; {SOCKETS_SETTING}={path} would allow it")
        if not rights.typed(f"unix:{path}", 0):
            raise Refused(f"{path} is reached only by a connection that an admin made")

    def check_own(self, local: str, peer: str, port: int) -> None:
        """Raise `Refused` if a fresh connection leads back to areabox itself, by whichever of its addresses."""
        address = parse_address(peer)
        if local == peer and port in self.own_ports and not self.allowed(address):
            raise Refused(f"{peer} port {port} is areabox itself; {SETTING}={_cidr(address)} would allow it")

    def _may(self, address: Address, rights: Rights, *, typed: bool, foreign: bool) -> bool:
        kind, _ = kind_of(address)
        if rights.public_only and kind != "public":
            return False
        return self.allowed(address) or (not foreign and (kind == "public" or (kind == "local" and typed)))


def is_public(address: Address) -> bool:
    """Tell whether anybody on the internet may have this address."""
    return kind_of(address)[0] == "public"


def _sentence(host: str, port: int, address: Address, rights: Rights, *, foreign: bool) -> str:
    kind, why = kind_of(address)
    place = str(address) if host == str(address) else f"{host} ({address})"
    allow = f"{SETTING}={_cidr(address)} would allow it"
    if rights.public_only and kind != "public":
        return f"{place} is {why}, and a public service redirected there"
    if kind != "forbidden" and foreign:
        return f"port {port} of {place} does not speak HTTP; {allow}"
    if kind == "local":
        return f"{place} is {why}, and nobody typed this host in a connection or an area; {allow}"
    return f"{place} is {why}, which requests may not reach; {allow}"


def _cidr(address: Address) -> str:
    return f"{address}/{address.max_prefixlen}".replace("%", "_")
