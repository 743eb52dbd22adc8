"""What a subscription is, as it is stored: its value, and the statements that read and change its row.

Every change bumps `version` and is guarded by it: whoever read an older state is refused and reads again.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

from areabox.database import Row, Statement, Unit

Kind = Literal["poll", "stream", "schedule", "hook", "internal"]
Missed = Literal["skip", "latest", "each"]
Role = Literal["trigger", "wait"]

ERROR_LENGTH_MAX = 500

BY_ID = "select s.* from subscription s where s.id = ?"
BY_IDENTITY = "select s.* from subscription s where s.identity = ?"
BY_HOOK = "select s.* from subscription s where s.hook = ?"
ACTIVE = "select s.* from subscription s where s.active = 1 and s.kind = ? order by s.id"
OF_CONNECTION = "select s.* from subscription s where s.connection = ? and s.active = 1 order by s.id"
OF_AREA = """
select s.*, x.place, x.role from area_subscription x join subscription s on s.id = x.subscription
where x.area = ? order by x.role, x.place
"""
INTERNAL = "select s.* from subscription s where s.active = 1 and s.kind = 'internal' and s.action = ? order by s.id"
DUE = "select id, next, every_ms, baseline from subscription where active = 1 and kind = ? order by next, id"
VERSIONS = "select id, version from subscription where active = 1 and kind = ?"

# Who keeps it on: enabled areas that listen, and runs that wait (together, as the empty id).
LISTENERS = """
select x.area from area_subscription x join area a on a.id = x.area where x.subscription = ? and a.enabled = 1
union
select '' from job where wait_key = ? and state = 'waiting'
"""
IDLE = """
select s.* from subscription s where s.active = 1
and not exists (select 1 from area_subscription x join area a on a.id = x.area
                where x.subscription = s.id and a.enabled = 1)
and not exists (select 1 from job j where j.wait_key = 'sub:' || s.id and j.state = 'waiting')
limit ?
"""

UNLINK = "delete from area_subscription where area = ?"
LINK = "insert into area_subscription (area, place, role, subscription) values (?, ?, ?, ?)"
TOUCH = "update subscription set last = ? where id = ? and (last is null or last < ?)"

_INSERT = """
insert into subscription (id, owner, identity, action, params, connection, kind, every_ms, missed, hook, secret, cursor,
                          baseline, active, next, last, fails, error, version, created)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (identity) do nothing
"""
_UPDATE = """
update subscription set identity = ?, params = ?, connection = ?, every_ms = ?, missed = ?, secret = ?, cursor = ?,
       baseline = ?, active = ?, next = ?, last = ?, fails = ?, error = ?, version = version + 1
where id = ? and version = ?
"""
_FIRED = """
update subscription set next = ?, last = ?, fails = 0, error = null, version = version + 1
where id = ? and version = ? and active = 1
"""


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One source: an action with its parameters and connection, and how far it got."""

    id: str
    owner: str
    identity: str
    action: str
    params: dict[str, Any]
    connection: str | None = None
    kind: Kind
    every_ms: int | None = None
    missed: Missed = "latest"
    hook: str | None = None  # the secret end of its address
    secret: bytes | None = None  # its secret parameters, encrypted
    cursor: dict[str, Any] = {}
    baseline: bool = True
    active: bool = False
    next: int | None = None
    last: int | None = None
    fails: int = 0
    error: str | None = None
    version: int = 1
    created: int
    place: str = ""  # where the area names it; only as part of an area
    role: Role = "trigger"


def read(row: Row) -> Subscription:
    """Return the value of a row."""
    return Subscription(
        id=row["id"],
        owner=row["owner"],
        identity=row["identity"],
        action=row["action"],
        params=msgspec.json.decode(row["params"]),
        connection=row["connection"],
        kind=row["kind"],
        every_ms=row["every_ms"],
        missed=row["missed"],
        hook=row["hook"],
        secret=row["secret"],
        cursor=msgspec.json.decode(row["cursor"]),
        baseline=bool(row["baseline"]),
        active=bool(row["active"]),
        next=row["next"],
        last=row["last"],
        fails=row["fails"],
        error=row["error"],
        version=row["version"],
        created=row["created"],
    )


