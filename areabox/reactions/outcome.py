"""How an attempt at a job can end, as values: whoever performs it returns one, `areas.flow.advance` writes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from areabox.database import Unit


class Done(msgspec.Struct, frozen=True):
    """It did what it should; `also` adds statements to the transaction that records it."""

    output: Any = None
    input: Any = None
    note: str | None = None
    also: Callable[[Unit], object] | None = None


class Skipped(msgspec.Struct, frozen=True):
    """There was nothing to do."""

    reason: str
    input: Any = None


class Failed(msgspec.Struct, frozen=True):
    """It did not work and will not."""

    message: str
    kind: str = "permanent"
    input: Any = None
    cancelled: bool = False


class Retry(msgspec.Struct, frozen=True):
    """It did not work; try again after `after_ms`."""

    message: str
    after_ms: int
    kind: str = "transient"
    input: Any = None


class Held(msgspec.Struct, frozen=True):
    """Its connection is dead; it goes on when a person has reconnected it."""

    message: str
    connection: str
    input: Any = None


class Uncertain(msgspec.Struct, frozen=True):
    """It may have happened; a person says whether it did."""

    message: str
    input: Any = None


class Parked(msgspec.Struct, frozen=True):
    """It waits: for `wait_key` to be rung, or until `due`; `input` is what it remembers meanwhile."""

    wait_key: str | None
    due: int | None
    input: Any = None
    queued: bool = False
    guard: Callable[[Unit, str], object] | None = None
    also: Callable[[Unit], object] | None = None


class TimedOut(msgspec.Struct, frozen=True):
    """What it waited for did not come in time."""

    input: Any = None


class Resumed(msgspec.Struct, frozen=True):
    """A long walk was cut into pieces; go on where it was."""


class Admitted(msgspec.Struct, frozen=True):
    """The run may start now: its area's mode has room for it."""

    also: Callable[[Unit], object] | None = None


class Ended(msgspec.Struct, frozen=True):
    """The whole run ends here, in `state`."""

    state: str
    reason: str
    input: Any = None
    also: Callable[[Unit], object] | None = None


class Stale(msgspec.Struct, frozen=True):
    """Somebody else was faster, or the run is over: write nothing."""


Outcome = (
    Done | Skipped | Failed | Retry | Held | Uncertain | Parked | TimedOut | Resumed | Admitted | Ended | Stale
)  # fmt: skip
