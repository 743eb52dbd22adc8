"""Times: a cron expression, every so often, or one moment.

Tested against areabox itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from areabox.sdk import Connector, Context, Event, Field, duration_ms

schedule = Connector("schedule", "Schedule", about="Times of day, intervals, and single moments.", icon="clock")

EVERY_MS = (1_000, 366 * 86_400_000)


class Due(Event):
    """A time that has come."""

    due: str  # when it was to fire, RFC 3339
    fired: str  # when it did: later, if areabox was off


def _every(text: str) -> None:
    low, high = EVERY_MS
    if not low <= duration_ms(text) <= high:
        raise ValueError("must lie between a second and a year")


Zone = Annotated[
    str, Field("Time zone", "Empty: the time zone of areabox.", format="timezone", placeholder="Europe/Paris")
]
SAMPLE = Due(due="2026-01-01T06:00:00.000Z", fired="2026-01-01T06:00:00.012Z")


@schedule.action(
    "At certain times", schedule=True, shared=False, sentence="the time is {cron} ({timezone})", sample=SAMPLE
)
async def cron(
    ctx: Context,
    cron: Annotated[
        str,
        Field(
            "Cron expression",
            "Minute, hour, day of the month, month, day of the week; or @daily and the like.",
            format="cron",
            placeholder="0 7 * * 1-5",
        ),
    ],
    timezone: Zone = "",
) -> AsyncIterator[Due]:
    """Fires at the times that a cron expression names.

    As in Debian's cron: a local time that does not exist fires at the next valid instant, one that exists twice fires
    once. Six fields begin with seconds. `L` is the last day of the month, `5#2` the second Friday.
    """
    del ctx, cron, timezone
    yield SAMPLE  # never called: areabox itself knows what time it is


@schedule.action("Every so often", schedule=True, shared=False, sentence="{every} have passed", sample=SAMPLE)
async def every(
    ctx: Context,
    every: Annotated[
        str, Field("Interval", "From a second to a year.", format="duration", check=_every, placeholder="15m")
    ],
) -> AsyncIterator[Due]:
    """Fires at even intervals from when the area was stored, without drift."""
    del ctx, every
    yield SAMPLE  # never called


@schedule.action("At one moment", schedule=True, shared=False, sentence="it is {at} ({timezone})", sample=SAMPLE)
async def at(
    ctx: Context,
    at: Annotated[
        str,
        Field(
            "Moment",
            "With an offset, or local to the time zone.",
            format="datetime",
            placeholder="2026-12-24T18:00",
        ),
    ],
    timezone: Zone = "",
) -> AsyncIterator[Due]:
    """Fires once."""
    del ctx, at, timezone
    yield SAMPLE  # never called
