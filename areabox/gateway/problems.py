"""How is a refusal told? As problem+json (RFC 9457), with the places that are wrong in `errors`."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import Any

import msgspec

from areabox.errors import (
    AreaboxError,
    ConfigurationError,
    ConflictError,
    ConnectorError,
    InputError,
    NotAllowedError,
    NotFoundError,
    Problem,
    StorageFullError,
    Transient,
)
from areabox.users.throttle import TooManyTriesError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_PLACE = re.compile(r"^(?P<detail>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)


class RefusedError(AreaboxError):
    """A request that HTTP itself has a status for."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}


class Refusal(msgspec.Struct, frozen=True):
    """A status, the body of a problem, and headers that go with it."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def content(self) -> bytes:
        """Return the body as JSON."""
        return msgspec.json.encode(self.body)


_STATUS: tuple[tuple[type[AreaboxError], int], ...] = (
    (InputError, 422),
    (NotFoundError, 404),
    (ConflictError, 409),
    (NotAllowedError, 403),
    (StorageFullError, 507),
    (TooManyTriesError, 429),
    (ConfigurationError, 500),
    (Transient, 503),
    (ConnectorError, 502),
)


def refusal(error: Exception, *, error_id: str = "") -> Refusal:
    """Return how an error is told; one that was not foreseen is logged under `error_id`, and told without details."""
    if isinstance(error, RefusedError):
        return _refusal(error.status, str(error), headers=error.headers)
    if isinstance(error, AreaboxError):
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 400)
        wait_s = getattr(error, "retry_after_s", None)
        headers = {} if wait_s is None else {"retry-after": str(max(1, round(wait_s)))}
        return _refusal(status, str(error), getattr(error, "problems", []), headers)
    status, detail = getattr(error, "status_code", 500), getattr(error, "detail", "")
    if isinstance(status, int) and status < HTTPStatus.INTERNAL_SERVER_ERROR:  # the router's own: 404, 405
        headers = getattr(error, "headers", None) or {}
        return _refusal(status, str(detail), headers={name.lower(): value for name, value in headers.items()})
    log.error("a request failed: %s", error_id, exc_info=error, extra={"error_id": error_id})
    return _refusal(500, f"areabox failed; its log says why, under {error_id}")


def _refusal(
    status: int, detail: str, problems: list[Problem] | None = None, headers: dict[str, str] | None = None
) -> Refusal:
    phrase = HTTPStatus(status).phrase
    body: dict[str, Any] = {
        "type": f"urn:areabox:problem:{phrase.lower().replace(' ', '-')}",
        "title": phrase,
        "status": status,
        "detail": detail or phrase,
    }
    if problems:
        body["errors"] = [msgspec.to_builtins(problem) for problem in problems]
    if "retry-after" in (headers or {}):
        body["retry_after"] = int((headers or {})["retry-after"])
    return Refusal(status, body, headers or {})


def invalid(error: msgspec.ValidationError, *, where: str = "") -> InputError:
    """Return what msgspec says of a value as an InputError; `where` is put before its pointer."""
    match = _PLACE.match(str(error))
    detail, path = (match["detail"], match["path"] or "$") if match else (str(error), "$")
    pointer = where + re.sub(r"\.|\[(\d+)\]|\[\.\.\.\]", _step, path.removeprefix("$"))
    return InputError(detail, [Problem(pointer, detail)])


def _step(match: re.Match[str]) -> str:
    return f"/{match[1]}" if match[1] else "/"
