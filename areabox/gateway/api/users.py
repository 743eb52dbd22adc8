"""Users: accounts and their roles; an account is named by its id or its e-mail address."""

from __future__ import annotations

from typing import Any

import msgspec

from areabox.errors import ConflictError, InputError, NotAllowedError, Problem
from areabox.gateway.routes import Answer, Ask, Listing, Page, Route, delete, get, page, patch, post, rfc3339
from areabox.gateway.shapes import AccountView
from areabox.users.accounts import Account
from areabox.users.policy import may_change


class NewAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account; without a password nobody can log in to it. A `service` one is a program's."""

    email: str
    role: str
    password: str | None = None
    name: str = ""
    service: bool = False


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be another: what is not given stays."""

    email: str | None = None
    role: str | None = None
    password: str | None = None
    disabled: bool | None = None


async def list_(ask: Ask, query: Listing) -> Page[Any]:
    """List accounts, oldest first."""
    found = await ask.parts.accounts.list(limit=query.count, after=query.after)
    return page([view(account) for account in found], query)


async def create(ask: Ask, body: NewAccount) -> Answer:
    """Create an account."""
    _check(ask, body.role)
    if not await ask.parts.accounts.exist() and (body.role != "owner" or body.service):
        raise InputError("the first account must be an owner", [Problem("/role", "must be owner")])
    kind = "service" if body.service else "person"
    account = await ask.parts.accounts.create(body.email, body.password, body.role, name=body.name, kind=kind)
    await ask.parts.setup.issue()  # which closes the setup, now that there is an account
    headers = {"location": f"/api/v1/users/{account.id}"}
    return Answer(value=view(account), headers=headers, object=account.email)


async def show(ask: Ask, id: str) -> Answer:
    """Show an account."""
    return Answer(value=view(await ask.parts.accounts.get(id)))


async def change(ask: Ask, id: str, body: Change) -> Answer:
    """Change an account; a new password or role ends its sessions."""
    accounts = ask.parts.accounts
    account = await accounts.get(id)
    _check(ask, account.role, body.role)
    if body.email is not None:
        await accounts.set_email(account, body.email)
    if body.role is not None and body.role != account.role:
        await accounts.set_role(account, body.role)
    if body.password is not None:
        await accounts.set_password(account, body.password)
    if body.disabled is not None and body.disabled != account.disabled:
        await accounts.disable(account, disabled=body.disabled)
    return Answer(value=view(await accounts.get(account.id)), object=account.email)


async def remove(ask: Ask, id: str) -> Answer:
    """Remove an account that has no areas or connections any more."""
    account = await ask.parts.accounts.get(id)
    _check(ask, account.role)
    await ask.parts.accounts.delete(account)
    return Answer(object=account.email)


async def reset_2fa(ask: Ask, id: str) -> Answer:
    """Remove an account's second factors, and end its sessions."""
    account = await ask.parts.accounts.get(id)
    _check(ask, account.role)
    if not await ask.parts.people.factors.reset(account.id):
        raise ConflictError(f"{account.email} has no second factor")
    return Answer(value=view(account), object=account.email)


def _check(ask: Ask, *roles: str | None) -> None:
    if not all(may_change(ask.actor, role=role) for role in roles if role is not None):
        raise NotAllowedError("only an owner can change an owner, or make somebody one")


def view(account: Account) -> dict[str, Any]:
    """Return an account as the API shows it."""
    return {
        "id": account.id,
        "email": account.email,
        "name": account.name,
        "kind": account.kind,
        "role": account.role,
        "disabled": account.disabled,
        "created": rfc3339(account.created),
        "seen": rfc3339(account.seen),
    }


_ONE = "/api/v1/users/{id}"
ROUTES: tuple[Route, ...] = (
    get("/api/v1/users", list_, "users:read", answer=Page[AccountView]),
    post("/api/v1/users", create, "users:write", answer=AccountView, status=201, audit="user.create"),
    get(_ONE, show, "users:read", answer=AccountView),
    patch(_ONE, change, "users:write", answer=AccountView, audit="user.change"),
    delete(_ONE, remove, "users:write", audit="user.delete"),
    post(_ONE + "/reset-2fa", reset_2fa, "users:write", answer=AccountView, audit="user.reset_2fa"),
)
