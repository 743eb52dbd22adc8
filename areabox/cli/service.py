"""`areabox service …`: what this areabox can listen to and do."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
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
    """Show the actions and reactions of a service with their fields, and what a connection to it needs."""
    answer = await api.get("services", name)
    if call.json:
        output.print_json(answer)
        return
    call.fields(answer, "id", "name", "about", "help", "error")
    for kind in ("actions", "reactions"):
        for operation in answer.get(kind, []):
            _print_operation(kind[:-1], operation)
    for way in answer.get("auth", []):
        _print_way(name, way)


def _print_operation(kind: str, operation: dict[str, Any]) -> None:
    click.echo(f"\n{click.style(operation['id'], bold=True)}  {kind}  {operation.get('title') or ''}".rstrip())
    for line in (operation.get("help") or "").splitlines():
        click.echo(f"  {line}".rstrip())
    _print_form(operation.get("schema") or {})
    if gives := list((operation.get("output") or {}).get("properties", {})):
        click.echo(f"  gives {', '.join(gives)}")


def _print_way(service: str, way: dict[str, Any]) -> None:
    """Print a way in, as the command that uses it."""
    form = way.get("schema") or {}
    fields = form.get("properties", {})
    if not fields:
        return
    options = [f"--secret {name}" if field.get("writeOnly") else f"--set {name}=…" for name, field in fields.items()]
    click.echo(f"\n{click.style('connection', bold=True)}  {way['label']}")
    click.echo(f"  areabox connection add NAME {service} --auth {way['id']} {' '.join(options)}")
    _print_form(form)


def _print_form(form: dict[str, Any]) -> None:
    fields, required = form.get("properties", {}), form.get("required", [])
    rows = [(name, _kind(field), _meaning(field, needed=name in required)) for name, field in fields.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("    " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _kind(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if field.get("writeOnly"):
        return "secret"
    kinds = [one.get("type", "any") for one in field.get("anyOf", [field])]
    return str(field.get("format") or " | ".join(kind for kind in kinds if kind != "null"))


def _meaning(field: Mapping[str, Any], *, needed: bool) -> str:
    about = field.get("description") or field.get("title") or ""
    default = field.get("default")
    usual = "" if default in (None, "", [], {}) else f"default {json.dumps(default)}"
    return "; ".join(filter(None, ("needed" if needed else usual, about)))


@service.command()
@click.argument("name", metavar="[SERVICE]", required=False)
@here
def check(call: Call, name: str | None) -> None:
    """Check connectors against the rules for them.

    SERVICE is its name, or that of a file in `<data-dir>/connectors`; without it all are checked.
    """
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

    logging.disable(logging.WARNING)  # what cannot be loaded is told below
    try:
        catalogue = Catalogue.discover(call.settings.data_dir)
        errors = catalogue.errors()
    finally:
        logging.disable(logging.NOTSET)
    broken = [
        {"service": error.source, "problems": [error.message]}
        for error in errors
        if name in (None, Path(error.source).stem)
    ]
    if name and broken:
        return broken
    wanted = [catalogue.service(name)] if name else catalogue.services()
    found = ((one.id, kit.check(one.connector)) for one in wanted)
    return [{"service": id_, "problems": [str(problem) for problem in problems]} for id_, problems in found] + broken