def read_placed(row: Row) -> Subscription:
    """Return the value of a row that was read as part of an area."""
    return msgspec.structs.replace(read(row), place=row["place"], role=row["role"])


class _Written(tuple[Any, ...]):  # noqa: SLOT001 -- a tuple's length varies, so it cannot have slots
    """Arguments of a statement that remember what the row will be after it."""

    sub: Subscription


def insert(unit: Unit, sub: Subscription) -> None:
    """Add a new one; another with the same identity gives the Unit up."""
    _write(
        unit,
        sub,
        _INSERT,
        sub.id,
        sub.owner,
        sub.identity,
        sub.action,
        _json(sub.params),
        sub.connection,
        sub.kind,
        sub.every_ms,
        sub.missed,
        sub.hook,
        sub.secret,
        _json(sub.cursor),
        int(sub.baseline),
        int(sub.active),
        sub.next,
        sub.last,
        sub.fails,
        sub.error,
        sub.version,
        sub.created,
    )
    _tell(unit, sub)


def update(unit: Unit, before: Subscription, **changes: Any) -> Subscription:
    """Change fields of one as it was read, and return it as it will be."""
    sub = msgspec.structs.replace(before, **changes, version=before.version + 1)
    _write(
        unit,
        sub,
        _UPDATE,
        sub.identity,
        _json(sub.params),
        sub.connection,
        sub.every_ms,
        sub.missed,
        sub.secret,
        _json(sub.cursor),
        int(sub.baseline),
        int(sub.active),
        sub.next,
        sub.last,
        sub.fails,
        sub.error[:ERROR_LENGTH_MAX] if sub.error else None,
        sub.id,
        before.version,
    )
    if (sub.active, sub.params, sub.every_ms) != (before.active, before.params, before.every_ms):
        _tell(unit, sub)
    return sub


class Draft:
    """What a Unit says already of subscriptions and areas, which the database does not know yet."""

    def __init__(self, unit: Unit) -> None:
        self.subs: dict[str, Subscription] = {}
        self.by_identity: dict[str, str] = {}
        self.unlinked: set[str] = set()  # areas whose old links are gone
        self.links: dict[str, set[str]] = {}  # subscription → areas that were linked to it
        for sql, args, _ in unit.statements:
            if isinstance(args, _Written):
                self.subs[args.sub.id] = args.sub
                self.by_identity[args.sub.identity] = args.sub.id
            elif sql is UNLINK:
                self.unlinked.add(args[0])
            elif sql is LINK:
                self.links.setdefault(args[3], set()).add(args[0])

    def latest(self, sub: Subscription) -> Subscription:
        """Return one as it will be, at the place where it was read."""
        after = self.subs.get(sub.id)
        return sub if after is None else msgspec.structs.replace(after, place=sub.place, role=sub.role)


def fired(unit: Unit, before: Subscription, next: int | None, last: int | None) -> Subscription:
    """Note that a schedule fired, and return it as it will be."""
    unit.do(_FIRED, next, last, before.id, before.version, expect=1)
    return msgspec.structs.replace(before, next=next, last=last, fails=0, error=None, version=before.version + 1)


def identity(owner: str, action: str, params: dict[str, Any], connection: str | None, of: tuple[str, ...] = ()) -> str:
    """Return what two areas have in common if they ask for the same; `of` makes it one trigger's alone."""
    alone = [owner, action, *of] if of else [owner, action, params, connection]
    return hashlib.blake2b(msgspec.json.encode(alone, order="deterministic"), digest_size=16).hexdigest()


def _write(unit: Unit, sub: Subscription, sql: str, *args: Any) -> None:
    written = _Written(args)
    written.sub = sub
    unit.statements.append(Statement(sql, written, 1))


def _json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


def _tell(unit: Unit, sub: Subscription) -> None:
    unit.publish("subscription", id=sub.id, kind=sub.kind)
