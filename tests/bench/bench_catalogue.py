"""Time and memory of the catalogue: knowing which services there are, loading one, and loading all of them.

Run by hand:  python tests/bench/bench_catalogue.py [turns]
Each turn is a process of its own, with compiled code on the disk; the median is shown. The goal at start, with 40
services, is 50 ms and 10 MB; measured on 2 shared cores with 37: start 5 ms and 0.1 MB, one service 4 ms, all of them
200 ms and 4.3 MB, the longest standstill 23 ms.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import areabox.app  # what a running areabox has loaded already  # noqa: F401
from areabox.services.catalogue import Catalogue

PAGE_BYTES = 4096


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES / 1e6


async def longest_standstill_ms(catalogue: Catalogue) -> float:
    """Load all, and return the longest time that another task had to wait for its turn."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    watching = asyncio.create_task(watch())
    await catalogue.settle()
    watching.cancel()
    return longest * 1000


def measure() -> dict[str, float]:
    memory, began = resident_mb(), time.perf_counter()
    catalogue = Catalogue.discover()
    start_ms, start_mb = (time.perf_counter() - began) * 1000, resident_mb() - memory
    began = time.perf_counter()
    assert catalogue.action("mqtt.message") is not None
    one_ms = (time.perf_counter() - began) * 1000
    began, libraries = time.perf_counter(), set(sys.modules)
    standstill_ms = asyncio.run(longest_standstill_ms(catalogue))
    came = {name.partition(".")[0] for name in set(sys.modules) - libraries} - {"areabox"}
    return {
        "services": len(catalogue.services()), "start ms": start_ms, "start MB": start_mb, "one service ms": one_ms,
        "all ms": one_ms + (time.perf_counter() - began) * 1000, "all MB": resident_mb() - memory,
        "longest standstill ms": standstill_ms, "libraries imported": len(came),
    }  # fmt: skip


def main(turns: int) -> None:
    command = [sys.executable, __file__, "--measure"]
    found = [json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(turns)]
    for name in found[0]:
        print(f"{name:24} {statistics.median(one[name] for one in found):8.1f}")


if __name__ == "__main__":
    if "--measure" in sys.argv:
        print(json.dumps(measure()))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
