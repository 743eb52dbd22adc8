"""`areabox connection …`: accounts at services. Secrets go in, and never come out."""

from __future__ import annotations

from typing import Any

import click

from areabox.cli import output
from areabox.cli.call import ATTENTION, Call, StoppedError, paging, query, read_secret, remote, yes_option
from areabox.cli.client import Api


@click.group()
def connection() -> None:
    """List, add, test and remove connections."""


@connection.command("list")
@paging
@remote
async def list_(call: Call, api: Api, limit: int | None, after: str | None) -> None:
    """List connections and how they do."""
    call.show(
        await api.get("connections", **query(limit=limit, after=after)),
        output.column("name"),
        output.column("service"),
        output.column("state"),
        output.column("account"),
        output.when("checked"),
        output.column("error"),
    )


@connection.command()
@click.argument("name")
@click.argument("service")
@click.option("--auth", help="Which of the service's ways in, if it has several.")
@click.option("--set", "pairs", metavar="FIELD=VALUE", multiple=True, help="A field that is no secret.")
@click.option("--secret", "secrets", metavar="FIELD", multiple=True, help="A secret field; it is asked for.")
@click.option("--secrets-stdin", is_flag=True, help="Read the secret fields from stdin, one line each, in their order.")
@remote
async def add(
    call: Call,
    api: Api,
    name: str,
    service: str,
    auth: str | None,
    pairs: tuple[str, ...],
    secrets: tuple[str, ...],
    *,
    secrets_stdin: bool,
) -> None:
    """Add a connection called NAME to SERVICE, and test it.

    areabox connection add home-ntfy ntfy --set url=https://ntfy.example.org --secret token
    """
    values: dict[str, Any] = dict(map(_pair, pairs))
    values |= {field: read_secret(field, stdin=secrets_stdin) for field in secrets}
    body = {"name": name, "service": service, "values": values} | query(auth=auth)
    answer = await api.post("connections", body=body)
    call.done(answer, f"{name}: {answer.get('state', 'added')}")
    _attention(answer)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--set wants FIELD=VALUE, not {text!r}")
    return name, value


def _attention(answer: dict[str, Any]) -> None:
    if answer.get("state") == "dead":
        raise StoppedError(ATTENTION, answer.get("error") or "")


@connection.command()
@click.argument("name")
@remote
async def test(call: Call, api: Api, name: str) -> None:
    """Try a connection."""
    answer = await api.post("connections", name, "test")
    call.done(answer, f"{name}: {answer.get('state', 'ok')} {answer.get('account') or ''}".rstrip())
    _attention(answer)


@connection.command()
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@yes_option
@remote
async def rm(call: Call, api: Api, names: tuple[str, ...], *, yes: bool) -> None:
    """Remove connections.

    Runs that need one are held until there is another.
    """
    call.confirm(f"Remove {', '.join(names)}?", yes=yes)
    for name in names:
        await api.send("DELETE", "connections", name)
    call.done([{"name": name, "change": "removed"} for name in names], f"{', '.join(names)} removed")
