"""What happens, as events with fields: code says it once, and logs, metrics and the live page are its listeners.

An event nobody listens to costs one look at an empty tuple.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Listener = Callable[[str, dict[str, Any]], None]


class Telemetry:
    """The listeners of one process."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()

    def listen(self, listener: Listener) -> None:
        """Call `listener(name, fields)` at every event from now on; it must be quick and must not raise."""
        self._listeners = (*self._listeners, listener)

    def emit(self, name: str, **fields: Any) -> None:
        """Tell all listeners that something happened."""
        for listener in self._listeners:
            listener(name, fields)
