"""Who may do what? Roles and scopes over permission names; pure.

A permission is `noun:verb`. A role is the most that an account may do; the scopes of a token narrow it further. What a
person may see is decided elsewhere, in the queries: everything belongs to an `owner`, and other people's things are not
there for anybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from areabox.errors import InputError, NotAllowedError, Problem

ROLES: Final = ("owner", "admin", "editor", "viewer")
PUBLIC: Final = "public"  # of a route that needs nobody's name

_OWN: Final = frozenset({"me:read", "me:write", "tokens:read", "tokens:write", "notices:read", "notices:write"})
_SEE: Final = frozenset({"areas:read", "runs:read", "events:read", "services:read", "connections:read"})
_EDIT: Final = frozenset({"areas:write", "runs:write", "events:send", "connections:write"})
_ADMIN: Final = frozenset({"users:read", "users:write", "audit:read", "system:read", "system:write"})

BY_ROLE: Final[dict[str, frozenset[str]]] = {
    "viewer": _OWN | _SEE,
    "editor": _OWN | _SEE | _EDIT,
    "admin": _OWN | _SEE | _EDIT | _ADMIN,
    "owner": _OWN | _SEE | _EDIT | _ADMIN | {"owners:write"},
}
PERMISSIONS: Final = BY_ROLE["owner"]

# What each scope of a token grants, as far as the account's role allows it.
SCOPES: Final[dict[str, frozenset[str]]] = {
    "all": PERMISSIONS,
    "areas:read": frozenset({"areas:read"}),
    "areas:write": frozenset({"areas:read", "areas:write"}),
    "runs:read": frozenset({"runs:read", "events:read"}),
    "runs:write": frozenset({"runs:read", "runs:write", "events:read"}),
    "events:send": frozenset({"events:send"}),
    "connections:read": frozenset({"connections:read"}),
    "connections:write": frozenset({"connections:read", "connections:write"}),
    "notices:read": frozenset({"notices:read"}),
    "notices:write": frozenset({"notices:read", "notices:write"}),
    "system:read": frozenset({"system:read"}),
    "admin": _ADMIN,
}
_ALWAYS: Final = frozenset({"me:read", "services:read"})
_SETUP: Final = _ADMIN | {"owners:write"}
ALL: Final = frozenset({"all"})


class Actor(msgspec.Struct, frozen=True):
    """Who asks: an account, and what of its rights this session or token carries.

    `behalf` is the account whose one thing, shared with this one, it works on.
    """

    account_id: str
    email: str
    role: str
    scopes: frozenset[str] = ALL
    behalf: str = ""

    @property
    def owner(self) -> str:
        """Return whose things this actor sees and makes: its own, or those of whom it acts for."""
        return self.behalf or self.account_id

    @property
    def permissions(self) -> frozenset[str]:
        """Return everything that this actor may do."""
        if self is SETUP:
            return _ALWAYS | _SETUP
        granted = _ALWAYS.union(*(SCOPES.get(scope, frozenset()) for scope in self.scopes))
        return granted & BY_ROLE.get(self.role, frozenset())

    def allows(self, permission: str) -> bool:
        """Return whether this actor may do what `permission` names."""
        return permission in self.permissions

    def require(self, permission: str) -> None:
        """Raise NotAllowedError unless this actor may do what `permission` names."""
        if self.allows(permission):
            return
        if permission in BY_ROLE.get(self.role, frozenset()):
            raise NotAllowedError(f"{permission} is not allowed: it is not among the scopes of this token")
        raise NotAllowedError(f"{permission} is not allowed for {self.email}, whose role is {self.role}")


SETUP: Final = Actor("", "the machine's owner", "owner", frozenset())
"""Whoever may open the data directory before there is any account: may make the first one."""


def check_role(role: str) -> str:
    """Return the role; raises InputError for an unknown one."""
    if role not in ROLES:
        raise InputError(f"there is no role {role}", [Problem("/role", f"must be one of {', '.join(ROLES)}")])
    return role


def check_scopes(scopes: Iterable[str]) -> list[str]:
    """Return the scopes once each, sorted; raises InputError for unknown ones and for none."""
    asked = sorted(set(scopes))
    known = ", ".join(SCOPES)
    problems = [
        Problem(f"/scopes/{index}", f"there is no scope {scope}; there are {known}")
        for index, scope in enumerate(asked)
        if scope not in SCOPES
    ]
    if not asked:
        problems = [Problem("/scopes", f"name at least one of {known}")]
    if problems:
        raise InputError(problems[0].detail, problems)
    return asked


def may_grant(actor: Actor, scopes: Iterable[str]) -> bool:
    """Return whether an actor may make a token of these scopes: never of more than it has itself."""
    asked: frozenset[str] = frozenset().union(*(SCOPES[scope] for scope in scopes))
    return actor.allows("tokens:write") and asked & BY_ROLE[actor.role] <= actor.permissions


def may_change(actor: Actor, *, role: str, to: str | None = None) -> bool:
    """Return whether an actor may change an account of `role`, or give it the role `to`.

    Admins manage everybody but owners, and make nobody an owner.
    """
    concerns_owner = "owner" in (role, to)
    return actor.allows("users:write") and (not concerns_owner or actor.allows("owners:write"))
