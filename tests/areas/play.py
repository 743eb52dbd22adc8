"""A run without an engine: the planner's changes are applied in memory, and a test says how each job ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from areabox.areas import document, plan, store
from areabox.areas.outline import Outline
from areabox.areas.state import Change, NewJob, RunState, StepRow
from areabox.reactions.outcome import Done, Outcome, Resumed
from tests.areas.fake_catalogue import FakeCatalogue

CATALOGUE = FakeCatalogue()
START_MS = 1_767_225_600_000
STEPS_MAX = 50_000
Answer = Callable[[NewJob], Outcome]


def outline_of(then: str | list[Any], **more: Any) -> Outline:
    """Return the program of these steps, YAML or data."""
    steps = yaml.safe_load(then) if isinstance(then, str) else then
    data = {"area": "test", "when": [{"webhook.received": {}}], "then": steps, **more}
    return Outline(document.from_data(data, catalogue=CATALOGUE))


def echo(job: NewJob) -> Outcome:
    """End every job well, with its path as the result."""
    return Done(job.path)


class Play:
    """One run, its live jobs by path, and its journal."""

    def __init__(
        self, then: str | list[Any], trigger: Any = None, *, memo: dict[str, StepRow] | None = None, **more: Any
    ) -> None:
        self.now = START_MS
        self.run = RunState(
            id="run", owner="owner", area="area", outline=outline_of(then, **more),
            trigger=trigger or {}, started=self.now,
        )  # fmt: skip
        self.run.memo = memo or {}
        self.jobs: dict[str, NewJob] = {}
        self.journal: list[StepRow] = []
        self.changes: list[Change] = []
        self.state, self.reason, self.result = "running", None, None
        self.take(plan.start(self.run, self.now))

    # --- steering -------------------------------------------------------------------------------------------------

    def take(self, change: Change) -> Change:
        """Do with a change what the engine does."""
        self.changes.append(change)
        for prefix in change.cancelled:
            self.jobs = {path: job for path, job in self.jobs.items() if not path.startswith(prefix)}
        self.journal += change.steps
        for job in change.jobs:
            assert job.path not in self.jobs, f"two jobs at {job.path}"
            self.jobs[job.path] = job
        store.apply(self.run, change)
        if change.end is not None:
            self.state, self.reason, self.result = change.end.state, change.end.reason, change.end.result
            self.jobs.clear()
        else:
            assert self.jobs, "a run that goes on has a job"
        return change

    def end(self, path: str, outcome: Outcome | None = None) -> Change:
        """End the job at a path; well if nothing is said."""
        job = self.jobs.pop(path)
        self.run.jobs.clear()
        ends = outcome or (Resumed() if job.kind == "go" else Done(path))
        return self.take(plan.advance(self.run, path, ends, attempt=1, since=self.now, now=self.now))

    def drive(self, answer: Answer = echo, pick: Callable[[list[str]], str] = min) -> Play:
        """End job after job until the run is over."""
        for _ in range(STEPS_MAX):
            if self.state != "running":
                return self
            job = self.jobs[pick(sorted(self.jobs))]
            self.end(job.path, Resumed() if job.kind == "go" else answer(job))
        raise AssertionError("the run does not end")

    # --- looking --------------------------------------------------------------------------------------------------

    @property
    def ways(self) -> list[tuple[str, str]]:
        """Return path and state of each journaled step, in order."""
        return [(row.path, row.state) for row in self.journal]

    def states(self) -> dict[str, str]:
        """Return the last state of each step."""
        return dict(self.ways)

    def row(self, path: str) -> StepRow:
        return [row for row in self.journal if row.path == path][-1]

    def clean(self) -> None:
        """Assert that a run that ended by itself left nothing open."""
        assert self.run.scopes == {}
        assert self.run.layers == {}
        assert self.jobs == {}
