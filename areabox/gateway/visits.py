"""By what is a request known? An id that its sender may choose, the place in the sender's trace, and when it came.

`X-Request-ID` is taken where it is a plain word, `traceparent` where it is one (https://www.w3.org/TR/trace-context/);
both go back with the answer. The id stands in the logs; the span of the answer is only told to whoever traces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from areabox.clock import Clock

VISIT: Final = "areabox.visit"  # where a request's scope holds its visit
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_TRACE: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")


class Visit:
    """One request; `headers` go out with its answer, whatever becomes of it."""

    __slots__ = ("address", "began_s", "headers", "id", "who")

    def __init__(self, id: str, began_s: float) -> None:
        self.id, self.began_s = id, began_s
        self.headers: list[tuple[bytes, bytes]] = [(b"x-request-id", id.encode())]
        self.address = self.who = ""


def begin(headers: Mapping[str, str], clock: Clock) -> Visit:
    """Return the visit that a request's headers begin."""
    given, trace = headers.get("x-request-id", ""), _TRACE.fullmatch(headers.get("traceparent", ""))
    if _ID.fullmatch(given) is None:
        given = trace[1] if trace else clock.new_id()
    visit = Visit(given, clock.monotonic_s())
    if trace:
        span = clock.secret(8).hex()
        visit.headers.append((b"traceparent", f"00-{trace[1]}-{span}-{trace[2]}".encode()))
    return visit


def visit_of(scope: Mapping[str, Any], clock: Clock) -> Visit:
    """Return the visit that a request belongs to."""
    found: Visit | None = scope.get(VISIT)
    return found or begin({}, clock)
