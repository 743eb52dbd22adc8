"""Days of the real engine in a second: random areas, a fake internet, and a process that dies and comes back.

Everything comes from a seed, so a seed that fails fails again, the same way. `Simulation.play` lets the hours pass and
then the faults stop; `verdict.judge` says what was not as promised.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Coroutine
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from areabox.app import App
from areabox.clock import SystemClock
from areabox.deployment.settings import Settings, load
from areabox.errors import AreaboxError
from areabox.services.catalogue import Catalogue
from areabox.services.vault import Vault
from areabox.users.policy import Actor
from tests.faults.documents import random_areas
from tests.faults.internet import FakeServices, Internet
from tests.faults.virtual import Crashes, Died, Disk, InlineBackend, SimulatedClock, Trace, VirtualLoop

LIFE_S = 1_500.0  # of a process, on average
DOWN_S = (0.2, 5.0, 60.0, 1_800.0)
COMMIT_DIES = Crashes(before=0.0015, unheard=0.0015, heard=0.001)
HOOKS_EVERY_S = 400.0
SETTLE_S = 4 * 86_400.0
GRACE_S = 10.0


@cache
def furnished() -> tuple[Path, Catalogue]:
    """Return a data directory with the simulated service and a key, and what the catalogue finds there."""
    folder = Path(tempfile.mkdtemp(prefix="areabox-simulation-"))
    (folder / "connectors").mkdir()
    shutil.copy(Path(__file__).with_name("world.py"), folder / "connectors" / "world.py")
    Vault.load(SystemClock(), folder / "areabox.key", create=True)
    catalogue = Catalogue.discover(folder)
    catalogue.refresh = lambda: None  # type: ignore[method-assign] # nothing is dropped in meanwhile
    return folder, catalogue


@cache
def settings() -> Settings:
    return load({"data_dir": str(furnished()[0]), "timezone": "UTC"}, environ={})


class SimulatedApp(App):
    """The real app on a simulated machine."""

    def __init__(self, process: Process) -> None:
        super().__init__(settings(), process.sim.clock)
        self.backend, self.process = process.backend, process

    def _build_engine(self) -> None:
        self.services = FakeServices(self.services, self.process)  # type: ignore[assignment]
        super()._build_engine()


class Process:
    """One life of the daemon."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.dead = False
        self.died: asyncio.Future[None] = sim.loop.create_future()
        self.attempts: set[str] = set()
        crashes = COMMIT_DIES if sim.faults else Crashes()
        self.backend = InlineBackend(sim.disk, sim.clock, sim.chance, sim.trace, self.crash, crashes)
        self.app: App | None = None

    async def boot(self) -> None:
        """Start as `areabox serve` does."""
        app = SimulatedApp(self)
        with mock.patch("areabox.app.Catalogue.discover", return_value=furnished()[1]):
            await app.build()
        app.registry._compiled = self.sim.compiled  # programs do not change; the rest is read anew
        await app.start()
        account = await app.accounts.first_owner()
        if account is None:
            account = await app.accounts.create("owner@example.org", None, "owner", first=True)
        self.sim.actor = account.actor()
        if not self.sim.applied:
            await self._apply(app)
        self.app = app

    async def _apply(self, app: App) -> None:
        texts = [(area["area"], json.dumps(area)) for area in self.sim.areas]
        for change in await app.areas.apply(self.sim.actor, texts):
            for found in change.subscriptions:
                if "url" in found:
                    self.sim.hooks[change.area] = found["url"].rpartition("/")[2]
        self.sim.applied = True

    async def stop(self) -> None:
        """Stop as SIGTERM does."""
        assert self.app is not None
        app, self.app = self.app, None
        await app.close()
        await self.backend.close()
        self._end("stop")

    def crash(self) -> None:
        """Die at once: no task of it takes another step that matters."""
        if not self.dead:
            self.sim.crashes += 1
            self._end("crash")

    def _end(self, how: str) -> None:
        self.dead = self.backend.dead = True
        self.app = None
        self.sim.trace.note(how, self.sim.loop.now)
        if not self.died.done():
            self.died.set_result(None)
        for task in self.tasks():
            if task is not asyncio.current_task():
                task.cancel()

    def tasks(self) -> list[asyncio.Task[Any]]:
        return [task for task in asyncio.all_tasks(self.sim.loop) if task not in self.sim.outside and not task.done()]


