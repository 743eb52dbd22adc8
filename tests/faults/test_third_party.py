"""G6. Whatever a third party does, an attempt ends in time, its wishes are obeyed, and others do not notice."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.faults.conftest import House
from tests.faults.daemon import FULL, Sink, hook, tell, until
from tests.faults.proxy import FAULTS, Party
from tests.support import any_machine

EACH = 4 if FULL else 2  # runs for each fault
HEALTHY = 600 if FULL else 40  # runs of the healthy area, before and meanwhile
TIMEOUT_S = 2.0
NOISE_S = any_machine(0.05) * (1 if FULL else 4)  # of a machine on which a healthy run takes a few milliseconds
SLOW_NAMES = 6
HOLDS = ("hang", "drip", "drip-head", "slow-dns")  # only the deadline ends these
FAILS = ("refuse", "hang", "drip", "drip-head", "reset", "half-close", "wrong-length", "truncated-gzip", "not-tls", "slow-dns")


def careful(area: str, url: str, attempts: int) -> dict[str, Any]:
    step = tell(url, timeout=f"{TIMEOUT_S:g}s", retry={"attempts": attempts, "first": "200ms", "max": "400ms"})
    return hook(area, step, timeout="48h")


def slow_names(folder: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler to build slow_dns.c with")
    built = folder / "slow_dns.so"
    source = Path(__file__).with_name("slow_dns.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(built), str(source), "-ldl"], check=True, timeout=60)
    return built


async def latencies(url: str, sink: Sink, ids: range) -> list[float]:
    """Send hooks at an even pace, and return how long each took to come out at the other end."""
    sent: dict[int, float] = {}
    async with httpx2.AsyncClient() as client:
        for id in ids:
            sent[id] = time.monotonic()
            assert (await client.post(url, json={"id": id}, timeout=30)).status_code == 202
            await asyncio.sleep(0.03)
    await until(lambda: set(ids) <= set(sink.at), 30, "healthy runs end")
    return sorted(sink.at[id][0] - at for id, at in sent.items())


def p99(values: list[float]) -> float:
    return values[int(len(values) * 0.99)]


async def test_a_faulty_third_party_is_given_up_in_time_and_others_do_not_notice(house: House, tmp_path: Path) -> None:
    daemon = house(LD_PRELOAD=str(slow_names(tmp_path)), AREABOX_RATE_LIMITS="on")
    async with Sink(keep=False) as sink, Party() as party:
        await asyncio.to_thread(daemon.start)
        healthy = sink.url.replace("127.0.0.1", "localhost")  # a name, which has to be resolved each time
        documents = [careful(f"f-{name}", party.url(name), 5 if name == "burst" else 2) for name in FAULTS]
        documents += [careful(f"f-slow-dns-{n}", f"http://slow{n}.example.org/", 2) for n in range(SLOW_NAMES)]
        hooks = await asyncio.to_thread(daemon.apply, hook("healthy", tell(healthy)), *documents)
        before = await latencies(hooks.pop("healthy"), sink, range(HEALTHY))
        healthy_hook = daemon.apply(hook("healthy", tell(healthy)))["healthy"]
        async with httpx2.AsyncClient() as client:
            for _ in range(EACH):
                for url in hooks.values():
                    assert (await client.post(url, json={"id": 1}, timeout=30)).status_code == 202
        meanwhile = await latencies(healthy_hook, sink, range(HEALTHY, 2 * HEALTHY))
        failing = f"select count(*) from run join area on area.id = run.area where slug in ({','.join('?' * len(FAILS))})"
        slugs = [f"f-{name}" for name in FAILS]
        await until(
            lambda: daemon.rows(f"{failing} and state = 'failed'", *slugs) == daemon.rows(failing, *slugs), 300 if FULL else 30,
            "all that must fail has failed",
        )  # fmt: skip
        alone = [name for name in FAULTS if name.startswith("429") or name == "burst"]
        await until(
            lambda: not daemon.rows(
                "select 1 from run join area on area.id = run.area where ended is null and slug <> 'f-429-absurd'"
            ), 300 if FULL else 30, f"{alone} end",
        )  # fmt: skip
        memory = daemon.memory_kib() / 1024
    journal: dict[str, list[tuple[str, float]]] = {}
    for slug, state, started, ended in daemon.rows(
        "select slug, step.state, step.started, step.ended from step join run on run.id = step.run join area on area.id = run.area"
    ):
        name = slug[2:].rpartition("-")[0] if "slow-dns" in slug else slug[2:]
        journal.setdefault(name, []).append((state, (ended - started) / 1000))
    journal.pop("althy")
    longest = {name: round(max(took for _, took in attempts), 2) for name, attempts in journal.items()}
    print(
        f"\nG6: {len(FAULTS) + 1} faults, {sum(map(len, journal.values()))} attempts, the longest took {max(longest.values())} s of "
        f"{TIMEOUT_S:g} s; healthy p99 {p99(before) * 1000:.0f} ms before, {p99(meanwhile) * 1000:.0f} ms meanwhile; {memory:.0f} MiB"
    )
    assert max(longest.values()) <= TIMEOUT_S + any_machine(1.0), longest
    assert min(longest[name] for name in HOLDS) >= TIMEOUT_S - 0.1, longest
    assert p99(meanwhile) <= 2 * p99(before) + NOISE_S
    check_wishes(party, daemon.rows)


def check_wishes(party: Party, rows: Any) -> None:
    """See that a host that asked for a pause had it, from everybody, and no longer than it wished."""
    for name, least in (("429", 3.0), ("429-date", 3.0)):
        first, second, *_ = party.asked[name]
        assert least - 0.05 <= second - first <= least + 3.0, f"{name} was asked again after {second - first:.2f} s"
    for name in ("429-negative", "429-past", "429-silent"):
        assert len(party.asked[name]) == EACH + 1, f"{name} was asked {len(party.asked[name])} times"
    assert len(party.asked["429-absurd"]) <= 4, "a host that asked for a pause of years was asked again"
    states = dict(rows("select slug || ' ' || state, count(*) from run join area on area.id = run.area group by 1"))
    assert states["f-burst done"] == EACH
    assert states["f-429 done"] == states["f-429-date done"] == states["f-429-silent done"] == EACH
    assert states["f-429-absurd running"] == EACH - states.get("f-429-absurd done", 0)
    (earliest,) = rows("select min(job.due) from job join run on run.id = job.run join area on area.id = run.area where slug = 'f-429-absurd'")[0]
    day_s = earliest / 1000 - time.time()
    assert 86_400 - 120 <= day_s <= 86_400 + 5, f"it waits {day_s:.0f} s, not the longest that is obeyed"
    assert json.loads(rows("select error from step join run on run.id = step.run join area on area.id = run.area where slug = 'f-429-absurd'")[0][0])["kind"] == "rate_limited"
