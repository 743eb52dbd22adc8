"""How do runs look in the API (contract.md, section 4)? Rows in, plain shapes out; no I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from areabox.areas.outline import Outline
from areabox.areas.state import StepRow, instant
from areabox.database import Row
from areabox.reactions.queue import Job


def at(ms: int | None) -> str | None:
    """Return a time as RFC 3339, or None."""
    return None if ms is None else instant(ms)


def run_line(row: Row, slug: str | None = None) -> dict[str, Any]:
    """Return a run without its steps."""
    return {
        "id": row["id"],
        "area": slug if slug is not None else row["slug"],
        "version": row["version"],
        "state": row["state"],
        "reason": row["reason"],
        "dry": bool(row["dry"]),
        "started": at(row["started"]),
        "ended": at(row["ended"]),
    }


def steps(
    rows: Sequence[StepRow], jobs: Sequence[Job], scopes: Sequence[dict[str, Any]], outline: Outline | None
) -> list[dict[str, Any]]:
    """Return every step that a run has come to, in the order of the document and its iterations."""
    attempts: defaultdict[str, list[StepRow]] = defaultdict(list)
    for row in rows:
        attempts[row.path].append(row)
    found = {path: _ended(path, tries) for path, tries in attempts.items()}
    for scope in scopes:
        if scope["kind"] != "handler" and scope["path"] not in found:
            found[scope["path"]] = _open(scope["path"], scope["kind"], "running", scope["started"])
    for job in jobs:
        if job.path:
            kind = job.kind if outline is None else outline.kind_of(job)
            found[job.path] = _live(job, kind, attempts.get(job.path, []))
    if outline is None:
        return list(found.values())
    for path, step in found.items():
        node = outline.nodes.get(path.rpartition(".")[2])
        step["name"] = node.step.name if node is not None and node.step.name else None
    return sorted(found.values(), key=lambda step: outline.order(step["path"]))


def _ended(path: str, tries: Sequence[StepRow]) -> dict[str, Any]:
    last = tries[-1]
    state = "waiting" if last.state == "retrying" else last.state
    return {
        **_open(path, last.kind, state, tries[0].started),
        "ended": at(last.ended),
        "input": last.input,
        "output": last.output,
        "error": last.error if last.state in ("failed", "uncertain", "retrying") else None,
        "note": last.note,
        "attempts": [_attempt(row) for row in tries],
    }


def _open(path: str, kind: str, state: str, started: int) -> dict[str, Any]:
    return {
        "id": path.rpartition(".")[2], "path": path, "kind": kind, "state": state, "input": None, "output": None,
        "error": None, "note": None, "started": at(started), "ended": None, "attempts": [],
    }  # fmt: skip


def _live(job: Job, kind: str, tries: Sequence[StepRow]) -> dict[str, Any]:
    step = _ended(job.path, tries) if tries else _open(job.path, kind, "pending", job.since)
    step["state"] = _state(job)
    step["ended"] = None
    if job.begun is not None and job.kind == "do":
        step["attempts"] = [*step["attempts"], {"started": at(job.begun), "ended": None}]
    if job.state == "waiting":
        step["due"] = at(job.due)
        if isinstance(job.input, dict) and kind in ("ask", "wait", "wait_for"):
            step["input"] = {name: job.input[name] for name in ("question", "choices")} if kind == "ask" else job.input
    return step


def _state(job: Job) -> str:
    key = job.wait_key or ""
    if job.state == "waiting":
        if key.startswith("resolve:"):
            return "uncertain"
        return "held" if key.startswith("connection:") else "waiting"
    return "running" if job.begun is not None else "pending"


def _attempt(row: StepRow) -> dict[str, Any]:
    attempt: dict[str, Any] = {"started": at(row.started), "ended": at(row.ended)}
    if row.error is not None:
        attempt["error"] = row.error.get("message")
    return attempt
