"""The rows of `job`: one live position in a run each. State is the truth here; the hot queue only points at it.

waiting ──due or woken──▶ ready ──begin──▶ (under way: `begun`) ──settle──▶ deleted, successors inserted
                            ▲                    │
                            └──────── park ◀─────┘   retry, wait, held, uncertain
"""

from __future__ import annotations

from typing import Any

import msgspec

from areabox.clock import Clock
from areabox.database import Backend, Lane, Pointer, Row, Unit

BATCH = 500
CRASHES_MAX = 3  # ends of the process during an attempt, in a row, after which a job is set aside


class Job(msgspec.Struct, frozen=True):
    """One live position in a run. `input` is what woke it, or what it remembers while it waits."""

    id: str
    run: str
    owner: str
    area: str
    node: str
    path: str
    kind: str
    state: str
    since: int
    lane: int = Lane.RUN
    due: int | None = None
    wait_key: str | None = None
    attempt: int = 0
    crashes: int = 0
    fence: int = 0
    begun: int | None = None
    input: Any = None

    @property
    def pointer(self) -> Pointer:
        """Return what the hot queue keeps of it."""
        return Pointer(self.id, self.owner, self.lane)


_COLUMNS = (
    "id, run, owner, area, node, path, kind, state, since, lane, due, wait_key, attempt, crashes, fence, begun, input"
)
_INSERT = """
insert into job (id, run, owner, area, node, path, kind, state, since, lane, due, wait_key, input)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_BEGIN = f"""
update job set attempt = attempt + 1, fence = fence + 1, begun = ?
 where id = ? and state = 'ready'
returning {_COLUMNS}
"""  # noqa: S608 -- the columns are a constant
_BEGIN_KNOWN = """
update job set attempt = attempt + 1, fence = fence + 1, begun = ? where id = ? and fence = ? and state = 'ready'
"""
_PARK = """
update job set state = 'waiting', due = ?, wait_key = ?, input = ?, since = ?, begun = null, attempt = ?, lane = ?,
       crashes = 0
 where id = ? and fence = ?
