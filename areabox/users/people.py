"""All parts of the users' room that the gateway calls beside accounts, sessions and tokens, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from areabox.users.devices import Devices
from areabox.users.factors import Factors
from areabox.users.links import Links
from areabox.users.pending import Pending
from areabox.users.shares import Shares

Letter = Callable[[str, str, str], Awaitable[bool]]  # to, subject, text; False where there is no way to send it


async def no_letters(to: str, subject: str, text: str) -> bool:  # noqa: ARG001 -- the shape of a Letter
    """Send nothing: there is no connection to send mail by."""
    return False


@dataclass(frozen=True, kw_only=True)
class People:
    """Everything about accounts that has a page of its own."""

    links: Links
    shares: Shares
    factors: Factors
    pending: Pending
    devices: Devices
    base_url: str = ""
    registration: bool = False
    letter: Letter = field(default=no_letters)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)  # mails that go out after their answer

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold a task until it has ended."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def close(self) -> None:
        """Wait for what is still to be sent."""
        await asyncio.gather(*self.tasks, return_exceptions=True)
