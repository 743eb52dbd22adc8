"""Is it on the disk for good, and is that a disk that a database can rely on? Nothing here knows of SQLite.

Nothing here opens a database that this process has open: closing any other descriptor of such a file would drop the
locks that SQLite holds on it (https://www.sqlite.org/howtocorrupt.html §2.2).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from areabox.errors import ConfigurationError

_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # of macOS, where fsync stops at the drive's cache
_REMOTE = ("nfs", "cifs", "smb", "afs", "ceph", "gluster", "lustre", "ncp", "vboxsf", "prl_fs", "fuse")
_LOCAL = ("fuse.fuse-overlayfs", "fuseblk")  # under rootless containers, and a disk with NTFS


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _FULL_SYNC is None:
            os.fsync(descriptor)
        else:
            fcntl.fcntl(descriptor, _FULL_SYNC)
    finally:
        os.close(descriptor)


def publish(partial: Path, target: Path) -> None:
    """Give a finished file its name, at once and for good, whatever had the name before."""
    sync(partial)
    partial.replace(target)
    sync(target.parent)


def check_filesystem(folder: Path) -> None:
    """Refuse file systems on which SQLite's locks and fsync cannot be relied on; raises ConfigurationError."""
    kind = filesystem(folder)
    if kind.startswith(_REMOTE) and kind not in _LOCAL:
        raise ConfigurationError(
            f"{folder} lies on {kind}, where a database is not safe; give a --data-dir on a local disk"
        )


def filesystem(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Return the kind of file system a folder lies on, or an empty text where the machine does not say."""
    if not mounts.exists():
        return ""
    resolved = path.resolve()
    best = ("", "")
    for line in mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        _, mount, kind, *_ = line.split(" ")
        point = _unescaped(mount)
        if resolved.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def _unescaped(mount: str) -> str:
    """Undo the four escapes of /proc/mounts (getmntent(3))."""
    for escape, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        mount = mount.replace(escape, plain)
    return mount
