"""Which addresses does a name have? Asked of the machine's own resolver, in threads of its own.

A slow name server must not hold up password hashing or whatever else uses the event loop's common threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

Resolve = Callable[[str, int], Awaitable[list[str]]]

_THREADS = 64  # made as they are needed; each name whose server is gone holds one for as long as the machine tries


class Resolver:
    """The machine's resolver; the same question asked twice at once is asked once."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._asking: dict[str, asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host, best first; raises OSError if there are none."""
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        asking = self._asking.get(host)
        if asking is None:
            asking = asyncio.ensure_future(self._ask(host, port))
            asking.add_done_callback(lambda done: self._answered(host, done))
            self._asking[host] = asking
        return await asyncio.shield(asking)

    def close(self) -> None:
        """Let the threads go; questions that are still open are not waited for."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    async def _ask(self, host: str, port: int) -> list[str]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="areabox-dns")
        found = await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)
        return list(dict.fromkeys(found))

    def _answered(self, host: str, done: asyncio.Future[list[str]]) -> None:
        self._asking.pop(host, None)
        if not done.cancelled():
            done.exception()  # somebody has waited for it, or nobody cares any more


def _look_up(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
