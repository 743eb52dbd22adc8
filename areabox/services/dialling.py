"""How is a service reached that speaks no HTTP? By a socket to one of the addresses that were judged."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence

from areabox.services.addresses import Policy
from areabox.services.wire import NotSent

PER_ADDRESS_S = 10.0
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))  # a dead peer is noticed in two minutes


async def first(name: str, addresses: Sequence[str], port: int, policy: Policy) -> socket.socket:
    """Dial addresses one after the other, and return the first socket that connects; it does not block.

    `name` is for people. Raises `NotSent` if none connects, `Refused` if it leads back to areabox itself.
    """
    why, last = "it has no address", None
    for address in addresses:
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            await _connect(made, address, port)
            policy.check_own(str(made.getsockname()[0]), str(made.getpeername()[0]), port)
        except (OSError, TimeoutError) as error:
            made.close()
            why, last = _reason(error), error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise NotSent(f"{name} cannot be reached: {why}") from last


async def _connect(made: socket.socket, address: str, port: int) -> None:
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in _KEEPALIVE:
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    async with asyncio.timeout(PER_ADDRESS_S):
        await asyncio.get_running_loop().sock_connect(made, (address, port))


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError) and not error.errno:
        return "no answer"
    return os.strerror(error.errno).lower() if error.errno else str(error)
