"""`areabox user …`: accounts and what they may do."""

from __future__ import annotations

import click

from areabox.cli import output
from areabox.cli.call import Call, paging, query, read_secret, remote
from areabox.cli.client import Api

ROLES = click.Choice(["owner", "admin", "editor", "viewer"])
_password_option = click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")


@click.group()
def user() -> None:
    """Add, list and change accounts."""


@user.command()
@click.argument("email")
@click.option("--role", type=ROLES, required=True, help="What the account may do.")
@_password_option
@remote
async def add(call: Call, api: Api, email: str, role: str, *, password_stdin: bool) -> None:
    """Add an account. The first one, an owner, replaces the setup in the browser."""
    password = read_secret("Password", stdin=password_stdin, twice=True)
    answer = await api.post("users", body={"email": email, "role": role, "password": password})
    call.done(answer, f"{email} may sign in as {role}")


@user.command("list")
@paging
@remote
async def list_(call: Call, api: Api, limit: int | None, after: str | None) -> None:
    """List accounts."""
    call.show(
        await api.get("users", **query(limit=limit, after=after)),
        output.column("email"),
        output.column("role"),
        output.column("disabled"),
        output.when("created"),
        output.when("seen"),
    )


@user.command()
@click.argument("email")
@click.argument("role", type=ROLES)
@remote
async def role(call: Call, api: Api, email: str, role: str) -> None:
    """Change what an account may do; it must sign in again."""
    call.done(await api.send("PATCH", "users", email, body={"role": role}), f"{email} is {role}")


@user.command()
@click.argument("email")
@_password_option
@remote
async def passwd(call: Call, api: Api, email: str, *, password_stdin: bool) -> None:
    """Set an account's password; its sessions end."""
    password = read_secret("New password", stdin=password_stdin, twice=True)
    call.done(await api.send("PATCH", "users", email, body={"password": password}), f"{email} has a new password")


@user.command()
@click.argument("email")
@click.option("--undo", is_flag=True, help="Let it in again.")
@remote
async def disable(call: Call, api: Api, email: str, *, undo: bool) -> None:
    """Keep an account out; its areas go on."""
    answer = await api.send("PATCH", "users", email, body={"disabled": not undo})
    call.done(answer, f"{email} may {'sign in again' if undo else 'not sign in any more'}")


@user.command("reset-2fa")
@click.argument("email")
@remote
async def reset_2fa(call: Call, api: Api, email: str) -> None:
    """Remove an account's second factors, for somebody who lost them."""
    call.done(await api.post("users", email, "reset-2fa"), f"{email} signs in with the password alone")
