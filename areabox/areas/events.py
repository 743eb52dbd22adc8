"""What came in, also what no area took and why; events sent by hand, and events given to an area again."""

from __future__ import annotations

from typing import Any

import msgspec

from areabox.actions.inbox import Inbox
from areabox.areas.answers import at
from areabox.areas.nearest import did_you_mean
from areabox.areas.registry import Head, Registry
from areabox.areas.starting import Starting
from areabox.areas.views import CatalogueView
from areabox.database import Backend, Lane, Row, Unit, one
from areabox.database.blobs import unpack
from areabox.errors import InputError, NotFoundError, Problem
from areabox.users.policy import Actor

LIMIT_MAX = 200
Ids = list[str]
Takers = list[tuple[Head, str]]
_LIST = """
select id, action, subscription, at, reason from event
 where owner = ? and id < ? and (? = '' or action = ?) and (? = 0 or reason is not null)
 order by id desc limit ?
"""


class Events:
    """What can be done with events; everything takes the actor first and finds only what is theirs."""

    def __init__(
        self, backend: Backend, registry: Registry, starting: Starting, inbox: Inbox, catalogue: CatalogueView
    ) -> None:
        self._backend, self._registry, self._starting, self._inbox = backend, registry, starting, inbox
        self._catalogue = catalogue

    async def list(
        self, actor: Actor, *, action: str = "", ignored: bool = False, limit: int = 50, after: str | None = None
    ) -> list[dict[str, Any]]:
        """Return events, newest first, those before the id `after`; `ignored`: only those that no area took."""
        rows = await self._backend.read(
            _LIST, actor.owner, after or "~", action, action, int(ignored), min(max(limit, 1), LIMIT_MAX)
        )
        return [_line(row) for row in rows]

    async def get(self, actor: Actor, event_id: str) -> dict[str, Any]:
        """Return an event with its fields and the runs that it started; raises NotFoundError."""
        row = await self._row(actor, event_id)
        runs = await self._backend.read(
            "select r.id, r.state, a.slug from run r join area a on a.id = r.area where r.event = ? order by r.id",
            event_id,
        )
        return {
            **_line(row),
            "payload": msgspec.json.decode(await unpack(self._backend, row["payload"])),
            "runs": [{"id": run["id"], "area": run["slug"], "state": run["state"]} for run in runs],
        }

    async def _row(self, actor: Actor, event_id: str) -> Row:
        row = await one(self._backend, "select * from event where id = ? and owner = ?", event_id, actor.owner)
        if row is None:
            raise NotFoundError(f"there is no event {event_id}")
        return row

    async def replay(self, actor: Actor, event_id: str, area: str | None = None) -> Ids:
        """Start a run of it again: of one area, or of all that listen to it now; return the runs' ids."""
        row = await self._row(actor, event_id)
        payload = msgspec.json.decode(await unpack(self._backend, row["payload"]))
        unit, runs = Unit(), []
        for head, place in self._takers(actor, row, area):
            outline = self._registry.outline(head)
            run, _ = self._starting.begin(
                unit, head, outline, payload, event=event_id, place=place, depth=row["depth"], lane=Lane.BULK
            )
            runs.append(run.id)
        if not runs:
            detail = "no area listens to it now; name one with `area`"
            raise InputError(detail, [Problem("/area", detail)])
        await self._backend.commit(unit)
        return runs

    def _takers(self, actor: Actor, row: Row, area: str | None) -> Takers:
        if area is not None:
            head = self._registry.find(actor.owner, area)
            if head is None:
                raise NotFoundError(f"there is no area {area}")
            return [(head, "")]
        listeners = self._registry.listeners.get(row["subscription"], ())
        heads = [(self._registry.heads.get(listener.area), listener.place) for listener in listeners]
        return [(head, place) for head, place in heads if head is not None and head.enabled]

    async def send(self, actor: Actor, action: str, payload: dict[str, Any]) -> str:
        """Let something happen by hand for every area that listens to this action; return the event's id.

        Raises InputError for an action that there is not.
        """
        if self._catalogue.action(action) is None:
            detail = f"there is no action {action}{did_you_mean(action, self._catalogue.names('action'))}"
            raise InputError(detail, [Problem("/action", detail)])
        return await self._inbox.send(actor.owner, action, payload)


def _line(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"], "action": row["action"], "at": at(row["at"]), "taken": row["reason"] is None,
        "reason": row["reason"],
    }  # fmt: skip