"""
_decode = msgspec.json.decode
_encode = msgspec.json.encode


def of_row(row: Row) -> Job:
    """Return a row of `job` as a value."""
    (
        id, run, owner, area, node, path, kind, state, since, lane, due, wait_key, attempt, crashes, fence, begun, input
    ) = row  # fmt: skip
    return Job(
        id, run, owner, area, node, path, kind, state, since, lane, due, wait_key, attempt, crashes, fence, begun,
        None if input is None else _decode(input),
    )  # fmt: skip


def insert(unit: Unit, job: Job) -> None:
    """Add a job; one that is ready is offered to the workers after the commit, and they hear of one that waits."""
    input = None if job.input is None else _encode(job.input).decode()
    unit.do(
        _INSERT, job.id, job.run, job.owner, job.area, job.node, job.path, job.kind, job.state, job.since, job.lane,
        job.due, job.wait_key, input,
    )  # fmt: skip
    if job.state == "ready":
        unit.push(job.pointer)
    elif job.due is not None:
        unit.publish("due", at=job.due)


async def begin(backend: Backend, clock: Clock, job_id: str, known: Job | None = None) -> Job | None:
    """Record the intent to try, before the outside is touched; None if the job is not ready any more.

    A job that is `known` as it was inserted need not be read back.
    """
    now = clock.now_ms()
    if known is not None and await backend.commit(Unit().do(_BEGIN_KNOWN, now, job_id, known.fence, expect=1)):
        return msgspec.structs.replace(known, attempt=known.attempt + 1, fence=known.fence + 1, begun=now)
    rows = await backend.write(_BEGIN, now, job_id)
    return of_row(rows[0]) if rows else None


def settle(unit: Unit, job: Job) -> None:
    """Take the job out, unless another attempt or a cancellation was faster."""
    unit.do("delete from job where id = ? and fence = ?", job.id, job.fence, expect=1)


def park(
    unit: Unit, job: Job, *, now: int, due: int | None, wait_key: str | None, input: Any = None, attempt: int
) -> Job:
    """Let the job wait until `due` or until `wait_key` is woken, unless another was faster."""
    text = None if input is None else _encode(input).decode()
    unit.do(_PARK, due, wait_key, text, now, attempt, job.lane, job.id, job.fence, expect=1)
    if due is not None:
        unit.publish("due", at=due)
    return msgspec.structs.replace(
        job, state="waiting", due=due, wait_key=wait_key, input=input, since=now, begun=None, attempt=attempt, crashes=0
    )


def wake(unit: Unit, job: Job, input: Any = None) -> None:
    """Make a waiting job ready, unless another was faster; a given `input` replaces what it remembered."""
    text = None if input is None else _encode(input).decode()
    unit.do(
        "update job set state = 'ready', input = coalesce(?, input) where id = ? and state = 'waiting'",
        text, job.id, expect=1,
    )  # fmt: skip
    unit.push(job.pointer)


def release(unit: Unit, job: Job) -> None:
    """Give an attempt back that was ended by a restart: ready again, as if it had not begun."""
    unit.do(
        "update job set begun = null, attempt = max(attempt - 1, 0) where id = ? and fence = ?",
        job.id, job.fence, expect=1,
    )  # fmt: skip


def crashed(unit: Unit, job: Job) -> None:
    """Count an attempt that the process did not survive, and let it be tried again, as one of the `suspects`."""
    unit.do(
        "update job set begun = null, crashes = crashes + 1 where id = ? and fence = ?", job.id, job.fence, expect=1
    )


def cancel(unit: Unit, run: str, prefix: str = "") -> None:
    """Take out all jobs of a run, or those whose path begins with `prefix`."""
    if not prefix:
        unit.do("delete from job where run = ?", run)
    else:
        unit.do("delete from job where run = ? and substr(path, 1, ?) = ?", run, len(prefix), prefix)


async def of_run(backend: Backend, run: str) -> list[Job]:
    """Return the live jobs of a run."""
    return await _select(backend, "where run = ? order by id", run)


async def get(backend: Backend, job_id: str) -> Job | None:
    """Return a job, or None if it is gone."""
    jobs = await _select(backend, "where id = ?", job_id)
    return jobs[0] if jobs else None


async def due(backend: Backend, now: int, limit: int = BATCH) -> list[Job]:
    """Return waiting jobs whose time has come, the longest overdue first."""
    return await _select(backend, "where state = 'waiting' and due <= ? order by due, id limit ?", now, limit)


async def next_due(backend: Backend) -> int | None:
    """Return when the next waiting job is due."""
    rows = await backend.read("select min(due) from job where state = 'waiting' and due is not null")
    return rows[0][0] if rows else None


async def waiting_on(backend: Backend, wait_key: str) -> list[Job]:
    """Return the jobs that wait for a key, oldest first."""
    return await _select(backend, "where state = 'waiting' and wait_key = ? order by id", wait_key)


async def keyed(backend: Backend) -> list[Job]:
    """Return every job that waits for a key."""
    return await _select(backend, "where state = 'waiting' and wait_key is not null order by id")


async def begun(backend: Backend) -> list[Job]:
    """Return the jobs that were under way: after a start, those that the last process did not finish."""
    return await _select(backend, "where begun is not null order by id")


async def refill(backend: Backend, owner: str, lane: int, limit: int) -> list[Pointer]:
    """Return ready jobs of an owner, oldest first, for the hot queue."""
    rows = await backend.read(
        """
        select id, owner, lane from job
         where state = 'ready' and owner = ? and lane = ? and begun is null and crashes = 0 order by id limit ?
        """,
        owner, lane, limit,
    )  # fmt: skip
    return [Pointer(*row) for row in rows]


async def ready(backend: Backend, limit: int = 20_000) -> list[Pointer]:
    """Return what may run now, for the hot queue after a start."""
    rows = await backend.read(
        """
        select id, owner, lane from job
         where state = 'ready' and begun is null and crashes = 0 order by lane, id limit ?
        """,
        limit,
    )
    return [Pointer(*row) for row in rows]


async def suspects(backend: Backend) -> list[tuple[str, int]]:
    """Return the jobs that the process did not survive, and how often: the worst first, and of those the newest.

    One of them may be what ends it, and then it is likely among those that began last.
    """
    rows = await backend.read(
        """
        select id, crashes from job
         where state = 'ready' and begun is null and crashes > 0 order by crashes desc, id desc
        """
    )
    return [(row[0], row[1]) for row in rows]


async def _select(backend: Backend, where: str, *args: Any) -> list[Job]:
    rows = await backend.read(f"select {_COLUMNS} from job {where}", *args)  # noqa: S608 -- constants of this file
    return [of_row(row) for row in rows]
