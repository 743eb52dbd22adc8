"""Areas as a source: what happens to your other areas.

Tested against areabox itself.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from areabox.sdk import Connector, Event, Field

area = Connector("area", "Areas", about="Your other areas.", icon="area", builtin=True)


class Ended(Event):
    """A run that ended."""

    area: str
    run: str
    state: str
    result: Any = None
    error: str | None = None


class Called(Event):
    """Nothing: what a called area gets is what `with` gives it."""


@area.action(
    "A run ended",
    sentence="a run of {area} ends as {state}",
    sample=Ended(area="backup", run="01kdz0000000000000000000zz", state="failed", error="the disk is full"),
)
async def ended(
    area: Annotated[str, Field("Area", "Its id; empty: any of yours.", pattern=r"^[a-z0-9-]{0,64}$")] = "",
    state: Annotated[
        Literal["any", "done", "skipped", "collected", "failed", "cancelled"], Field("How it ended")
    ] = "any",
) -> Ended:
    """Fires when a run of another area ends, not counting dry ones."""
    raise NotImplementedError


@area.action("Called by another area", sentence="another area calls this one", sample=Called())
async def called() -> Called:
    """Marks an area that is only called, by the step `call`; it never fires by itself."""
    raise NotImplementedError
