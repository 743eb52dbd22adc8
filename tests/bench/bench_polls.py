"""What do ten thousand polled subscriptions cost in memory? A daemon with none, and one with so many.

    python tests/bench/bench_polls.py [subscriptions]

Each area has a hundred feeds as triggers. It prints the resident memory of the process that only holds them (the feeds
are not due within the measurement), and the difference.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from areabox.app import open_app
from areabox.deployment.settings import load

EACH = 100


def pss_mb() -> float:
    """Return the proportional set size of this process."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


async def fill(folder: Path, count: int) -> None:
    async with open_app(load({"data_dir": str(folder)}, environ={}), role="serve") as app:
        account = await app.accounts.create("owner@example.org", None, "owner", first=True)
        for first in range(0, count, EACH):
            feeds = [
                {"rss.new_entry": {"feed": f"https://feeds.example.org/{first + n}"}, "id": f"f{n}", "every": "1d"}
                for n in range(EACH)
            ]
            area = {"area": f"a{first}", "name": f"Feeds {first}", "when": feeds, "then": [{"set": {"seen": 1}}]}
            await app.areas.apply(account.actor(), [(f"a{first}", json.dumps(area))])


async def hold(folder: Path) -> None:
    async with open_app(load({"data_dir": str(folder)}, environ={}), role="serve") as app:
        await asyncio.sleep(3)
        gc.collect()
        count = (await app.backend.read("select count(*) from subscription where active = 1"))[0][0]
        print(f"{count:>8,} polled subscriptions   {pss_mb():.1f} MB")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        step = fill(Path(sys.argv[2]), int(sys.argv[1])) if sys.argv[3:] else hold(Path(sys.argv[2]))
        asyncio.run(step)
    else:
        for count in (0, int(sys.argv[1]) if len(sys.argv) > 1 else 10_000):
            with tempfile.TemporaryDirectory() as made:
                subprocess.run([sys.executable, __file__, str(count), made, "fill"], check=True)
                subprocess.run([sys.executable, __file__, str(count), made], check=True)
