"""How is a program run? By its arguments, never by a shell, without an environment, in a group that ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from typing import Any

import msgspec

LEFTOVER_S = 1.0  # for what was written last to be read


class Ended(msgspec.Struct, frozen=True):
    """How a program ended; None of its code: it was ended because its time was over."""

    code: int | None
    stdout: bytes
    stderr: bytes
    truncated: bool


async def run(
    argv: list[str], *, folder: str, env: Mapping[str, str], stdin: bytes, timeout_s: float, output_bytes: int
) -> Ended:
    """Run a program to its end, or to the end of its time; raises OSError if it cannot be started.

    Whatever it has started is ended with it, also if the waiting is cancelled. Of each output as much is kept as is
    allowed; the rest is read and dropped, so that the program does not wait for anybody.
    """
    heard = _Heard(output_bytes)
    transport, _ = await asyncio.get_running_loop().subprocess_exec(
        lambda: heard, *argv, cwd=folder, env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        _feed(transport, stdin)
        await asyncio.wait([heard.exited], timeout=timeout_s)
        code = transport.get_returncode()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(transport.get_pid(), signal.SIGKILL)  # the whole group: what the program left behind, too
        try:
            await asyncio.wait([heard.silent], timeout=LEFTOVER_S)
        finally:
            transport.close()
    return Ended(code, bytes(heard.kept[1]), bytes(heard.kept[2]), heard.truncated)


class _Heard(asyncio.SubprocessProtocol):
    """What a program wrote, up to a limit, and its end, which may come before that of what it started."""

    def __init__(self, most: int) -> None:
        loop = asyncio.get_running_loop()
        self.exited, self.silent = loop.create_future(), loop.create_future()
        self.kept = {1: bytearray(), 2: bytearray()}
        self.truncated, self._most, self._open = False, most, {1, 2}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        room = self._most - len(self.kept[fd])
        self.kept[fd] += data[:room]
        self.truncated = self.truncated or len(data) > room

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        del exc
        self._open.discard(fd)
        if not self._open and not self.silent.done():
            self.silent.set_result(None)

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)


def _feed(transport: asyncio.SubprocessTransport, data: bytes) -> None:
    pipe: Any = transport.get_pipe_transport(0)
    if data:
        pipe.write(data)
    pipe.close()  # once it is written
