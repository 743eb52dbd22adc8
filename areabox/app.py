"""The composition root: opens everything in order and closes it in reverse; the only place that knows all parts.

open_app(settings, role="serve")   the daemon: loops run
open_app(settings, role="cli")     one command: the same parts, nothing runs in the background
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from areabox.actions import retention
from areabox.actions.inbox import Inbox
from areabox.actions.service import Actions
from areabox.actions.subscriptions import Subscriptions
from areabox.areas import library, store
from areabox.areas.asking import Asking
from areabox.areas.cancelling import Cancelling
from areabox.areas.ending import Ending
from areabox.areas.events import Events
from areabox.areas.flow import Flow
from areabox.areas.listening import Listening
from areabox.areas.live import Live
from areabox.areas.reacting import Reacting
from areabox.areas.registry import Registry
from areabox.areas.runs import Runs
from areabox.areas.sealing import Sealing
from areabox.areas.service import Areas
from areabox.areas.starting import Starting
from areabox.areas.waiting import Waiting
from areabox.clock import Clock, SystemClock
from areabox.database import one
from areabox.database.sqlite import SqliteBackend
from areabox.deployment.housekeeping import Ended, Housekeeping, Space, Sweep
from areabox.deployment.people import people_of
from areabox.deployment.settings import Settings, shown
from areabox.deployment.site import base_url_of, listeners_of, site_of
from areabox.errors import NotFoundError
from areabox.gateway.idempotency import Repeats
from areabox.gateway.maintenance import Maintenance
from areabox.gateway.parts import Parts, Probe
from areabox.monitoring import logs
from areabox.monitoring.loops import Bell, run_loop
from areabox.monitoring.metrics import Metrics
from areabox.monitoring.telemetry import Telemetry
from areabox.notifications.outbox import Outbox
from areabox.notifications.sources import SourceNotices
from areabox.reactions import queue
from areabox.reactions.worker import Worker
from areabox.services.calls import Services
from areabox.services.catalogue import Catalogue
from areabox.services.connections import Connections
from areabox.services.egress import Egress
from areabox.services.folders import Folders
from areabox.services.helper import Helper, apprise_helper
from areabox.services.host import House
from areabox.services.push import public_key, push_key
from areabox.services.vault import Vault
from areabox.users.accounts import Accounts
from areabox.users.audit import Audit
from areabox.users.passwords import Passwords
from areabox.users.sessions import Sessions
from areabox.users.setup import Setup
from areabox.users.throttle import Throttle
from areabox.users.tokens import Tokens

if TYPE_CHECKING:
    from areabox.gateway.http import Gateway

log = logging.getLogger(__name__)

Role = Literal["serve", "cli"]
UNLIMITED_SLOTS = 4_096
_SEALED = """
select 1 from connection where secret is not null union all select 1 from subscription where secret is not null limit 1
"""
RESYNC_S = 60.0
DAY_MS = 86_400_000


class App:
    """All parts of one process."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings, self.clock = settings, clock
        self.telemetry, self.metrics = Telemetry(), Metrics()
        self.room = Bell()  # rung when the disk is full
        self.backend = SqliteBackend(settings.database_path, clock, on_full=self.room.ring)
        self.paused = False
        self._tasks: list[asyncio.Task[None]] = []

    # --- building -------------------------------------------------------------------------------------------------

    async def build(self) -> None:
        """Make every part; the database is open already."""
        settings, clock, backend = self.settings, self.clock, self.backend
        self.telemetry.listen(self.metrics.listen)
        self.vault = await self._key()
        self.catalogue = Catalogue.discover(settings.data_dir)
        self.sealing = Sealing(self.catalogue, self.vault)
        self.outbox = Outbox(backend, clock)
        self.egress = Egress(
            clock, allow=settings.egress_allow, limits_off=not settings.rate_limits, own_ports=settings.own_ports,
            sockets=map(str, settings.sockets_allow),
        )
        self._build_users()
        await self.accounts.settle()
        self.connections = Connections(backend, clock, self.catalogue, self.vault, trusts=self._trusts)
        folders = Folders(settings.files_allow, kept_out=(settings.data_dir, settings.database_path.parent))
        self.house = House(
            backend, clock, self.outbox.message, folders, push_key=push_key(self.vault), commands=settings.shell,
            trusts=self._trusts, apprise=Helper(apprise_helper()) if settings.apprise else None,
        )  # fmt: skip
        self.services = Services(clock, self.catalogue, self.connections, self.egress, house=self.house)
        self.connections.tester = self.services.label
        self.people = people_of(
            settings, backend, clock, self.accounts, self.connections, self.services, self.vault
        )
        self._build_engine()
        self.actions = Actions(
            backend, clock, subscriptions=self.subscriptions, inbox=self.inbox, services=self.services,
            connections=self.connections, seal=self.vault, public_url=settings.public_url,
            tell=SourceNotices(self.outbox, self.catalogue),
        )  # fmt: skip
        self.connections.on_state.append(self._connection_changed)
        self.areas = Areas(
            backend, clock, self.registry, self.catalogue, self.sealing, self.subscriptions, self.connections.resolve,
            base_url=self.base_url, next_of=self.actions.poller.next_ms,
        )  # fmt: skip
        self.events = Events(backend, self.registry, self.starting, self.inbox, self.catalogue)
        self.housekeeping = self._housekeeping()
        await self.registry.open()
        for found in await self.subscriptions.internal("area.ended"):
            self.registry.internal[found.id] = found
        await self.actions.open()
        self._measure()
        row = await one(backend, "select value from meta where key = 'paused'")
        self.paused = row is not None and row["value"] == "1"

    async def _key(self) -> Vault:
        """Open the key file; a new one beside sealed data is said aloud, since it cannot open them."""
        path = self.settings.key_file or self.settings.data_dir / "areabox.key"
        if not path.exists() and await self.backend.read(_SEALED):
            log.error(
                "the key %s is missing, so a new one is made: secrets stored with the old one stay closed until it is "
                "put back, and connections are dead until then", path,
            )  # fmt: skip
        return Vault.load(self.clock, path, create=True)

    def _measure(self) -> None:
        """Let `/metrics` ask what it cannot count."""
        stats, space = self.backend.stats, self.backend.space
        self.metrics.gauge("jobs_ready", "Jobs that wait for a slot.", lambda: stats().ready)
        self.metrics.gauge("jobs_executing", "Jobs that hold a slot.", lambda: stats().executing)
        self.metrics.gauge("areas", "Areas, switched on or off.", lambda: len(self.registry.heads))
        self.metrics.gauge("database_bytes", "Size of the database with its log.", space.bytes)
        self.metrics.gauge("disk_free_bytes", "Room on the database's disk.", space.free_bytes)
        self.metrics.gauge("paused", "1 while nothing runs by itself.", lambda: float(self.paused))

    @property
    def base_url(self) -> str:
        """Return the address under which this areabox is reached."""
        return base_url_of(self.settings)

    def _build_users(self) -> None:
        backend, clock, settings = self.backend, self.clock, self.settings
        self.accounts = Accounts(backend, clock, Passwords(), Throttle(clock, on=settings.rate_limits))
        self.tokens, self.sessions = Tokens(backend, clock), Sessions(backend, clock)
        self.audit = Audit(backend, clock)
        self.setup = Setup(self.accounts, clock, settings.data_dir)

    def _build_engine(self) -> None:
        backend, clock = self.backend, self.clock
        self.registry = Registry(backend, self.catalogue, self.sealing)
        self.asking = Asking(backend, clock, self.registry, self.catalogue, self.vault, self.base_url)
        self.live = Live(backend, self.registry, self.asking, base_url=self.base_url, zone=self.settings.zone)
        self.ending = Ending(self.registry, self.outbox)
        self.starting = Starting(clock, self.registry, self.live, self.ending)
        self.cancelling = Cancelling(backend, clock, self.registry, self.live, self.ending)
        self.subscriptions = Subscriptions(backend, clock, self.catalogue, self.vault, self.settings.zone_name)
        self.inbox = self.ending.inbox = Inbox(backend, clock, self.starting, self.subscriptions)
        listening = Listening(backend, self.subscriptions, self.connections.resolve)
        self.flow = Flow(
            backend, clock, self.registry, self.live, starting=self.starting, ending=self.ending,
            reacting=Reacting(clock, self.catalogue, self.services, self.connections, self.registry),
            waiting=Waiting(
                backend, clock, self.registry, self.starting, listening, self.outbox, self.cancelling, self.asking,
            ),
            cancelling=self.cancelling, telemetry=self.telemetry,
        )  # fmt: skip
        self.asking.wake = self.flow.wake
        self.worker = Worker(backend, clock, self.flow)
        self.cancelling.interrupt = self.worker.interrupt
        backend.refill = lambda owner, lane, limit: queue.refill(backend, owner, lane, limit)
        self.runs = Runs(
            backend, clock, self.registry, self.live, starting=self.starting, flow=self.flow, cancelling=self.cancelling
        )

    @cached_property
    def asgi(self) -> Gateway:
        """Return the HTTP side, made when it is first asked for."""
        from areabox.gateway.http import build_app

        return build_app(
            Parts(
                backend=self.backend, clock=self.clock, site=site_of(self.settings), areas=self.areas, runs=self.runs,
                events=self.events, maintenance=Maintenance(self.backend), catalogue=self.catalogue,
                connections=self.connections, hooks=self.actions.hooks, notices=self.outbox,
                accounts=self.accounts, sessions=self.sessions, tokens=self.tokens, people=self.people,
                audit=self.audit, setup=self.setup, probes=self.probes(), facts=self.facts, pause=self.pause,
                metrics=lambda: (self.metrics.render(), self.metrics.content_type), asking=self.asking,
            )
        )  # fmt: skip

    @property
    def hooks_asgi(self) -> Callable[..., Awaitable[None]]:
        """Return the HTTP side of a listener that is for webhooks alone."""
        return self.asgi.hooks_only

    async def _trusts(self, owner: str) -> bool:
        """Tell whether what an account types may be an address of the local network."""
        try:
            return (await self.accounts.get(owner)).role in ("owner", "admin")
        except NotFoundError:
            return False

    async def _connection_changed(self, connection: str, state: str) -> None:
        if state != "dead":  # ok, new values, or gone: whatever was held finds out by trying
            await self.runs.reconnect(connection)
            await self.actions.reconnected(connection)

    # --- running --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up the work where the last process left it, and begin all loops."""
        if self.paused:
            log.warning("areabox is paused, as it is after a restore: nothing runs until `areabox resume`")
            return
        left = await self.worker.rescue()
        if left:
            log.info("%d attempts were under way when the last process ended", left)
        self._accounts_changed = self.backend.subscribe("account", "share")
        slots = self.settings.slots if self.settings.rate_limits else UNLIMITED_SLOTS
        loops: dict[str, tuple[Callable[[], Awaitable[float]], Bell]] = {
            "due jobs": (self.worker.tick, self.worker.bell),
            "housekeeping": (self.housekeeping.tick, self.room),
            "connectors": (self.services.tick, Bell()),
            "accounts": (self._hear_of_accounts, Bell()),
            "resync": (self._resync, Bell()),
        }
        self._tasks = [asyncio.create_task(run_loop(name, *loop), name=name) for name, loop in loops.items()]
        self._tasks.append(asyncio.create_task(self.actions.run(), name="sources"))
        self._tasks.append(asyncio.create_task(self.worker.run(slots=slots), name="workers"))

    async def _hear_of_accounts(self) -> float:
        """Take notice of changed roles, whose owners' words may be trusted more or less, and of changed shares."""
        message = await anext(self._accounts_changed)
        self.connections.forget()
        if message.topic == "account":
            self.registry.trust(message.body["id"], trusted=message.body["role"] in ("owner", "admin"))
        return 0.0

    async def _resync(self) -> float:
        await self.worker.resync()
        return RESYNC_S

    async def pause(self, *, paused: bool) -> None:
        """Stop doing anything by itself, or go on; it stays so over restarts."""
        if paused == self.paused:
            return
        await self.backend.write(
            """
            insert into meta (key, value) values ('paused', ?)
            on conflict (key) do update set value = excluded.value returning key
            """,
            str(int(paused)),
        )
        self.paused = paused
        if paused:
            await self._stop_loops()
        else:
            await self.start()

    async def drain(self) -> None:
        """Begin nothing new; what is under way may finish within the grace."""
        if "asgi" in vars(self):
            await self.asgi.drain()
        await self._stop_loops()

    async def _stop_loops(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self.worker.stop(self.settings.stop_grace_ms / 1000)

    async def close(self) -> None:
        """Let go of everything, in reverse."""
        await self._stop_loops()
        await self.people.close()
        await self.services.close()
        if self.house.helper is not None:
            await self.house.helper.close()
        self.egress.close()

    def _housekeeping(self) -> Housekeeping:
        backend, settings = self.backend, self.settings

        async def ended() -> int:
            rows = await backend.read("select count(*) from run where ended is not null")
            return int(rows[0][0])

        age, answers = settings.retention_age_ms, Repeats(backend, self.clock)
        sweeps = [
            Sweep("runs", age, lambda before, limit: store.prune(backend, before, limit)),
            Sweep("events", age, lambda before, limit: retention.prune(backend, before, limit)),
            Sweep("notices", age, self.outbox.prune),
            Sweep("effects", max(age, 7 * DAY_MS), self.house.prune),
            Sweep("audit", settings.audit_age_ms, self.audit.prune),
            Sweep("sessions", 0, lambda _before, limit: self.sessions.prune(limit)),
            Sweep("links", 0, lambda _before, limit: self.people.links.prune(limit)),
            Sweep("shares", 0, lambda _before, limit: self.people.shares.prune(limit)),
            Sweep("versions", age, lambda before, limit: library.prune(backend, before, limit)),
            Sweep("once", 0, lambda before, limit: library.prune_once(backend, before, limit)),
            Sweep("answers", 0, lambda _before, limit: answers.prune(limit)),
        ]
        many = Ended(settings.retention_runs, ended, lambda before, limit: store.prune(backend, before, limit))
        space = Space(settings.retention_size_bytes, backend.used_bytes, backend.shrink)
        return Housekeeping(self.clock, sweeps, many, space)

    # --- asked from outside ---------------------------------------------------------------------------------------

    async def setup_token(self) -> str | None:
        """Return a new one-time setup token, or None once there is an account."""
        return await self.setup.issue()

    def status(self) -> str:
        """Return the line for `systemctl status`."""
        stats = self.backend.stats()
        state = "paused, " if self.paused else ""
        return f"{state}{len(self.registry.heads)} areas, {stats.executing} running, {stats.ready} waiting"

    def probes(self) -> dict[str, Callable[[], Awaitable[Probe]]]:
        """Return what `/ready` asks: can the database be written, does time pass, do jobs move."""

        async def database() -> Probe:
            if self.backend.space.full:
                return Probe(ok=False, detail="the disk is full")
            await self.backend.write("select 1")
            return Probe(ok=True)

        async def loops() -> Probe:
            dead = [task.get_name() for task in self._tasks if task.done()]
            if dead:
                return Probe(ok=False, detail=f"ended: {', '.join(dead)}")
            return Probe(ok=bool(self._tasks) or self.paused, detail="paused" if self.paused else "")

        async def moving() -> Probe:
            stats = self.backend.stats()
            return Probe(ok=True, detail=f"{stats.executing} running, {stats.ready} waiting")

        return {"database": database, "loops": loops, "queue": moving}

    async def facts(self) -> dict[str, Any]:
        """Return what `/system` tells beside the probes."""
        space = self.backend.space
        return {
            "paused": self.paused, "areas": len(self.registry.heads), "database_bytes": space.bytes(),
            "free_bytes": space.free_bytes(), "timezone": self.settings.zone_name,
            "listeners": listeners_of(self.settings), "settings": list(shown(self.settings)),
            "push_key": public_key(self.house.push_key),
        }  # fmt: skip

    async def alive(self) -> None:
        """Raise if the database does not answer."""
        await self.backend.read("select 1")


@contextlib.asynccontextmanager
async def open_app(settings: Settings, *, role: Role, clock: Clock | None = None) -> AsyncIterator[App]:
    """Open all parts on a data directory; raises ConfigurationError if it cannot be used."""
    app = App(settings, clock or SystemClock())
    await app.backend.open()
    try:
        await app.build()
        if role == "serve":
            logs.setup(format=settings.log_format, level=settings.log_level, scrub=app.connections.scrubber.text)
            await app.start()
        try:
            yield app
        finally:
            await app.close()
    finally:
        await app.backend.close()
