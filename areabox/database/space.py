"""Whose is the file, is it sound, and is there room left for it? It is locked, looked at and measured here.

A reserve file lies beside the database. When the disk is full it is given up, so that pruning, which has to write, can
make room; until there is enough again, only what deletes is written. Then the reserve is laid anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from areabox.database.disk import check_filesystem, filesystem
from areabox.errors import ConfigurationError

__all__ = ["Space", "check_filesystem", "filesystem", "quick_check"]

log = logging.getLogger(__name__)

QUICK_CHECK_S = 1.5
QUICK_CHECK_BYTES = 128 * 1024 * 1024
LOOK_EVERY_S = 5.0  # at a full disk, and only when somebody wants to write


class Space:
    """The surroundings of one database file."""

    def __init__(self, path: Path, reserve_bytes: int, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._path, self._reserve_bytes, self._monotonic_s = path, reserve_bytes, monotonic_s
        self._reserve = path.with_name(path.name + ".reserve")
        self._wal = path.with_name(path.name + "-wal")
        self._lock: int | None = None
        self._look_at_s = 0.0
        self._told_full = False
        self.full = False

    # --- one process ----------------------------------------------------------------------------------------------

    def lock(self) -> None:
        """Take the file for this process; raises ConfigurationError naming the one that has it."""
        path = self._path.with_name(self._path.name + ".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(f"cannot use {path.parent}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 20).decode(errors="replace").strip()
            os.close(descriptor)
            who = f" (pid {holder})" if holder else ""
            raise ConfigurationError(
                f"another areabox{who} uses the data directory {path.parent}; stop it, or give another --data-dir"
            ) from error
        self._lock = descriptor
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())

    def unlock(self) -> None:
        """Let another process have the file."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- a full disk ----------------------------------------------------------------------------------------------

    def reserve(self) -> None:
        """Lay the reserve file if it is not there and there is room for twice as much."""
        with contextlib.suppress(OSError):  # no reserve is no reason not to run
            if _size(self._reserve) < self._reserve_bytes and self.free_bytes() >= 2 * self._reserve_bytes:
                _lay(self._reserve, self._reserve_bytes)

    def release(self) -> None:
        """Give the reserve up: the disk is full."""
        if not self._told_full:
            log.error("the disk takes no more: nothing is stored until there is room", extra={"path": str(self._path)})
        self.full = self._told_full = True
        self._look_at_s = self._monotonic_s() + LOOK_EVERY_S
        with contextlib.suppress(OSError):
            self._reserve.unlink(missing_ok=True)

    def recover(self) -> bool:
        """Return whether it is worth a try again; the disk is asked at most once in `LOOK_EVERY_S`."""
        if self._monotonic_s() < self._look_at_s:
            return False
        self._look_at_s = self._monotonic_s() + LOOK_EVERY_S
        if self.free_bytes() < 2 * self._reserve_bytes:
            return False
        self.full = False
        self.reserve()
        return True

    def stored(self) -> None:
        """Take note that something was written."""
        if self._told_full and not self.full:
            log.warning("the disk takes what is stored again, and areabox goes on", extra={"path": str(self._path)})
            self._told_full = False

    # --- sizes ----------------------------------------------------------------------------------------------------

    def bytes(self) -> int:
        """Return the size of the database file with its log."""
        return _size(self._path) + self.wal_bytes()

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        return _size(self._wal)

    def free_bytes(self) -> int:
        """Return how much room the disk has for this user."""
        return shutil.disk_usage(self._path.parent).free


def quick_check(connection: sqlite3.Connection, path: Path, budget_s: float = QUICK_CHECK_S) -> None:
    """Look for damage, as far as one comes in the time; raises ConfigurationError. A backup checks the whole.

    A large file is not looked at: SQLite before 3.43 does not let itself be interrupted while it reads a table's pages.
    """
    if _size(path) > QUICK_CHECK_BYTES:
        return
    end_s = time.monotonic() + budget_s
    connection.set_progress_handler(lambda: time.monotonic() > end_s, 50_000)
    try:
        found = connection.execute("pragma quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return
        raise ConfigurationError(f"{path} is damaged: {error}; restore a backup") from error
    finally:
        connection.set_progress_handler(None, 0)
    if found != "ok":
        raise ConfigurationError(f"{path} is damaged: {found}; restore a backup")


def _lay(reserve: Path, size: int) -> None:
    descriptor = os.open(reserve, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, os.urandom(size))  # a file system that compresses would keep no room for zeros
    except OSError:
        reserve.unlink()
        raise
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
