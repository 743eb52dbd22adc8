"""`areabox db …`: the database file itself."""

from __future__ import annotations

import asyncio

import click

from areabox.cli import output
from areabox.cli.call import ATTENTION, Call, StoppedError, here
from areabox.errors import NotFoundError

_SETTLED_S = 60.0  # housekeeping comes back sooner while there is more to delete


@click.group()
def db() -> None:
    """Migrate, inspect and prune the database."""


@db.command()
@here
def status(call: Call) -> None:
    """Show the database's size, schema and rows."""
    from areabox.deployment import check

    path = call.settings.database_path
    if not path.exists():
        raise NotFoundError(f"there is no database {path}")
    answer = check.database_status(path)
    if call.json:
        output.print_json(answer)
    else:
        call.fields(answer, "path", "bytes", "applied", "pending")
        output.print_fields((f"  {name}", count) for name, count in answer["rows"].items())
    if answer["pending"]:
        raise StoppedError(ATTENTION, "migrations are to come; the next start, or areabox db migrate, runs them")


@db.command()
@here
def migrate(call: Call) -> None:
    """Bring the database to the schema of this version.

    A copy is put aside before. No daemon may run on it.
    """
    from areabox.deployment import check

    before = check.pending(call.settings.database_path)
    asyncio.run(_opened(call))
    call.done({"applied": before}, f"{len(before)} migrations run" if before else "nothing to do")


@db.command()
@here
def prune(call: Call) -> None:
    """Delete what is too old or too much, now.

    That is what retention_age, retention_runs, retention_size and audit_age say. No daemon may run on the database: it
    does the same by itself every hour.
    """
    asyncio.run(_opened(call, prune=True))
    call.done({"pruned": True}, "done")


async def _opened(call: Call, *, prune: bool = False) -> None:
    """Open the data directory, which migrates it."""
    from areabox.app import open_app

    async with open_app(call.settings, role="cli") as app:
        while prune and await app.housekeeping.tick() < _SETTLED_S:
            pass

