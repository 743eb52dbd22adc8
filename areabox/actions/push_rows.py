"""What areabox knows of a service that delivers: its value, and the statements that read and change its row."""

from __future__ import annotations

from typing import Any

import msgspec

from areabox.database import Row, Unit

ERROR_LENGTH_MAX = 500

ALL = "select * from push order by subscription"

_INSERT = """
insert into push (subscription, owner, action, connection, hook, url, sealed, due) values (?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = """
update push set sealed = ?, made = ?, due = ?, heard = ?, caught_up = ?, suspect = ?, remade = ?, fails = ?, error = ?
where subscription = ?
"""
_DELETE = "delete from push where subscription = ?"


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """One service that delivers, or is about to, for one polled subscription."""

    subscription: str
    owner: str
    action: str
    connection: str | None
    hook: str  # the secret end of its address
    url: str
    sealed: bytes  # a `Deal`, encrypted
    made: int | None = None
    due: int
    heard: int | None = None
    caught_up: bool = False
    suspect: int | None = None
    remade: int = 0
    fails: int = 0
    error: str | None = None


class Deal(msgspec.Struct, frozen=True):
    """What was agreed upon with the service: by which secret it signs, for what, and what ends it again."""

    secret: str
    params: dict[str, Any]
    state: Any = None


def read(row: Row) -> Push:
    """Return the value of a row."""
    values = {name: row[name] for name in Push.__struct_fields__}
    return Push(**values | {"caught_up": bool(row["caught_up"])})


def insert(unit: Unit, push: Push) -> None:
    """Add a new one, before its service is asked."""
    unit.do(
        _INSERT, push.subscription, push.owner, push.action, push.connection, push.hook, push.url, push.sealed,
        push.due, expect=1,
    )  # fmt: skip


def update(unit: Unit, push: Push) -> None:
    """Write down what one has become."""
    unit.do(
        _UPDATE, push.sealed, push.made, push.due, push.heard, int(push.caught_up), push.suspect, push.remade,
        push.fails, push.error[:ERROR_LENGTH_MAX] if push.error else None, push.subscription, expect=1,
    )  # fmt: skip


def delete(unit: Unit, push: Push) -> None:
    """Forget one whose service delivers no more."""
    unit.do(_DELETE, push.subscription)
