"""How is work done in a process of its own, that is there only while there is some? By lines of JSON on its pipes.

A helper is started when it is first asked, answers several requests at once, and ends by itself when nobody has asked
for a while. What heavy libraries take, the daemon does not keep.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from areabox.errors import Permanent, Transient, Uncertain

log = logging.getLogger(__name__)

LINE_MAX = 1024 * 1024
TRIES = 3
IDLE_S = 60.0
_APPRISE = Path(__file__).parent.parent / "connectors" / "_apprise_helper.py"


def apprise_helper(idle_s: float = IDLE_S) -> list[str]:
    """Return the command of the process in which Apprise lives; isolated: it imports nothing that lies beside it."""
    return [sys.executable, "-I", str(_APPRISE), str(idle_s)]


class _Open(msgspec.Struct):
    """A request that is not answered yet."""

    answer: asyncio.Future[dict[str, Any]]
    begun: bool = False


class _Gone(Exception):  # noqa: N818 -- it went before it began with the request
    """The helper ended, and nothing was done."""


class Helper:
    """One helper: its command, and the process while it lives."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = list(argv)
        self._numbers = itertools.count(1)
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._open: dict[int, _Open] = {}
        self._starting = asyncio.Lock()

    @property
    def runs(self) -> bool:
        """Tell whether the process is there."""
        return self._process is not None

    async def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Return the answer to a request; raises Permanent, Transient, or Uncertain where it began and never ended."""
        for _ in range(TRIES):
            try:
                return await self._asked(request, timeout_s)
            except _Gone:
                continue  # it ended just then, being idle
        raise Transient("the helper process ends as soon as it is started")

    async def close(self) -> None:
        """End the process."""
        async with self._starting:
            if self._process is not None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
            if self._reading is not None:
                await self._reading

    async def _asked(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        process = await self._started()
        number = next(self._numbers)
        waiting = self._open[number] = _Open(asyncio.get_running_loop().create_future())
        try:
            assert process.stdin is not None
            async with asyncio.timeout(timeout_s):
                process.stdin.write(msgspec.json.encode({**request, "id": number}) + b"\n")
                with contextlib.suppress(ConnectionError):
                    await process.stdin.drain()
                return await waiting.answer
        except TimeoutError:
            raise (Uncertain if waiting.begun else Transient)(f"no end within {timeout_s:.0f} s") from None
        finally:
            self._open.pop(number, None)

    async def _started(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is None:
                if self._reading is not None:
                    await self._reading  # of the one before, to its very end
                try:
                    self._process = await asyncio.create_subprocess_exec(
                        *self._argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                        stderr=asyncio.subprocess.DEVNULL, env={"LANG": "C.UTF-8"}, limit=LINE_MAX,
                    )  # fmt: skip
                except OSError as error:
                    raise Permanent(f"the helper process cannot be started: {error}") from None
                self._reading = asyncio.create_task(self._read(self._process), name="helper")
            return self._process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Hand the answers out until the process ends."""
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                self._take(msgspec.json.decode(line))
        except (ValueError, msgspec.DecodeError):
            log.exception("the helper process said what is no answer")
        finally:
            self._process = None
            for waiting in self._open.values():
                if not waiting.answer.done():
                    waiting.answer.set_exception(
                        Uncertain("the helper process ended meanwhile") if waiting.begun else _Gone()
                    )
            if process.stdin is not None:
                process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _take(self, answer: dict[str, Any]) -> None:
        waiting = self._open.get(answer.get("id", 0))
        if waiting is None or waiting.answer.done():
            return
        if answer.get("begun"):
            waiting.begun = True
        else:
            waiting.answer.set_result(answer)
