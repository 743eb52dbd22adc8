"""Areas as people keep them: apply a folder, put one, switch on and off, versions, export.

Whatever changes an area is one Unit: the document, its version, its subscriptions, or nothing of them.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from areabox.actions.subscriptions import Subscriptions, Wanted
from areabox.areas import document, library
from areabox.areas.answers import at
from areabox.areas.model import AnyStep, Program, WaitFor
from areabox.areas.outline import branches
from areabox.areas.registry import Head, Registry
from areabox.areas.sealing import Sealing
from areabox.clock import Clock
from areabox.database import Backend, Unit
from areabox.errors import ConflictError, InputError, NotFoundError, Problem
from areabox.users.policy import Actor

TRIES = 5
Lines = list[dict[str, Any]]
Texts = list[tuple[str, str]]  # area and its YAML


class Change(msgspec.Struct, frozen=True):
    """What `apply` did, or would do, to one area: created, changed, unchanged or removed."""

    area: str
    change: str
    version: int | None
    subscriptions: list[dict[str, Any]]
    diff: str = ""


class _Step(msgspec.Struct, frozen=True):
    """One area on its way into the database."""

    program: Program
    source: str | None
    head: Head | None
    change: str


_Applied = tuple[list[_Step], list[Head], list[Head]]  # what was read, what is there now, what was removed


class Areas:
    """What can be done with areas; everything takes the actor first and finds only what is theirs."""

    def __init__(
        self, backend: Backend, clock: Clock, registry: Registry, catalogue: document.CatalogueView,
        sealing: Sealing, subscriptions: Subscriptions,
        resolve: Callable[[str, str, str | None], Awaitable[str | None]], *, base_url: str = "",
        next_of: Callable[[str], int | None] = lambda _subscription: None,
    ) -> None:  # fmt: skip
        self._backend, self._clock, self._registry, self._catalogue = backend, clock, registry, catalogue
        self._sealing, self._next_of = sealing, next_of
        self._subscriptions, self._resolve, self._base_url = subscriptions, resolve, base_url
        self._changing = asyncio.Lock()  # one change of areas after the other; guards are for other processes

    # --- apply ----------------------------------------------------------------------------------------------------

    async def apply(
        self, actor: Actor, documents: Sequence[tuple[str, str]], *, plan: bool = False, prune: bool = False
    ) -> list[Change]:
        """Make the actor's areas what these documents say: all of them, or none if one is wrong.

        With `prune`, areas that no document names are removed; with `plan`, nothing is written. Raises InputError with
        the problems of every document.
        """
        if plan:
            steps = self._read(actor, documents)
            removed = self._unnamed(actor, steps) if prune else []
            return [self._foreseen(step) for step in steps] + [Change(h.slug, "removed", None, []) for h in removed]
        async with self._changing:
            steps, heads, removed = await self._applied(actor, documents, prune=prune)
            for head in removed:
                self._registry.drop(head.id)
            await self._take_in(heads, steps)
        done = [
            Change(head.slug, step.change, head.version, await self._lines(head), self._diff(step))
            for head, step in zip(heads, steps, strict=True)
        ]
        return done + [Change(head.slug, "removed", None, []) for head in removed]

    async def _applied(self, actor: Actor, documents: Sequence[tuple[str, str]], *, prune: bool) -> _Applied:
        for _ in range(TRIES):
            steps = self._read(actor, documents)
            removed, unit = self._unnamed(actor, steps) if prune else [], Unit()
            heads = [await self._write(unit, actor, step) for step in steps]
            for head in removed:
                await self._remove(unit, head)
            if await self._committed(unit):
                return steps, heads, removed
            await self._refresh([*heads, *removed])
        raise ConflictError("areas were changed by others meanwhile; apply again")

    def _read(self, actor: Actor, documents: Sequence[tuple[str, str]]) -> list[_Step]:
        steps: dict[str, _Step] = {}
        problems: list[Problem] = []
        for name, text in documents:
            try:
                found = document.parse_many(text, catalogue=self._catalogue, name=name)
                for program in found:
                    if program.slug in steps:
                        detail = f"another document is called {program.slug}, too"
                        problems.append(Problem("/area", detail, document=name))
                    steps[program.slug] = self._step(actor, program, text if len(found) == 1 else None)
            except InputError as error:
                told = error.problems or [Problem("", str(error))]
                problems += [msgspec.structs.replace(problem, document=name) for problem in told]
        if documents and not steps and not problems:  # what was meant to be areas must not prune all there are
            problems = [Problem("", "it holds no area", document=name) for name, _ in documents]
        if problems:
            count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            raise InputError(f"{count}; nothing was applied", problems)
        return list(steps.values())

    def _step(self, actor: Actor, program: Program, source: str | None) -> _Step:
        head = self._registry.find(actor.owner, program.slug)
        before = None if head is None else self._before(head)
        restored = self._sealing.restore(program.document, before)
        if restored != program.document:
            program = document.from_data(restored, catalogue=self._catalogue)
        if head is None:
            return _Step(program, source, None, "created")
        same = before == program.document
        return _Step(program, source, head, "unchanged" if same else "changed")

    def _opened(self, head: Head) -> dict[str, Any]:
        return self._sealing.open(head.id, msgspec.json.decode(head.document))

    def _before(self, head: Head) -> dict[str, Any] | None:
        try:
            return self._opened(head)
        except InputError:  # its secrets are lost: only a document that gives them anew can take its place
            return None

    def _shown(self, head: Head) -> dict[str, Any]:
        return self._sealing.star(msgspec.json.decode(head.document))

    def _unnamed(self, actor: Actor, steps: list[_Step]) -> list[Head]:
        named = {step.program.slug for step in steps}
        return [h for h in self._registry.heads.values() if h.owner == actor.owner and h.slug not in named]

    def _diff(self, step: _Step) -> str:
        old = None if step.head is None else self._shown(step.head)
        return _diff(old, self._sealing.star(step.program.document))

    def _foreseen(self, step: _Step) -> Change:
        version = None if step.head is None else step.head.version
        return Change(step.program.slug, step.change, version, [], self._diff(step))

    async def _write(self, unit: Unit, actor: Actor, step: _Step) -> Head:
        if step.change == "unchanged" and step.head is not None:
            return step.head
        now = self._clock.now_ms()
        before, program = step.head, step.program
        area = before.id if before else self._clock.new_id()
        sealed = self._sealing.seal(area, program.document)
        head = Head(
            id=area, owner=actor.owner, slug=program.slug, name=program.name,
            version=before.version + 1 if before else 1, enabled=program.enabled,
            document=msgspec.json.encode(sealed), lan=actor.role in ("owner", "admin"),
        )  # fmt: skip
        source = step.source if sealed == program.document else None  # a text with secrets in it is not kept
        library.write(unit, head, before, source=source, author=actor.account_id, now=now)
        wanted = await self._wanted(actor, program)
        await self._subscriptions.reconcile(unit, head.id, actor.owner, wanted, enabled=head.enabled)
        return head

    async def _wanted(self, actor: Actor, program: Program) -> list[Wanted]:
        wanted = []
        for trigger in program.when:
            connection = await self._connection(actor, trigger.action, trigger.connection)
            wanted.append(
                Wanted(
                    place=trigger.id, action=trigger.action, params=trigger.params, connection=connection,
                    every_ms=trigger.every_ms, missed=trigger.missed,
                )
            )  # fmt: skip
        for step in waits(program.then):
            if step.params.literal:
                connection = await self._connection(actor, step.action, step.connection)
                wanted.append(
                    Wanted(
                        place=step.id, role="wait", action=step.action, params=step.params.source,
                        connection=connection, every_ms=step.every_ms,
                    )
                )  # fmt: skip
        return wanted

    async def _connection(self, actor: Actor, action: str, name: str | None) -> str | None:
        operation = self._catalogue.action(action)
        if name is None and (operation is None or not operation.needs_connection):
            return None
        return await self._resolve(actor.owner, action.partition(".")[0], name)

    async def _remove(self, unit: Unit, head: Head) -> None:
        await self._subscriptions.release(unit, head.id)
        library.delete(unit, head)

    async def _committed(self, unit: Unit) -> bool:
        try:
            return not unit.statements or await self._backend.commit(unit)
        except ConflictError:  # another made an area of that name at the same time
            return False

    async def _refresh(self, heads: list[Head]) -> None:
        for head in heads:
            current = await library.load(self._backend, head.owner, head.slug)
            if current is not None:
                self._registry.put(current)
            elif self._registry.find(head.owner, head.slug) is not None:
                self._registry.drop(head.id)

    async def _take_in(self, heads: list[Head], steps: list[_Step]) -> None:
        for head, step in zip(heads, steps, strict=True):
            self._registry.put(head)
            self._registry.keep(head.id, head.version, step.program)
            found = await self._subscriptions.for_area(head.id)
            if self._registry.heads.get(head.id) == head:  # and no newer one came meanwhile
                self._registry.listen(head.id, found)

    # --- one area -------------------------------------------------------------------------------------------------

    async def put(
        self, actor: Actor, slug: str | None, text: str | dict[str, Any], *, if_match: int | None = None
    ) -> tuple[dict[str, Any], bool]:
        """Create or replace an area from YAML text or a document; return it, and whether it is new.

        `slug` None creates and refuses one that is there; otherwise the document's id must be the same.
        Raises ConflictError where `if_match` is not its version.
        """
        if isinstance(text, str):
            program, source = document.parse(text, catalogue=self._catalogue), text
        else:
            program, source = document.from_data(text, catalogue=self._catalogue), None
        if slug is not None and program.slug != slug:
            raise InputError("the area's id and its address differ", [Problem("/area", f"must be {slug}")])
        async with self._changing:
            step = self._step(actor, program, source)
            if slug is None and step.head is not None:
                raise ConflictError(f"there is an area {program.slug} already")
            if if_match is not None and (step.head is None or step.head.version != if_match):
                raise ConflictError(f"the area is at version {step.head.version if step.head else 0}, not {if_match}")
            await self._put(actor, step)
        return await self.get(actor, program.slug), step.head is None

    async def _put(self, actor: Actor, step: _Step) -> None:
        unit = Unit()
        head = await self._write(unit, actor, step)
        if not await self._committed(unit):
            await self._refresh([head])
            raise ConflictError("somebody changed the area meanwhile; read it again")
        await self._take_in([head], [step])

    def _head(self, actor: Actor, slug: str) -> Head:
        head = self._registry.find(actor.owner, slug)
        if head is None:
            raise NotFoundError(f"there is no area {slug}")
        return head

    async def get(self, actor: Actor, slug: str) -> dict[str, Any]:
        """Return an area; raises NotFoundError."""
        found = await self._view(self._head(actor, slug))
        if actor.behalf:  # whoever has its address may start it, which is not what everybody may who sees it
            found["subscriptions"] = [{**one, "url": ""} if "url" in one else one for one in found["subscriptions"]]
        return found

    async def _view(self, head: Head) -> dict[str, Any]:
        times = await library.times(self._backend, head.id)
        return {
            **self._shown(head),
            "enabled": head.enabled,
            "version": head.version,
            "state": "on" if head.enabled else "off",
            "subscriptions": await self._lines(head),
            **{name: at(ms) for name, ms in times.items()},
        }

    async def list(self, actor: Actor, *, limit: int = 50, after: str | None = None, query: str = "") -> Lines:
        """Return areas by id, those behind the id `after`, with `query` in their id, name or tags."""
        words = query.lower()
        mine = sorted(
            (h for h in self._registry.heads.values() if h.owner == actor.owner and h.slug > (after or "")),
            key=lambda head: head.slug,
        )
        found = [h for h in mine if not words or words in h.slug or words in h.name.lower() or words in _tags(h)]
        return await asyncio.gather(*(self._view(head) for head in found[:limit]))

    async def delete(self, actor: Actor, slug: str, *, if_match: int | None = None) -> None:
        """Remove an area; its runs stay until they are pruned. Raises NotFoundError, ConflictError."""
        async with self._changing:
            head = self._head(actor, slug)
            if if_match is not None and head.version != if_match:
                raise ConflictError(f"the area is at version {head.version}, not {if_match}")
            unit = Unit()
            await self._remove(unit, head)
            if not await self._committed(unit):
                await self._refresh([head])
                raise ConflictError("somebody changed the area meanwhile; read it again")
            self._registry.drop(head.id)

    async def enable(self, actor: Actor, slug: str, enabled: bool) -> dict[str, Any]:  # noqa: FBT001 -- a verb with its value
        """Switch an area on or off; runs that are under way go on."""
        async with self._changing:
            head = self._head(actor, slug)
            if head.enabled != enabled:
                await self._switch(actor, head, enabled=enabled)
        return await self.get(actor, slug)

    async def _switch(self, actor: Actor, head: Head, *, enabled: bool) -> None:
        try:
            document_ = self._opened(head)
            document_.pop("enabled", None)
            if not enabled:
                document_["enabled"] = False
            program = document.from_data(document_, catalogue=self._catalogue)
        except InputError:  # a connector of it is gone, say: it cannot run, but it can be switched off
            if enabled:
                raise
            await self._silence(actor, head)
        else:
            await self._put(actor, _Step(program, None, head, "changed"))

    async def _silence(self, actor: Actor, head: Head) -> None:
        unit, stored = Unit(), {**msgspec.json.decode(head.document), "enabled": False}
        newer = msgspec.structs.replace(
            head, version=head.version + 1, enabled=False, document=msgspec.json.encode(stored)
        )
        library.write(unit, newer, head, source=None, author=actor.account_id, now=self._clock.now_ms())
        await self._subscriptions.disable(unit, head.id)
        if not await self._committed(unit):
            raise ConflictError("somebody changed the area meanwhile; try again")
        self._registry.put(newer)

    async def _lines(self, head: Head) -> Lines:
        return [
            {
                "id": found.place, "action": found.action,
                **({"url": f"{self._base_url}/hooks/{found.hook}"} if found.hook else {}),
                "next": at(self._next_of(found.id) or found.next) if head.enabled else None, "last": at(found.last),
                **({"error": found.error} if found.error else {}),
            }
            for found in await self._subscriptions.for_area(head.id)
        ]  # fmt: skip

    # --- versions -------------------------------------------------------------------------------------------------

    async def versions(self, actor: Actor, slug: str) -> Lines:
        """Return an area's versions, newest first."""
        return await library.versions(self._backend, self._head(actor, slug).id)

    async def version(self, actor: Actor, slug: str, number: int) -> dict[str, Any]:
        """Return the document of a version; raises NotFoundError."""
        found = await library.version(self._backend, self._head(actor, slug).id, number)
        if found is None:
            raise NotFoundError(f"{slug} has no version {number}")
        return {**found, "document": self._sealing.star(found["document"])}

    async def export(self, actor: Actor, slugs: Sequence[str] = ()) -> Texts:
        """Return areas as YAML, by id; all of them where none is named."""
        heads = [self._head(actor, slug) for slug in slugs] or sorted(
            (head for head in self._registry.heads.values() if head.owner == actor.owner), key=lambda head: head.slug
        )
        return [(head.slug, document.emit_yaml(self._shown(head))) for head in heads]


def waits(steps: tuple[AnyStep, ...]) -> list[WaitFor]:
    """Return every `wait_for` in a list of steps, at any depth."""
    found = []
    for step in steps:
        if isinstance(step, WaitFor):
            found.append(step)
        for _, inner in branches(step):
            found += waits(inner)
        found += waits(step.on_error or ())
    return found


def _tags(head: Head) -> list[str]:
    found: list[str] = msgspec.json.decode(head.document).get("tags", [])
    return found


def _diff(old: dict[str, Any] | None, new: dict[str, Any]) -> str:
    before = "" if old is None else document.emit_yaml(old)
    after = document.emit_yaml(new)
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="")
    return "\n".join(lines)
