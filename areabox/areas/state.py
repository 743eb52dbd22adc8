"""A run as the planner sees it: what it knows so far, and the changes that one advance makes to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any

import msgspec

from areabox.areas.outline import Node, Outline
from areabox.reactions.queue import Job


class Scope(msgspec.Struct, frozen=True):
    """An open loop, parallel or error handler; the join counts here.

    `need` iterations or branches in all, `next` the next to start (of `join: any`: how many failed), `got` ended well.
    """

    kind: str
    started: int
    need: int = 0
    next: int = 0
    got: int = 0
    items: list[Any] | None = None
    error: dict[str, Any] | None = None


class StepRow(msgspec.Struct, frozen=True):
    """One finished attempt at a step."""

    path: str
    kind: str
    state: str
    started: int
    ended: int
    attempt: int = 1
    input: Any = None
    output: Any = None
    error: dict[str, Any] | None = None
    note: str | None = None


class NewJob(msgspec.Struct, frozen=True):
    """A live position that the plan asks for: ready at once, or waiting until `due` or for an answer."""

    path: str
    kind: str
    node: str
    due: int | None = None
    wait_key: str | None = None
    input: Any = None


class End(msgspec.Struct, frozen=True):
    """How a run ends."""

    state: str
    reason: str | None = None
    result: Any = None


class RunState:
    """A live run: loaded from its rows, kept while it has work, and changed only by what was committed."""

    __slots__ = (
        "area", "ask_url", "deadline", "depth", "dry", "event", "facts", "id", "jobs", "key", "layers", "memo",
        "outline", "owner", "parent_job", "parent_run", "results", "root", "scopes", "seq", "slug", "started", "state",
        "trigger", "url", "vars", "version", "zone",
    )  # fmt: skip

    def __init__(
        self,
        *,
        id: str,
        owner: str,
        area: str,
        outline: Outline,
        trigger: Any,
        started: int,
        version: int = 1,
        event: str | None = None,
        url: str = "",
        key: str | None = None,
        dry: bool = False,
        depth: int = 0,
        parent_run: str | None = None,
        parent_job: str | None = None,
        state: str = "running",
        zone: tzinfo = UTC,
        root: str | None = None,
        ask_url: Callable[[str], str] = str,
    ) -> None:
        self.id, self.owner, self.area, self.version = id, owner, area, version
        self.outline, self.slug = outline, outline.program.slug
        self.trigger, self.event, self.url = trigger, event, url
        self.started, self.deadline = started, started + outline.program.timeout_ms
        self.key, self.dry, self.depth, self.state, self.seq = key, dry, depth, state, 0
        self.parent_run, self.parent_job, self.zone = parent_run, parent_job, zone
        self.root = root or id  # the run that led to this one, over however many others
        self.ask_url = ask_url  # of the question at a path: where a person answers it
        self.facts = {"id": id, "url": url, "started": instant(started)}
        self.vars: dict[str, Any] = {}
        self.results: dict[str, Any] = {}
        self.scopes: dict[str, Scope] = {}
        self.layers: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, Job] = {}
        self.memo: Mapping[str, StepRow] = {}


class Change:
    """What one advance does to a run; `None` in `scopes` or `layers` means closed."""

    __slots__ = ("cancelled", "end", "jobs", "layers", "results", "scopes", "steps", "vars")

    def __init__(self) -> None:
        self.steps: list[StepRow] = []
        self.jobs: list[NewJob] = []
        self.results: dict[str, Any] = {}
        self.scopes: dict[str, Scope | None] = {}
        self.layers: dict[str, dict[str, Any] | None] = {}
        self.vars: dict[str, Any] | None = None
        self.cancelled: list[str] = []
        self.end: End | None = None


class Steps(Mapping[str, Any]):
    """The results that a step may see by id: those at its own place, and those outside the loops around it."""

    __slots__ = ("_nodes", "_parts", "_results")

    def __init__(self, outline: Outline, prefix: str, *results: Mapping[str, Any]) -> None:
        self._nodes, self._results = outline.nodes, results
        self._parts = prefix.split(".")[:-1]

    def __getitem__(self, id: str) -> Any:
        path = self._path(self._nodes[id])
        for results in self._results:
            if path in results:
                return results[path]
        raise KeyError(id)

    def _path(self, node: Node) -> str:
        depth = len(node.frames)
        if [frame.step.id for frame in node.frames] != self._parts[: depth * 2 : 2]:
            raise KeyError(node.step.id)
        return ".".join((*self._parts[: depth * 2], node.step.id))

    def __iter__(self) -> Iterator[str]:
        return (id for id in self._nodes if id in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def instant(ms: int) -> str:
    """Return UTC milliseconds as RFC 3339."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=16)
def _second(s: int) -> str:
    return datetime.fromtimestamp(s, UTC).isoformat(timespec="seconds")[:19]
