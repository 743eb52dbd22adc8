"""Does a machine answer an ICMP echo (RFC 792, RFC 4443), and how fast? Where the system lets areabox ask."""

from __future__ import annotations

import asyncio
import os
import socket
import struct

_ECHO = {socket.AF_INET: (socket.IPPROTO_ICMP, 8, 0), socket.AF_INET6: (socket.IPPROTO_ICMPV6, 128, 129)}
ANSWER_MAX = 2048


async def echo(address: str, timeout_s: float) -> float | None:
    """Return the milliseconds that an echo took, None if none came; raises PermissionError where nobody may ask."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    protocol, ask, answer = _ECHO[family]
    token, loop = os.urandom(16), asyncio.get_running_loop()
    with _socket(family, protocol) as made:
        made.setblocking(False)
        since_s = loop.time()
        try:
            made.connect((address, 0))
            async with asyncio.timeout(timeout_s):
                await loop.sock_sendall(made, _packet(ask, token))
                while not _answers(await loop.sock_recv(made, ANSWER_MAX), family, answer, token):
                    pass
        except (TimeoutError, OSError):
            return None
        return (loop.time() - since_s) * 1000


def _socket(family: int, protocol: int) -> socket.socket:
    """Return a socket for echoes: the sort that needs no rights where the system has it (net.ipv4.ping_group_range)."""
    try:
        return socket.socket(family, socket.SOCK_DGRAM, protocol)
    except OSError:
        return socket.socket(family, socket.SOCK_RAW, protocol)


def _packet(ask: int, token: bytes) -> bytes:
    head = struct.pack("!BBHHH", ask, 0, 0, 0, 1)
    return struct.pack("!BBHHH", ask, 0, _checksum(head + token), 0, 1) + token


def _answers(data: bytes, family: int, answer: int, token: bytes) -> bool:
    """Tell whether a packet, with its IP header or without, is the answer to ours."""
    start = (data[0] & 15) * 4 if family == socket.AF_INET and data[:1] and data[0] >> 4 == 4 else 0
    return data[start : start + 1] == bytes([answer]) and data.endswith(token)


def _checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
