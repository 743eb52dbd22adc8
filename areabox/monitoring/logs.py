"""How logs are written: to stderr, one line an entry, as logfmt for people or JSON for machines.

A log call says a sentence and gives fields by `extra`; both forms show them. Secrets are taken out by the scrubber that
is given. A line is at most 4,000 characters.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

LINE_MAX = 4_000
_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_QUIET = {  # they log addresses and values whole: a query, or the secret end of a webhook's address
    "aiosqlite": logging.INFO, "httpx2": logging.WARNING, "uvicorn.access": logging.ERROR,
    "uvicorn.error": logging.WARNING,
}  # fmt: skip

Scrub = Callable[[str], str]


class _Formatter(logging.Formatter):
    def __init__(self, scrub: Scrub | None) -> None:
        super().__init__()
        self._scrub = scrub

    def format(self, record: logging.LogRecord) -> str:
        fields = self.fields(record)
        if self._scrub is not None:  # before the quoting, which could hide what is looked for
            scrub = self._scrub
            fields = {name: value if type(value) is int else scrub(str(value)) for name, value in fields.items()}
        line = self.line(fields)
        return line if len(line) <= LINE_MAX else line[: LINE_MAX - 1] + "…"

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return what a record says, in the order it is shown."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = {"at": at, "level": record.levelname.lower(), "msg": record.getMessage(), "logger": record.name}
        fields |= {name: value for name, value in vars(record).items() if name not in _KNOWN}
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return fields

    def line(self, fields: dict[str, Any]) -> str:
        """Return one line."""
        return str(fields)


class LogfmtFormatter(_Formatter):
    """key=value, quoted where needed; a traceback follows on lines of its own."""

    def line(self, fields: dict[str, Any]) -> str:
        """Return one line of logfmt."""
        error = fields.pop("error", None)
        line = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
        return f"{line}\n{error}" if error else line


class JsonFormatter(_Formatter):
    """One JSON object a line."""

    def line(self, fields: dict[str, Any]) -> str:
        """Return one line of JSON."""
        return json.dumps(fields, ensure_ascii=False, default=str)


def _quoted(value: Any) -> str:
    text = str(value)
    if text and not any(c in ' "=\n' for c in text):
        return text
    return json.dumps(text, ensure_ascii=False)


def setup(
    *, format: str = "auto", level: str = "info", scrub: Scrub | None = None, stream: TextIO | None = None
) -> None:
    """Send the logs of the whole process to stderr; `auto` is logfmt."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(scrub) if format == "json" else LogfmtFormatter(scrub))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(quiet)
