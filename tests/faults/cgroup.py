"""A memory limit that the kernel enforces, where this user may set one."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOTS = {Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes", Path("/sys/fs/cgroup"): "memory.max"}


@contextlib.contextmanager
def limited(bytes: int) -> Iterator[tuple[str, ...]]:
    """Yield the beginning of a command that runs within so much memory; skips the test where that cannot be."""
    group, limit = next(((root / f"areabox-{os.getpid()}", name) for root, name in ROOTS.items() if root.is_dir()), (None, ""))
    if group is None:
        pytest.skip("this machine has no memory cgroup to limit areabox with")
    try:
        group.mkdir()
        (group / limit).write_text(str(bytes))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"a memory limit by cgroup is for root: {error}")
    try:
        yield ("sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh")
    finally:
        for _ in range(100):
            try:
                group.rmdir()
            except OSError:
                time.sleep(0.05)
            else:
                break
