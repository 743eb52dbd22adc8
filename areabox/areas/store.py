"""The rows of a run: `run`, `step`, `scope`, `layer`. A change goes in with one Unit, a state comes back whole."""

from __future__ import annotations

from typing import Any

import msgspec

from areabox.areas.state import Change, RunState, Scope, StepRow
from areabox.database import Backend, Row, Unit, one
from areabox.database.blobs import pack, unpack
from areabox.reactions import queue

_RUN = """
insert into run (id, owner, area, version, event, trigger, place, parent_run, parent_job, retry_of, retry_from, dry,
                 depth, key, state, reason, result, vars, started, deadline, ended)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_PLAIN_RUN = """
insert into run (id, owner, area, version, event, trigger, place, depth, state, started, deadline)
values (?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?)
"""  # what most runs are: the columns that are left out have their defaults
_ADVANCE = """
update run set seq = seq + 1, state = ?, reason = ?, result = ?, vars = ?, deadline = ?, ended = ?
 where id = ? and seq = ? and ended is null
"""
_STEP = """
insert into step (run, path, attempt, kind, state, input, output, error, note, started, ended)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (run, path, attempt) do update
   set state = excluded.state, input = excluded.input, output = excluded.output, error = excluded.error,
       note = excluded.note, ended = excluded.ended
