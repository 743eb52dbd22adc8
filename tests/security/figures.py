"""How much is proved: a short form in the suite, the whole figures where AREABOX_FAULTS=full asks for them."""

from __future__ import annotations

import os
import time
from pathlib import Path

FULL = os.environ.get("AREABOX_FAULTS") == "full"
SAID: list[str] = []  # printed at the end of the session, see conftest.py


def amount(short: int, full: int) -> int:
    return full if FULL else short


def figure(goal: str, text: str) -> None:
    """Say what a proof measured."""
    SAID.append(f"{goal:<4} {text}")


def cpu_ms() -> float:
    """Return the CPU time of this thread so far: what others do on the machine, or in other threads, does not count."""
    return time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) * 1000


def resident_bytes(pid: int | str = "self") -> int:
    """Return what a process holds in memory now (Linux)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
