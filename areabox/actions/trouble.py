"""When is a source's owner told that it fails? Once, when it has failed for a while, and once when it works again."""

from __future__ import annotations

from typing import Protocol

from areabox.actions.rows import Subscription
from areabox.database import Unit

TELL_AFTER = 5  # failures of a poll in a row: most sources are well again before
TELL_STREAM_AFTER = 8  # … of a stream, which is opened again much sooner: some five minutes


class Tell(Protocol):
    """Whoever tells an owner."""

    def __call__(self, unit: Unit, sub: Subscription, error: str | None, /) -> None:
        """Add to `unit` that a source fails, or with None that it works again."""
        ...
