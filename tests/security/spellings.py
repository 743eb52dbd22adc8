"""Hundreds of ways to write an address that areabox must not dial."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

FORBIDDEN = ("127.0.0.1", "127.1.2.3", "0.0.0.0", "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192")
LOCAL = ("10.0.0.1", "192.168.1.1", "172.16.0.1")
SIXES = ("::1", "::", "fd00:ec2::254", "fe80::1", "fc00::1", "fd12:3456:789a::1", "fec0::1", "ff02::1", "2001:db8::1", "2001::1", "100::1", "5f00::1")
NAMES = ("localhost", "LOCALHOST", "localhost.", "foo.localhost", "localhost.localdomain", "ip6-localhost", "metadata.google.internal",
         "127.0.0.1.nip.example", "ｌｏｃａｌｈｏｓｔ", "loc\u00adalhost", "lo%63alhost", "LocalHost.", "router.lan", "metadata")  # fmt: skip


def fours(address: str) -> Iterator[str]:
    """Yield an IPv4 address as inet_aton, IPv6, IDNA and browsers understand it."""
    a, b, c, d = (int(part) for part in address.split("."))
    whole = int(ipaddress.ip_address(address))
    yield address
    yield f"{address}."
    yield str(whole)
    yield hex(whole)
    yield f"0X{whole:X}"
    yield f"0{whole:o}"
    yield f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"
    yield f"0{a:o}.0{b:o}.0{c:o}.0{d:o}"
    yield f"000{a:o}.{b}.{c}.{d}"
    yield f"0x{a:x}.{b}.{c}.{d}"
    yield f"{a}.{(b << 16) | (c << 8) | d}"
    yield f"{a}.{b}.{(c << 8) | d}"
    yield f"0x{a:x}.0x{(b << 16) | (c << 8) | d:x}"
    yield f"{a + 256}.{b}.{c}.{d}"
    yield str(whole + (1 << 32))
    yield address.replace(".", "。")  # an ideographic full stop, which IDNA takes for a dot
    yield address.replace(".", "．")
    yield "".join(chr(0xFF10 + int(ch)) if ch.isdigit() else ch for ch in address)
    yield "".join(chr(0x2460 + int(ch) - 1) if ch in "123456789" else ch for ch in address)
    yield address.replace(".", "%2e")
    yield "%" + "%".join(f"{ord(ch):02x}" for ch in address)
    yield f"[::ffff:{address}]"
    yield f"[::ffff:{a:02x}{b:02x}:{c:02x}{d:02x}]"
    yield f"[0:0:0:0:0:ffff:{address}]"
    yield f"[::{address}]"
    yield f"[::ffff:0:{address}]"
    yield f"[64:ff9b::{address}]"
    yield f"[64:ff9b:1::{address}]"
    yield f"[2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1]"
    yield f"[2001:0:53aa:64c:0:0:{~(a << 8 | b) & 0xFFFF:x}:{~(c << 8 | d) & 0xFFFF:x}]"
    yield f"[::FFFF:{address}%lo]"
    yield f"user:pw@{address}"
    yield f"example.org@{address}"
    yield f"example.org%20@{address}"
    yield f"{address}%00.example.org"
    yield f"{address}\\@example.org"
    yield f" {address}"
    yield f"\t{address}"
    yield f"/{address}"


def sixes(address: str) -> Iterator[str]:
    yield f"[{address}]"
    yield f"[{ipaddress.ip_address(address).exploded}]"
    yield f"[{address.upper()}]"
    yield f"[{address}%lo]"
    yield f"[{address}%25lo]"
    yield f"user@[{address}]"
    yield address


def hosts() -> list[str]:
    """Return every spelling once, in an order that mixes them."""
    found = [host for address in (*FORBIDDEN, *LOCAL) for host in fours(address)]
    found += [host for address in SIXES for host in sixes(address)]
    found += NAMES
    every = list(dict.fromkeys(found))
    return [every[index * 137 % len(every)] for index in range(len(every))] if len(every) % 137 else every
