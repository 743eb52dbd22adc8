"""The error tree: an error carries the decision of what to do next.

    AreaboxError
    ├── InputError             what was given cannot be used; says where and why            422 · exit 65
    ├── NotFoundError          there is no such thing, or it is not yours to see             404 · exit 4
    ├── ConflictError          it exists already, or changed since it was read               409 · exit 1
    ├── NotAllowedError        known who you are, and you may not                            403 · exit 77
    ├── StorageFullError       nothing was stored: the disk is full                          507 · exit 1
    ├── ConfigurationError     a setting, file or data directory cannot be used as it is     exit 78
    └── ConnectorError         a reaction, poll or stream did not succeed
        ├── Transient          try again later
        │   └── RateLimited    try again after `retry_after_s`
        ├── AuthExpired        the connection is dead until a person reconnects it
        │   └── MissingScope   … with more permissions
        ├── Permanent          trying again will not help
        ├── Uncertain          it was sent and no answer came: it may have happened
        └── Skip               nothing to do; the step counts as skipped
"""

from __future__ import annotations

import msgspec


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong in what was given.

    `pointer` is a JSON Pointer (RFC 6901) into the document or body, `line` and `column` count from 1. `document` names
    the file, where there may be several.
    """

    pointer: str
    detail: str
    line: int | None = None
    column: int | None = None
    document: str = ""

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}" if self.line else ""
        parts = (", ".join(filter(None, (self.document, place))), self.pointer or "document", self.detail)
        return ": ".join(filter(None, parts))


class AreaboxError(Exception):
    """Anything that areabox refuses or cannot do; `str(error)` is a sentence for a person."""


class InputError(AreaboxError):
    """What was given cannot be used; `problems` says where and why, all of them at once."""

    def __init__(self, message: str, problems: list[Problem] | None = None) -> None:
        super().__init__(message)
        self.problems = problems or []


class NotFoundError(AreaboxError):
    """There is no such thing, or it is not this actor's to see."""


class ConflictError(AreaboxError):
    """It exists already, or it changed since it was read."""


class NotAllowedError(AreaboxError):
    """The actor is known and may not do this."""


class StorageFullError(AreaboxError):
    """Nothing was stored, because the disk is full."""


class ConfigurationError(AreaboxError):
    """A setting, a file or the data directory cannot be used as it is."""


class ConnectorError(AreaboxError):
    """A reaction, poll or stream did not succeed."""


class Transient(ConnectorError):  # noqa: N818 -- the words of the connector API
    """Try again later."""


class RateLimited(Transient):
    """Try again after `retry_after_s` seconds; None means that the service did not say."""

    def __init__(self, message: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AuthExpired(ConnectorError):  # noqa: N818 -- the words of the connector API
    """The connection is dead until a person reconnects it."""


class MissingScope(AuthExpired):
    """The connection lacks permissions: `scopes` names them."""

    def __init__(self, message: str = "", scopes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.scopes = scopes


class Permanent(ConnectorError):  # noqa: N818 -- the words of the connector API
    """Trying again will not help."""


class Uncertain(ConnectorError):  # noqa: N818 -- the words of the connector API
    """It was sent and no answer came, so it may have happened."""


class Skip(ConnectorError):  # noqa: N818 -- the words of the connector API
    """Nothing to do; the step counts as skipped."""
