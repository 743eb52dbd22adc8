"""Whatever dies when, whoever fails how: nothing acknowledged is lost, nothing is stuck, nothing is done twice blindly.

AREABOX_SEEDS=100 plays 100 seeds, AREABOX_SEED=7 one of them; a seed that fails fails again, the same way.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.simulation import Simulation
from tests.faults.verdict import judge

SEEDS = int(os.environ.get("AREABOX_SEEDS", "5"))
HOURS = float(os.environ.get("AREABOX_HOURS", "10"))
ONE = os.environ.get("AREABOX_SEED")
ROOT = Path(__file__).parents[2]
DIGEST = """
from tests.faults.simulation import Simulation
sim = Simulation(1, 2)
sim.play()
print(sim.trace.digest())
"""


def played(seed: int, hours: float) -> Simulation:
    sim = Simulation(seed, hours)
    sim.play()
    return sim


def test_no_promise_is_broken_whatever_happens() -> None:
    seeds = range(SEEDS) if ONE is None else [int(ONE)]
    begin, hours, crashes, stops, events, commits = time.monotonic(), 0.0, 0, 0, 0, 0
    found: dict[int, list[str]] = {}
    for seed in seeds:
        sim = played(seed, HOURS)
        if wrong := judge(sim):
            found[seed] = wrong
            break
        hours, crashes, stops = hours + sim.loop.now / 3600, crashes + sim.crashes, stops + sim.stops
        events, commits = events + len(sim.acknowledged), commits + sim.disk.commits
    print(
        f"{len(seeds)} seeds, {hours:.0f} hours, {crashes} crashes, {stops} stops, {commits} commits, "
        f"{events} acknowledged deliveries in {time.monotonic() - begin:.1f} s"
    )
    assert not found, "\n".join(
        f"seed {seed} ({len(wrong)}): {line}" for seed, wrong in found.items() for line in wrong[:5]
    )
    assert crashes > len(seeds)
    assert events > len(seeds)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_seed_is_the_same_in_every_process(hash_seed: str) -> None:
    environ = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", DIGEST], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == played(1, 2).trace.digest()
