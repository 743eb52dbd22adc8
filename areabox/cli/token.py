"""`areabox token …`: keys for scripts and other programs."""

from __future__ import annotations

import click

from areabox.cli import output
from areabox.cli.call import Call, paging, query, remote, yes_option
from areabox.cli.client import Api


@click.group()
def token() -> None:
    """Add, list and remove API tokens."""


@token.command()
@click.argument("name")
@click.option("--user", metavar="EMAIL", required=True, help="Whose token it is.")
@click.option("--scopes", default="all", help="all, or some of them such as areas:read,runs:read.")
@click.option("--expires", metavar="90d", help="After which time it ends; default never.")
@remote
async def add(call: Call, api: Api, name: str, user: str, scopes: str, expires: str | None) -> None:
    """Add a token and print it; it is shown only once."""
    names = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    body = {"name": name, "user": user, "scopes": names} | query(expires=expires)
    answer = await api.post("tokens", body=body)
    if call.json:
        output.print_json(answer)
    else:
        click.echo(answer["token"])


@token.command("list")
@click.option("--user", metavar="EMAIL", help="Only of this account.")
@paging
@remote
async def list_(call: Call, api: Api, user: str | None, limit: int | None, after: str | None) -> None:
    """List tokens, without the tokens themselves."""
    call.show(
        await api.get("tokens", **query(user=user, limit=limit, after=after)),
        output.column("token", "id"),
        output.column("name"),
        output.column("user"),
        output.Column("SCOPES", lambda row: ",".join(row.get("scopes", []))),
        output.when("created"),
        output.when("expires"),
        output.when("used"),
    )


@token.command()
@click.argument("ids", metavar="ID…", nargs=-1, required=True)
@yes_option
@remote
async def rm(call: Call, api: Api, ids: tuple[str, ...], *, yes: bool) -> None:
    """Remove tokens; whoever uses them is refused at once."""
    call.confirm(f"Remove {', '.join(ids)}?", yes=yes)
    for id_ in ids:
        await api.send("DELETE", "tokens", id_)
    call.done([{"id": id_, "change": "removed"} for id_ in ids], f"{', '.join(ids)} removed")