"""
_SCOPE = """
insert into scope (run, path, kind, need, next, got, items, error, started) values (?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (run, path) do update
   set kind = excluded.kind, need = excluded.need, next = excluded.next, got = excluded.got, items = excluded.items,
       error = excluded.error, started = excluded.started
"""
_LAYER = """
insert into layer (run, path, vars) values (?, ?, ?) on conflict (run, path) do update set vars = excluded.vars
"""
_SELECT = """
select r.*, e.payload as payload, e.action as action, e.dedupe as dedupe
  from run r left join event e on e.id = r.event where r.id = ?
"""
_PRUNED = """
select id from run where ended is not null and ended < ?
   and id not in (select retry_of from run
                   where state in ('queued', 'running', 'waiting', 'held', 'failed', 'uncertain') and ended is null
                     and retry_of is not null)
 order by ended limit ?
"""  # what a run took from an earlier one is read again when the run is loaded
_WITH_RESULT = frozenset({"do", "call", "wait", "wait_for", "ask", "collect", "once", "each", "repeat"})
_encode = msgspec.json.Encoder(enc_hook=str).encode
_decode = msgspec.json.decode


def insert(
    unit: Unit, run: RunState, change: Change, *, place: str = "", retry_of: str | None = None,
    retry_from: str | None = None, now: int,
) -> None:  # fmt: skip
    """Add a new run with what its first walk led to; an event's payload is not stored a second time."""
    end = change.end
    if run.event and end is None and change.vars is None and not (run.dry or run.key or run.parent_run or retry_of):
        unit.do(
            _PLAIN_RUN, run.id, run.owner, run.area, run.version, run.event, place, run.depth, run.state, run.started,
            run.deadline,
        )  # fmt: skip
        _details(unit, run, change)
        return
    trigger = "" if run.event else pack(unit, run.id, _encode(run.trigger))
    unit.do(
        _RUN, run.id, run.owner, run.area, run.version, run.event, trigger, place, run.parent_run, run.parent_job,
        retry_of, retry_from, int(run.dry), run.depth, run.key, end.state if end else run.state,
        end.reason if end else None, _json(unit, run.id, end.result) if end and end.result is not None else None,
        "{}" if change.vars is None else _encode(change.vars).decode(), run.started, run.deadline, now if end else None,
    )  # fmt: skip
    _details(unit, run, change)


def advance(unit: Unit, run: RunState, change: Change, *, state: str, deadline: int, now: int) -> None:
    """Write a change of a run, unless another was faster."""
    end = change.end
    vars = run.vars if change.vars is None else change.vars
    unit.do(
        _ADVANCE, end.state if end else state, end.reason if end else None,
        _json(unit, run.id, end.result) if end and end.result is not None else None,
        _encode(vars).decode() if vars else "{}", deadline, now if end else None, run.id, run.seq,
        expect=1,
    )  # fmt: skip
    _details(unit, run, change)


def touch(unit: Unit, run_id: str, state: str) -> None:
    """Set the state of a run that goes on."""
    unit.do("update run set state = ? where id = ? and ended is null", state, run_id)


def push_back(unit: Unit, run_id: str, ms: int) -> None:
    """Move the end of a run's timeout, since it could not go on for so long."""
    unit.do("update run set deadline = deadline + ? where id = ? and ended is null", ms, run_id)


def write_step(unit: Unit, run_id: str, row: StepRow) -> None:
    """Add one attempt to the journal."""
    unit.do(
        _STEP, run_id, row.path, row.attempt, row.kind, row.state, _json(unit, run_id, row.input),
        _json(unit, run_id, row.output), None if row.error is None else _encode(row.error).decode(), row.note,
        row.started, row.ended,
    )  # fmt: skip


def _details(unit: Unit, run: RunState, change: Change) -> None:
    for row in change.steps:
        write_step(unit, run.id, row)
    if change.end is not None:
        if run.scopes:
            unit.do("delete from scope where run = ?", run.id)
        if run.layers:
            unit.do("delete from layer where run = ?", run.id)
        return
    for path, scope in change.scopes.items():
        _write_scope(unit, run, path, scope)
    for path, layer in change.layers.items():
        if layer is not None:
            unit.do(_LAYER, run.id, path, _encode(layer).decode())
        elif path in run.layers:
            unit.do("delete from layer where run = ? and path = ?", run.id, path)


def _write_scope(unit: Unit, run: RunState, path: str, scope: Scope | None) -> None:
    before = run.scopes.get(path)
    if scope is None:
        if before is not None:
            unit.do("delete from scope where run = ? and path = ?", run.id, path)
    elif before is not None and before.items is scope.items and before.kind == scope.kind:
        unit.do("update scope set next = ?, got = ? where run = ? and path = ?", scope.next, scope.got, run.id, path)
    else:
        items = None if scope.items is None else _encode(scope.items).decode()
        error = None if scope.error is None else _encode(scope.error).decode()
        unit.do(
            _SCOPE, run.id, path, scope.kind, scope.need, scope.next, scope.got, items, error, scope.started,
        )  # fmt: skip


def _json(unit: Unit, owner: str, value: Any) -> str | None:
    return None if value is None else pack(unit, owner, _encode(value))


def apply(run: RunState, change: Change) -> None:
    """Take a change that is on disk into the state in memory."""
    run.seq += 1
    run.results.update(change.results)
    if change.vars is not None:
        run.vars = change.vars
    for path, scope in change.scopes.items():
        if scope is None:
            run.scopes.pop(path, None)
        else:
            run.scopes[path] = scope
    for path, layer in change.layers.items():
        if layer is None:
            run.layers.pop(path, None)
        else:
            run.layers[path] = layer


async def row(backend: Backend, run_id: str) -> Row | None:
    """Return the row of a run with its event's payload, or None."""
    return await one(backend, _SELECT, run_id)


async def trigger(backend: Backend, row: Row) -> Any:
    """Return what a run was started with."""
    column = row["trigger"] or row["payload"] or "{}"
    return _decode(await unpack(backend, column))


async def value(backend: Backend, column: str | None) -> Any:
    """Return the value of a JSON column, which may lie in a blob."""
    return None if column is None else _decode(await unpack(backend, column))


async def restore(backend: Backend, row: Row, run: RunState) -> RunState:
    """Fill a run's state from its rows."""
    run.seq, run.state = row["seq"], row["state"]
    run.deadline = row["deadline"] or run.deadline
    run.vars = _decode(row["vars"])
    for step in await steps(backend, run.id):
        if step.state == "done" and step.kind in _WITH_RESULT:
            run.results[step.path] = step.output
    for found in await backend.read("select * from scope where run = ?", run.id):
        run.scopes[found["path"]] = Scope(
            found["kind"], found["started"], found["need"], found["next"], found["got"],
            None if found["items"] is None else _decode(found["items"]),
            None if found["error"] is None else _decode(found["error"]),
        )  # fmt: skip
    for found in await backend.read("select path, vars from layer where run = ?", run.id):
        run.layers[found["path"]] = _decode(found["vars"])
    run.jobs = {job.id: job for job in await queue.of_run(backend, run.id)}
    return run


async def steps(backend: Backend, run_id: str) -> list[StepRow]:
    """Return every attempt of a run's steps, in the order of their start."""
    rows = await backend.read("select * from step where run = ? order by started, ended, path, attempt", run_id)
    return [
        StepRow(
            found["path"], found["kind"], found["state"], found["started"], found["ended"], found["attempt"],
            await value(backend, found["input"]), await value(backend, found["output"]),
            None if found["error"] is None else _decode(found["error"]), found["note"],
        )
        for found in rows
    ]  # fmt: skip


async def prune(backend: Backend, before_ms: int, limit: int = 500) -> int:
    """Delete runs that ended before a time, oldest first, with all that belongs to them; return how many."""
    rows = await backend.read(_PRUNED, before_ms, limit)
    unit = Unit()
    for (run_id,) in rows:
        for statement in (
            "delete from step where run = ?", "delete from scope where run = ?", "delete from layer where run = ?",
            "delete from blob where owner = ?", "delete from run where id = ?",
        ):  # fmt: skip
            unit.do(statement, run_id)
    if rows:
        await backend.commit(unit)
    return len(rows)
