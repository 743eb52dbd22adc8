"""`areabox event …`: what came in, also what no area took."""

from __future__ import annotations

import click

from areabox.cli import output
from areabox.cli.call import Call, paging, query, read_json, remote
from areabox.cli.client import Api


@click.group()
def event() -> None:
    """List, show, send and replay events."""


@event.command("list")
@click.option("--action", metavar="ACTION", help="Only of this action, such as rss.new_entry.")
@paging
@remote
async def list_(call: Call, api: Api, action: str | None, limit: int | None, after: str | None) -> None:
    """List events, the newest first, and why no area took them."""
    call.show(
        await api.get("events", **query(action=action, limit=limit, after=after)),
        output.column("event", "id"),
        output.column("action"),
        output.when("at"),
        output.column("reason"),
    )


@event.command()
@click.argument("id_", metavar="ID")
@remote
async def show(call: Call, api: Api, id_: str) -> None:
    """Show an event."""
    call.fields(await api.get("events", id_), "id", "action", "at", "payload", "reason", "runs")


@event.command()
@click.argument("action", metavar="ACTION")
@click.argument("payload", default="{}", metavar="[JSON]")
@remote
async def send(call: Call, api: Api, action: str, payload: str) -> None:
    """Send an event by hand to every area that listens to ACTION; JSON may be @FILE or -."""
    body = {"action": action, "payload": read_json(payload, "the payload")}
    answer = await api.post("events", body=body)
    call.done(answer, answer.get("reason") or "")
    if not call.json:
        click.echo(answer["id"])


@event.command()
@click.argument("id_", metavar="ID")
@click.option("--area", metavar="AREA", help="Only for this area; default every area that listens.")
@remote
async def replay(call: Call, api: Api, id_: str, area: str | None) -> None:
    """Give an event to areas again."""
    call.done(await api.post("events", id_, "replay", body=query(area=area)), f"{id_} was given again")
