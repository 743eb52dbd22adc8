"""Reading and writing files of the allowed folders: through no link, whole or not at all, and then on disk."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from areabox.sdk import Folders, Permanent, Transient

_LATER = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBUSY, errno.ETXTBSY, errno.ESTALE, errno.EMFILE})
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # not through a link, and not waiting at a pipe


def read(folders: Folders, path: str, most: int) -> tuple[bytes, int]:
    """Return a file's bytes and its time of change in nanoseconds; raises `Permanent` for more than `most` bytes."""
    with told(path), folders.opened(path) as (folder, name), opened(folder, name, os.O_RDONLY) as file:
        data = file.read(most + 1)
        if len(data) > most:
            raise Permanent(f"{path} is larger than {most} bytes")
        return data, os.fstat(file.fileno()).st_mtime_ns


def write(folders: Folders, path: str, data: bytes, *, overwrite: bool = True) -> int:
    """Write a file whole, and return its size; readers see the old one or the new one."""
    with told(path), folders.opened(path, make=True) as (folder, name):
        with _fresh(folder, name, overwrite=overwrite) as file:
            file.write(data)
        return len(data)


def append(folders: Folders, path: str, data: bytes) -> int:
    """Add to the end of a file, which is made if there is none, and return its size."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with told(path), folders.opened(path, make=True) as (folder, name), opened(folder, name, flags) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def copy(folders: Folders, path: str, to: str, *, overwrite: bool) -> int:
    """Copy a file, and return its size."""
    with told(path), folders.opened(path) as (folder, name), opened(folder, name, os.O_RDONLY) as source:
        with (
            told(to),
            folders.opened(to, make=True) as (target, new),
            _fresh(target, new, overwrite=overwrite) as file,
        ):
            shutil.copyfileobj(source, file, 1 << 20)
        return os.fstat(source.fileno()).st_size


def move(folders: Folders, path: str, to: str, *, overwrite: bool) -> int:
    """Move a file, also to another file system, and return its size."""
    with told(path), folders.opened(path) as (folder, name):
        with opened(folder, name, os.O_RDONLY) as file:
            size = os.fstat(file.fileno()).st_size
        with told(to), folders.opened(to, make=True) as (target, new):
            if not overwrite and _exists(target, new):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            moved = _rename(folder, name, target, new)
        if not moved:
            copy(folders, path, to, overwrite=overwrite)
            os.unlink(name, dir_fd=folder)
        return size


def delete(folders: Folders, path: str) -> bool:
    """Delete a file, and tell whether there was one."""
    with told(path), suppress(FileNotFoundError), folders.opened(path) as (folder, name):
        os.unlink(name, dir_fd=folder)
        return True
    return False


@contextmanager
def told(path: str) -> Iterator[None]:
    """Raise what an error of the machine means for a step."""
    try:
        yield
    except OSError as error:
        text = f"{path}: {error.strerror or error}"
        if error.errno == errno.ELOOP:
            text = f"{path}: there is a link in the way"
        raise (Transient if error.errno in _LATER else Permanent)(text) from error


@contextmanager
def opened(folder: int, name: str, flags: int) -> Iterator[IO[bytes]]:
    """Give a file of an open folder; raises `Permanent` for what is none, and OSError."""
    mode = "rb" if flags & (os.O_WRONLY | os.O_RDWR) == 0 else "wb" if not flags & os.O_APPEND else "ab"
    with os.fdopen(os.open(name, flags | _SAFE, 0o666, dir_fd=folder), mode) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Permanent(f"{name} is no file")
        yield file


@contextmanager
def _fresh(folder: int, name: str, *, overwrite: bool) -> Iterator[IO[bytes]]:
    """Give a new file that takes its name when it is written and on disk."""
    hidden = f".{name[:100]}.{secrets.token_hex(4)}.tmp"
    try:
        with opened(folder, hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
            yield file
            with suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode))
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.rename(hidden, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            os.link(hidden, name, src_dir_fd=folder, dst_dir_fd=folder)  # refuses where there is one
            os.unlink(hidden, dir_fd=folder)
        os.fsync(folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(hidden, dir_fd=folder)
        raise


def _rename(folder: int, name: str, target: int, new: str) -> bool:
    """Give a file another place, and tell whether that is on the same file system."""
    try:
        os.rename(name, new, src_dir_fd=folder, dst_dir_fd=target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
