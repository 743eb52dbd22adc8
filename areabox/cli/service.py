"""`areabox service …`: what this areabox can listen to and do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from areabox.cli import output
from areabox.cli.call import Call, StoppedError, here, remote
from areabox.cli.client import Api


@click.group()
def service() -> None:
    """List, show and check services."""


@service.command("list")
@remote
async def list_(call: Call, api: Api) -> None:
    """List services with their actions and reactions."""
    call.show(
        await api.get("services"),
        output.column("service", "id"),
        output.column("name"),
        output.Column("ACTIONS", lambda row: _ids(row, "actions")),
        output.Column("REACTIONS", lambda row: _ids(row, "reactions")),
        output.column("error"),
    )


def _ids(row: Mapping[str, Any], kind: str) -> str:
    return ", ".join(entry["id"].partition(".")[2] or entry["id"] for entry in row.get(kind, []))


@service.command()
@click.argument("name", metavar="SERVICE")
@remote
async def show(call: Call, api: Api, name: str) -> None:
    """Show the actions and reactions of a service with their fields."""
    answer = await api.get("services", name)
    if call.json:
        output.print_json(answer)
        return
    call.fields(answer, "id", "name", "about", "help", "error")
    for kind in ("actions", "reactions"):
        for operation in answer.get(kind, []):
            _print_operation(kind[:-1], operation)


def _print_operation(kind: str, operation: dict[str, Any]) -> None:
    click.echo(f"\n{click.style(operation['id'], bold=True)}  {kind}  {operation.get('title') or ''}")
    form = operation.get("schema") or operation.get("form") or {}
    required = form.get("required", [])
    for name, field in form.get("properties", {}).items():
        needed = "" if name in required else "  (optional)"
        click.echo(f"  {name}  {field.get('description') or field.get('title') or ''}{needed}")


@service.command()
@click.argument("name", metavar="[SERVICE]", required=False)
@here
def check(call: Call, name: str | None) -> None:
    """Check connectors, your own in `<data-dir>/connectors` included, against the rules for connectors."""
    rows = _checked(call, name)
    if call.json:
        output.print_json(rows)
    for row in [] if call.json else rows:
        click.echo(f"{row['service']}: {'ok' if not row['problems'] else ''}".rstrip())
        for problem in row["problems"]:
            click.echo(f"  {problem}")
    if any(row["problems"] for row in rows):
        raise StoppedError(1)


def _checked(call: Call, name: str | None) -> list[dict[str, Any]]:
    from areabox.services import kit
    from areabox.services.catalogue import Catalogue

    catalogue = Catalogue.discover(call.settings.data_dir)
    wanted = [catalogue.service(name)] if name else catalogue.services()
    rows = [{"service": one.id, "problems": [str(problem) for problem in kit.check(one.connector)]} for one in wanted]
    broken = [{"service": error.source, "problems": [error.message]} for error in catalogue.errors()]
    return rows if name else rows + broken