class Simulation:
    """One seed."""

    def __init__(self, seed: int, hours: float, areas: list[dict[str, Any]] | None = None) -> None:
        self.seed, self.until = seed, hours * 3600
        self.loop, self.trace, self.disk = VirtualLoop(), Trace(), Disk()
        self.clock = SimulatedClock(self.loop, f"{seed}:clock")
        self.chance = random.Random(f"{seed}:machine")
        self.areas = areas or random_areas(random.Random(f"{seed}:areas"))
        self.internet = Internet(self)
        self.outside: set[asyncio.Task[Any]] = set()
        self.process: Process | None = None
        self.faults = True
        self.ended_ms = 0  # when the faults stopped
        self.compiled: OrderedDict[Any, Any] = OrderedDict()
        self.applied = False
        self.hooks: dict[str, str] = {}
        self.acknowledged: dict[tuple[str, int], str] = {}
        self.wrongs: list[str] = []
        self.crashes = self.stops = 0
        self.actor: Actor

    def wrong(self, what: str) -> None:
        self.wrongs.append(f"{self.loop.now:.3f} s: {what}")

    def play(self) -> None:
        """Let it all happen."""
        logger, watch = logging.getLogger("areabox"), _Watch(self)
        propagate, logger.propagate = logger.propagate, False
        logger.addHandler(watch)
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._main())
        finally:
            logger.removeHandler(watch)
            logger.propagate = propagate
            asyncio.set_event_loop(None)
            self.loop.close()

    async def _main(self) -> None:
        self._outside(asyncio.current_task())
        sources = [self._spawn(self._happenings(feed)) for feed in self.internet.feeds]
        sources += [self._spawn(self._visitors(area)) for area in self.areas if "webhook.received" in area["when"][0]]
        sources += [self._spawn(self._person()), self._spawn(self._disk_fills())]
        while self.loop.now < self.until:
            await self._life()
            await asyncio.sleep(self.chance.choice(DOWN_S))
        for source in sources:
            source.cancel()
        await asyncio.gather(*sources, return_exceptions=True)
        await self._settle()

    def _outside(self, task: asyncio.Task[Any] | None) -> None:
        assert task is not None
        self.outside.add(task)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        self._outside(task)
        return task

    # --- lives ----------------------------------------------------------------------------------------------------

    async def _life(self) -> None:
        self.process = process = Process(self)
        boot = self.loop.create_task(process.boot())
        await asyncio.wait({boot, process.died}, return_when=asyncio.FIRST_COMPLETED)
        if boot.done() and not process.dead and (error := boot.exception()) is not None:
            if not self.disk.full:
                self.wrong(f"it does not start: {error!r}")
            process.crash()
        if not process.dead:
            await asyncio.wait({process.died}, timeout=self.chance.expovariate(1 / LIFE_S))
        if not process.dead and self.chance.random() < 0.25:
            self.stops += 1
            stop = self.loop.create_task(process.stop())
            await asyncio.wait({stop, process.died}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)
            if stop.done() and not stop.cancelled() and (error := stop.exception()) is not None and not self.disk.full:
                self.wrong(f"it does not stop: {error!r}")
        process.crash()
        await self._bury(process)

    async def _bury(self, process: Process) -> None:
        """Wait until no task of a dead process is left."""
        for _ in range(50):
            tasks = process.tasks()
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1)
        self.wrong(f"tasks that cannot be cancelled: {process.tasks()}")

    async def _settle(self) -> None:
        """Let everything end: no faults, nothing new; and a person who answers."""
        self.faults, self.disk.full = False, False
        self.ended_ms = self.clock.now_ms()
        self.process = process = Process(self)
        await self._within(process, process.boot())
        assert process.app is not None
        for area in self.areas:
            await self._within(process, process.app.areas.enable(self.actor, area["area"], False))
        end = self.loop.now + SETTLE_S
        person = self._spawn(self._person())
        while self.loop.now < end and self.disk.rows("select 1 from run where ended is null limit 1"):
            await asyncio.sleep(60)
        person.cancel()
        await self._within(process, process.stop())
        await self._bury(process)

    async def _within(self, process: Process, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something inside a process, and return what it gives; raises what it raises, or `Died`."""
        task = self.loop.create_task(work)
        await asyncio.wait({task})
        if task.cancelled():
            raise Died
        return task.result()

    # --- what comes from outside ----------------------------------------------------------------------------------

    async def _happenings(self, feed: str) -> None:
        chance = random.Random(f"{self.seed}:feed:{feed}")
        while True:
            await asyncio.sleep(chance.expovariate(1 / 600))
            self.internet.feeds[feed] += [self.loop.now] * chance.choice([1, 1, 1, 3])

    async def _visitors(self, area: dict[str, Any]) -> None:
        """Call a hook with one delivery after the other, each until it is acknowledged."""
        chance, slug = random.Random(f"{self.seed}:hook:{area['area']}"), area["area"]
        number = 0
        while True:
            await asyncio.sleep(0 if chance.random() < 0.2 else chance.expovariate(1 / HOOKS_EVERY_S))
            number += 1
            for _ in range(chance.choice([1, 1, 2])):  # some senders repeat what was acknowledged
                await self._deliver(slug, number, json.dumps({"n": number, "k": chance.randint(0, 3)}).encode())

    async def _deliver(self, slug: str, number: int, body: bytes) -> None:
        headers = {"idempotency-key": f"{slug}-{number}"}
        while True:
            process = self.process
            if process is not None and process.app is not None and slug in self.hooks:
                receive = process.app.actions.hooks.receive(self.hooks[slug], "POST", "/", "", headers, body)
                try:
                    receipt = await self._within(process, receive)
                except (Died, AreaboxError):
                    pass
                else:
                    first = self.acknowledged.setdefault((slug, number), receipt.event)
                    if first != receipt.event:
                        self.wrong(f"delivery {number} to {slug} is two events, {first} and {receipt.event}")
                    return
            await asyncio.sleep(7)

    async def _person(self) -> None:
        """Say what became of uncertain steps, answer questions, cancel a run now and then."""
        chance = random.Random(f"{self.seed}:person:{self.faults}")
        while True:
            await asyncio.sleep(300)
            for row in self.disk.rows("select run, path, wait_key from job where state = 'waiting' order by id"):
                process = self.process
                if process is None or process.app is None:
                    break
                key, runs = row["wait_key"] or "", process.app.runs
                work: Coroutine[Any, Any, Any] | None = None
                if key.startswith("resolve:"):
                    work = runs.resolve(self.actor, row["run"], row["path"], chance.choice(["done", "failed"]))
                elif key.startswith("ask:") and chance.random() < 0.3:
                    work = runs.answer(self.actor, row["run"], row["path"], chance.choice(["Yes", "No"]))
                elif chance.random() < 0.01 and self.faults:
                    work = runs.cancel(self.actor, row["run"])
                if work is not None:
                    try:
                        await self._within(process, work)
                    except (Died, AreaboxError):
                        continue

    async def _disk_fills(self) -> None:
        chance = random.Random(f"{self.seed}:disk")
        while True:
            await asyncio.sleep(chance.expovariate(1 / 7_200))
            self.disk.full = True
            await asyncio.sleep(chance.expovariate(1 / 20))
            self.disk.full = False


class _Watch(logging.Handler):
    """Reads the log as an operator would: what it calls a bug is one."""

    def __init__(self, sim: Simulation) -> None:
        super().__init__(logging.WARNING)
        self.sim = sim

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        full = self.sim.disk.full or "disk is full" in str(error)
        if record.levelno >= logging.ERROR and not full:
            self.sim.wrong(f"logged: {text}: {error!r}")
