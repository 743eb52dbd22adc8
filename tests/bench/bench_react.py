"""What one `http.request` costs beside the network: `python tests/bench/bench_react.py`. Aim: at most 60 µs."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import httpx2

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from areabox.clock import SystemClock
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from areabox.services.stage import Stage

ROUNDS, CALLS = 5, 5_000
ANSWER = httpx2.Response(200, headers={"content-type": "application/json"}, content=b'{"ok":true}')


class Egress:
    """Answers at once."""

    async def request(self, *args: Any, **options: Any) -> httpx2.Response:
        del args, options
        return ANSWER


async def main() -> None:
    """Print the CPU time of a call in microseconds, round by round."""
    clock, catalogue = SystemClock(), Catalogue.discover()
    stage: Any = Stage(catalogue, catalogue.service("http"), clock)
    services = Services(clock, catalogue, stage, Egress())  # type: ignore[arg-type]
    params = {"url": "http://127.0.0.1:8080/x", "json": {"a": 1}}
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(CALLS):
            await services.react("http.request", params, owner="o", connection=None, key="k", attempt=1, timeout_s=30)
        print(f"{(time.process_time() - started) / CALLS * 1e6:.1f} µs")


if __name__ == "__main__":
    asyncio.run(main())
