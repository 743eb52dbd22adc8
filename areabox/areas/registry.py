"""What is known in memory of areas: which listen to what, what waits for what, and their programs, compiled when used.

Everything here is made again from rows at a start; nothing here is the truth.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any

import msgspec

from areabox.actions.rows import Subscription
from areabox.areas import document
from areabox.areas.outline import Outline
from areabox.areas.sealing import Sealing
from areabox.database import Backend, Row
from areabox.errors import InputError
from areabox.reactions import queue
from areabox.reactions.queue import Job

COMPILED_MAX = 512
_LOOKED_UP = ("sub:", "slot:")  # whoever waits for something else is found by its row


class Head(msgspec.Struct, frozen=True):
    """An area as new runs see it. `lan`: its author may reach addresses of the local network by typing them."""

    id: str
    owner: str
    slug: str
    name: str
    version: int
    enabled: bool
    document: bytes
    lan: bool = False


class Listener(msgspec.Struct, frozen=True):
    """One place of an area that listens to a subscription."""

    area: str
    place: str


HEADS = """
select a.id, a.owner, a.slug, a.name, a.head, a.enabled, v.document, u.role
  from area a join area_version v on v.area = a.id and v.version = a.head left join account u on u.id = v.author
"""


def head_of(row: Row) -> Head:
    """Return a row of `HEADS` as a value."""
    return Head(
        row["id"], row["owner"], row["slug"], row["name"], row["head"], bool(row["enabled"]), row["document"].encode(),
        row["role"] in ("owner", "admin"),
    )  # fmt: skip


class Registry:
    """The index of areas in memory."""

    def __init__(self, backend: Backend, catalogue: document.CatalogueView, sealing: Sealing) -> None:
        self._backend, self._catalogue, self._sealing = backend, catalogue, sealing
        self._compiled: OrderedDict[tuple[str, int], Outline] = OrderedDict()
        self._by_slug: dict[tuple[str, str], str] = {}
        self.heads: dict[str, Head] = {}
        self.listeners: defaultdict[str, dict[Listener, None]] = defaultdict(dict)
        self._of_area: defaultdict[str, set[str]] = defaultdict(set)
        self.internal: dict[str, Subscription] = {}
        self.waits: defaultdict[str, dict[str, Job]] = defaultdict(dict)
        self.failing: set[str] = set()

    async def open(self) -> None:
        """Read what the database holds."""
        for row in await self._backend.read(HEADS):
            self.put(head_of(row))
        for row in await self._backend.read(
            "select subscription, area, place from area_subscription where role = 'trigger'"
        ):
            self._add(row["subscription"], Listener(row["area"], row["place"]))
        for job in await queue.keyed(self._backend):
            self.wait(job)

    # --- areas ----------------------------------------------------------------------------------------------------

    def put(self, head: Head) -> None:
        """Take an area in, or its newer version."""
        known = self.heads.get(head.id)
        if known is not None and known.version > head.version:
            return
        self.heads[head.id] = head
        self._by_slug[head.owner, head.slug] = head.id

    def trust(self, owner: str, *, trusted: bool) -> None:
        """Let an owner's areas reach the local network, or no more; the author of a version is its owner."""
        for head in [head for head in self.heads.values() if head.owner == owner]:
            self.heads[head.id] = msgspec.structs.replace(head, lan=trusted)

    def drop(self, area: str) -> None:
        """Forget an area."""
        head = self.heads.pop(area, None)
        if head is not None:
            self._by_slug.pop((head.owner, head.slug), None)
        self.listen(area, [])

    def listen(self, area: str, subscriptions: list[Subscription]) -> None:
        """Let an area listen to just these subscriptions."""
        for id in self._of_area.pop(area, ()):
            places = self.listeners[id]
            for listener in [listener for listener in places if listener.area == area]:
                del places[listener]
            if not places:
                del self.listeners[id]
                self.internal.pop(id, None)
        for found in subscriptions:
            if found.role == "trigger":
                self._add(found.id, Listener(area, found.place))
            if found.kind == "internal":
                self.internal[found.id] = found

    def _add(self, subscription: str, listener: Listener) -> None:
        self.listeners[subscription][listener] = None
        self._of_area[listener.area].add(subscription)

    def find(self, owner: str, slug: str) -> Head | None:
        """Return an owner's area by its id in documents."""
        area = self._by_slug.get((owner, slug))
        return None if area is None else self.heads.get(area)

    # --- programs -------------------------------------------------------------------------------------------------

    def outline(self, head: Head) -> Outline:
        """Return the program of an area's newest version; raises InputError if it cannot be run any more."""
        found = self._compiled.get((head.id, head.version))
        if found is not None:
            self._compiled.move_to_end((head.id, head.version))
            return found
        return self._compile(head.id, head.version, head.document)

    async def outline_at(self, area: str, version: int) -> Outline:
        """Return the program of any version; raises InputError if it cannot be run any more."""
        found = self._compiled.get((area, version))
        if found is not None:
            return found
        rows = await self._backend.read(
            "select document from area_version where area = ? and version = ?", area, version
        )
        if not rows:
            raise InputError(f"version {version} of the area is gone")
        return self._compile(area, version, rows[0][0].encode())

    def keep(self, area: str, version: int, program: Any) -> None:
        """Keep a program that was compiled elsewhere."""
        self._remember(area, version, Outline(program))

    def _compile(self, area: str, version: int, text: bytes) -> Outline:
        opened = self._sealing.open(area, msgspec.json.decode(text))
        program = document.from_data(opened, catalogue=self._catalogue)
        return self._remember(area, version, Outline(program))

    def _remember(self, area: str, version: int, outline: Outline) -> Outline:
        self._compiled[area, version] = outline
        while len(self._compiled) > COMPILED_MAX:
            self._compiled.popitem(last=False)
        return outline

    # --- waits ----------------------------------------------------------------------------------------------------

    def wait(self, job: Job) -> None:
        """Note that a job waits for a key that is looked up here."""
        if job.wait_key is not None and job.wait_key.startswith(_LOOKED_UP):
            self.waits[job.wait_key][job.id] = job

    def forget(self, job: Job) -> None:
        """Note that a job waits no more."""
        if job.wait_key is not None and job.wait_key in self.waits:
            self.waits[job.wait_key].pop(job.id, None)
            if not self.waits[job.wait_key]:
                del self.waits[job.wait_key]

    def waiting(self, wait_key: str) -> list[Job]:
        """Return the jobs that wait for a key, oldest first."""
        found = self.waits.get(wait_key)
        return sorted(found.values(), key=lambda job: job.id) if found else []
