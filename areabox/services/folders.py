"""Which files may areas touch? Those inside the folders that the operator allowed, wherever links in them lead.

A path is followed to its real place first, and judged there. It is then opened from the allowed folder downwards, one
name after the other and through no link, so that a link that is put in its way meanwhile leads nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from areabox.errors import Permanent

SETTING = "files_allow"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folders:
    """The allowed folders of one installation; what lies in `kept_out` is never one's to touch."""

    def __init__(self, allowed: Iterable[Path] = (), kept_out: Iterable[Path] = ()) -> None:
        self._allowed = tuple(Path(os.path.realpath(folder)) for folder in allowed)
        self._kept_out = tuple(Path(os.path.realpath(folder)) for folder in kept_out)

    def find(self, path: str) -> Path:
        """Return where a path really leads; raises `Permanent` unless that is inside an allowed folder."""
        return self._judged(path)[1]

    @contextmanager
    def opened(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """Give the open folder that holds a file, and the file's name in it; `make` makes folders that are missing.

        Raises `Permanent` outside the allowed folders, and OSError.
        """
        root, real = self._judged(path)
        *parts, name = real.relative_to(root).parts or (".",)
        if name == ".":
            raise Permanent(f"{path} is a folder, and a file is meant")
        folder = os.open(root, _FOLDER)
        try:
            for part in parts:
                folder = _down(folder, part, make=make)
            yield folder, name
        finally:
            os.close(folder)

    def _judged(self, path: str) -> tuple[Path, Path]:
        if not self._allowed:
            raise Permanent(f"areas may touch no files here; the setting {SETTING} names folders where they may")
        if not path.startswith("/") or "\0" in path:
            raise Permanent(f"{path!r} is no whole path; write it from / on")
        real = Path(os.path.realpath(path))
        root = next((folder for folder in self._allowed if real.is_relative_to(folder)), None)
        if root is None:
            to = "" if str(real) == path else f" (it leads to {real})"
            raise Permanent(f"{path} lies in none of the folders that the setting {SETTING} names{to}")
        if any(real.is_relative_to(folder) for folder in self._kept_out):
            raise Permanent(f"{path} belongs to areabox itself")
        return root, real


def _down(folder: int, name: str, *, make: bool) -> int:
    """Open a folder in an open folder, which is then closed."""
    try:
        inner = os.open(name, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
        os.mkdir(name, dir_fd=folder)
        inner = os.open(name, _FOLDER, dir_fd=folder)
    os.close(folder)
    return inner
