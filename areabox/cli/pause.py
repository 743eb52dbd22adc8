"""`areabox pause · resume`: hold everything, and let it go on."""

from __future__ import annotations

import click

from areabox.cli.call import Call, remote
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
