"""Whose is the file, does the disk suit it, and how much room is left?

A reserve file lies beside the database. When the disk is full it is deleted, so that pruning, which has to write, can
make room; it is laid again when there is room.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import sqlite3
import time
from pathlib import Path

from areabox.errors import ConfigurationError

log = logging.getLogger(__name__)

QUICK_CHECK_S = 2.0
QUICK_CHECK_BYTES = 256 * 1024 * 1024
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "ceph", "glusterfs", "fuse.glusterfs"}


class Space:
    """The surroundings of one database file."""

    def __init__(self, path: Path, reserve_bytes: int) -> None:
        self._path, self._reserve_bytes = path, reserve_bytes
        self._reserve = path.with_name(path.name + ".reserve")
        self._lock: int | None = None
        self.full = False

    # --- one process --------------------------------------------------------------------------------------------------------

    def lock(self) -> None:
        """Take the file for this process; raises ConfigurationError naming the one that has it."""
        path = self._path.with_name(self._path.name + ".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"cannot use {path.parent}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(descriptor, 20).decode(errors="replace").strip()
            os.close(descriptor)
            who = f" (process {owner})" if owner else ""
            raise ConfigurationError(f"another areabox{who} uses {self._path.parent}; stop it, or give another --data-dir") from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._lock = descriptor

    def unlock(self) -> None:
        """Let another process have the file."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- the disk -----------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Refuse file systems on which SQLite's locks and fsync cannot be relied on."""
        kind = filesystem(self._path.parent)
        if kind in _REMOTE:
            raise ConfigurationError(
                f"{self._path.parent} lies on {kind}, where a database is not safe; give a --data-dir on a local disk"
            )

    def quick_check(self, connection: sqlite3.Connection) -> None:
        """Look at a file of moderate size for damage; raises ConfigurationError."""
        if self.bytes() > QUICK_CHECK_BYTES:
            return
        end = time.monotonic() + QUICK_CHECK_S
        connection.set_progress_handler(lambda: time.monotonic() > end, 100_000)
        try:
            found = connection.execute("pragma quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError:
            return  # out of time: a backup checks it whole
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(f"{self._path} is not a database, or is damaged: {error}; restore a backup") from error
        finally:
            connection.set_progress_handler(None, 0)
        if found != "ok":
            raise ConfigurationError(f"{self._path} is damaged: {found}; restore a backup")

    def reserve(self) -> None:
        """Lay the reserve file if it is not there and there is room for it."""
        with contextlib.suppress(OSError):
            if self._reserve.exists() and self._reserve.stat().st_size >= self._reserve_bytes:
                self.full = False
                return
            if shutil.disk_usage(self._path.parent).free < 3 * self._reserve_bytes:
                return
            with self._reserve.open("wb") as file:
                file.write(b"\0" * self._reserve_bytes)
            self.full = False

    def release(self) -> None:
        """Give the reserve up: the disk is full."""
        if not self.full:
            log.error("the disk is full: nothing is stored until there is room", extra={"path": str(self._path)})
        self.full = True
        self._reserve.unlink(missing_ok=True)

    def bytes(self) -> int:
        """Return the size of the database file with its log."""
        return _size(self._path) + self.wal_bytes()

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        return _size(self._path.with_name(self._path.name + "-wal"))

    def free_bytes(self) -> int:
        """Return how much room the disk has."""
        return shutil.disk_usage(self._path.parent).free


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def filesystem(path: Path) -> str:
    """Return the kind of file system a folder lies on, or an empty text where the machine does not say."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return ""
    resolved = path.resolve()
    best = ("", "")
    for line in mounts.read_text().splitlines():
        _, mount, kind, *_ = line.split()
        point = mount.encode().decode("unicode_escape")
        if resolved.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]
