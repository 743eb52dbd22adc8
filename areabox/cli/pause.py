"""`areabox pause · resume · maintenance`: hold everything, or whoever comes, and let it go on."""

from __future__ import annotations

import click

from areabox.cli.call import Call, query, remote
from areabox.cli.client import Api


@click.command()
@remote
async def pause(call: Call, api: Api) -> None:
    """Do nothing by itself until `areabox resume`: no polls, schedules or steps; webhooks are kept for later."""
    call.done(await api.post("system", "pause"), "areabox is paused, also after a restart")


@click.command()
@remote
async def resume(call: Call, api: Api) -> None:
    """Go on after `areabox pause`, or after a restore."""
    call.done(await api.post("system", "resume"), "areabox goes on")


@click.command()
@click.argument("switch", type=click.Choice(["on", "off"]))
@click.option("--message", help="What whoever comes is told meanwhile.")
@click.option("--retry-after", type=click.IntRange(1, 86_400), metavar="SECONDS", help="When they may come again.")
@remote
async def maintenance(call: Call, api: Api, switch: str, message: str | None, retry_after: int | None) -> None:
    """Tell pages and API users to come back later (503); webhooks are taken, and areas go on."""
    body = {"on": switch == "on", **query(message=message, retry_after_s=retry_after)}
    call.done(await api.post("system", "maintenance", body=body), f"maintenance is {switch}")
