"""Notices about sources: one when a source has failed for a while, and one when it works again."""

from __future__ import annotations

from typing import Protocol

from areabox.actions.rows import Subscription
from areabox.database import Unit
from areabox.notifications.outbox import Outbox


class Operation(Protocol):
    """An action."""

    def sentence_of(self, params: dict[str, object], /) -> str:
        """Return the sentence with the values in it."""
        ...


class Actions(Protocol):
    """Which actions there are."""

    def action(self, name: str, /) -> Operation | None:
        """Return the action of that id."""
        ...


class SourceNotices:
    """Adds the notices to the Units in which they became true."""

    def __init__(self, outbox: Outbox, actions: Actions) -> None:
        self._outbox, self._actions = outbox, actions

    def __call__(self, unit: Unit, sub: Subscription, error: str | None, /) -> None:
        """Tell an owner that a source fails, or with None that it works again."""
        operation = self._actions.action(sub.action)
        what = sub.action if operation is None else f"{sub.action} ({operation.sentence_of(sub.params)})"
        if error is None:
            self._outbox.put(
                unit, owner=sub.owner, kind="source_well", title=f"{sub.action} works again",
                body=f"{what} is listened to again; what happened meanwhile is caught up where the service lists it.",
            )  # fmt: skip
        else:
            self._outbox.put(
                unit, owner=sub.owner, kind="source_failing", title=f"{sub.action} fails",
                body=f"{what} failed {sub.fails + 1} times in a row, and is tried again. The last error: {error}",
            )  # fmt: skip
