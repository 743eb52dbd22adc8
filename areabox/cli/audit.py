"""`areabox audit …`: who changed what, and whether anybody changed the log since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from areabox.cli import output
from areabox.cli.call import ATTENTION, Call, StoppedError, paging, query, remote
from areabox.cli.client import Api


@click.group()
def audit() -> None:
    """List, check and export the audit log."""


def _filter(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which entries."""
    for name, help_text in (
        ("until", "Before this time, or how long ago: 1d."),
        ("since", "From this time on, or of so long: 7d."),
        ("q", "With this text anywhere."),
        ("object", "Of this thing."),
        ("verb", "Of this kind: area, or area.create."),
        ("address", "From this address."),
        ("actor", "By this account."),
    ):
        command = click.option(f"--{name}", metavar=name.upper(), help=help_text)(command)
    return command


@audit.command("list")
@_filter
@paging
@remote
async def list_(call: Call, api: Api, **wanted: Any) -> None:
    """List entries, newest first."""
    call.show(
        await api.get("audit", **query(**wanted)),
        output.when("at"),
        output.column("actor"),
        output.column("address"),
        output.column("verb"),
        output.column("object"),
        output.column("detail"),
    )


@audit.command()
@click.option("--head", metavar="HEAD", help="What an earlier check said, which must still stand in the log.")
@remote
async def verify(call: Call, api: Api, head: str | None) -> None:
    """Check that every entry follows from the one before.

    Prints the head, `number:hash` of the last entry. Keep it elsewhere: with --head the next check also notices if the
    end of the log was cut off. Ends with 3 if the log was changed, and names the first entry that does not follow.
    """
    found = await api.get("audit", "check", **query(head=head))
    if call.json:
        output.print_json(found)
    elif found["ok"]:
        call.say(f"the audit log is whole: {found['entries']} entries")
        click.echo(found["head"])
    if not found["ok"]:
        sentence = f"areabox: the audit log was changed: {found['because']} (id {found['broken']})"
        raise StoppedError(ATTENTION, "" if call.json else sentence)


@audit.command()
@_filter
@remote
async def export(call: Call, api: Api, **wanted: Any) -> None:
    """Print entries as JSON lines, newest first; with --json as one list."""
    entries = [entry async for entry in api.all("audit", limit=200, **query(**wanted))] if call.json else None
    if entries is not None:
        output.print_json(entries)
        return
    async for line in api.lines("audit", "export", **query(**wanted)):
        click.echo(line)
