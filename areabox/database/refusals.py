"""What does it mean when SQLite refuses? One Unit is at fault, or the disk is and nothing goes on."""

from __future__ import annotations

import sqlite3
from typing import Any

from areabox.errors import AreaboxError, ConflictError, StorageFullError

_DISK = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk does not take it",
    sqlite3.SQLITE_READONLY: "the file or its disk is read-only",
    sqlite3.SQLITE_CANTOPEN: "the disk does not take it",
}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_OTHER = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT}


class GuardError(Exception):
    """A statement touched another number of rows than it should."""


def code(error: Exception) -> int:
    """Return SQLite's primary result code (https://www.sqlite.org/rescode.html), or 0 if it was not SQLite."""
    found: int = getattr(error, "sqlite_errorcode", 0) or 0
    return found & 0xFF


def breaks_off(error: Exception) -> bool:
    """Return whether an error is not of the one Unit, so that no other can be written either."""
    return code(error) in _DISK or code(error) in _DAMAGE or code(error) in _OTHER


def is_busy(error: Exception) -> bool:
    """Return whether another program holds the file."""
    return code(error) == sqlite3.SQLITE_BUSY


def outcome(error: Exception) -> Any:
    """Return what whoever waits for a Unit gets: False for a guard, else the error."""
    return False if isinstance(error, GuardError) else refusal(error)


def refusal(error: Exception) -> AreaboxError:
    """Return an error in areabox's own words."""
    found = _refusal(error)
    found.__cause__ = error
    return found


def _refusal(error: Exception) -> AreaboxError:
    if isinstance(error, AreaboxError):
        return error
    if isinstance(error, sqlite3.IntegrityError):
        return ConflictError(str(error))
    if code(error) in _DISK:
        why = _DISK[code(error)]
        return StorageFullError(f"nothing was stored: {why} ({error}); free some space, and areabox goes on by itself")
    if code(error) in _DAMAGE:
        return AreaboxError(f"the database file is damaged ({error}): stop areabox and restore a backup")
    return AreaboxError(f"the database refused: {error}")
