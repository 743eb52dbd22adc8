"""`areabox run …`: look at runs and steer them."""

from __future__ import annotations

import functools
import json

import click

from areabox.cli import output
from areabox.cli.call import Call, StoppedError, paging, query, remote
from areabox.cli.client import Api

STATES = ("queued", "running", "waiting", "held", "done", "skipped", "collected", "failed", "uncertain", "cancelled")
COLUMNS = (
    output.column("run", "id"),
    output.column("area"),
    output.column("state"),
    output.when("started"),
    output.when("ended"),
    output.column("reason"),
)


@click.group()
def run() -> None:
    """List, show, follow, retry and cancel runs."""


@run.command("list")
@click.option("--area", metavar="AREA", help="Only of this area.")
@click.option("--state", type=click.Choice(STATES), metavar="STATE", help=f"Only in this state: {', '.join(STATES)}.")
@paging
@remote
async def list_(
    call: Call, api: Api, area: str | None, state: str | None, limit: int | None, after: str | None
) -> None:
    """List runs, the newest first."""
    call.show(await api.get("runs", **query(area=area, state=state, limit=limit, after=after)), *COLUMNS)


@run.command()
@click.argument("id_", metavar="ID")
@remote
async def show(call: Call, api: Api, id_: str) -> None:
    """Show a run with the input and output of every step."""
    from areabox.cli.outcome import print_run

    answer = await api.get("runs", id_)
    try:
        print_run(call, answer)
    except StoppedError:
        return  # showing it went well, however the run ended


@run.command()
@click.argument("id_", metavar="ID")
@click.option("--from", "step", metavar="STEP", help="Keep what came before this step, and go on from it.")
@click.option("--latest", is_flag=True, help="On the area's latest version; default the one that it ran on.")
@remote
async def retry(call: Call, api: Api, id_: str, step: str | None, *, latest: bool) -> None:
    """Run an ended run again, as a new run."""
    body = query(version="latest" if latest else "same") | ({"from": step} if step else {})
    answer = await api.post("runs", id_, "retry", body=body)
    call.done(answer, f"{id_} runs again")
    if not call.json:
        click.echo(answer["id"])


@run.command()
@click.argument("ids", metavar="ID…", nargs=-1, required=True)
@remote
async def cancel(call: Call, api: Api, ids: tuple[str, ...]) -> None:
    """Cancel runs."""
    answers = [await api.post("runs", id_, "cancel") for id_ in ids]
    call.done(answers if len(answers) > 1 else answers[0], f"{', '.join(ids)}: cancelled")


@run.command()
@click.argument("id_", metavar="ID")
@click.argument("step", metavar="STEP")
@click.option("--as", "as_", required=True, type=click.Choice(["done", "failed", "retry"]), help="What became of it.")
@functools.partial(remote, acting=False)
async def resolve(call: Call, api: Api, id_: str, step: str, as_: str) -> None:
    """Say what became of an uncertain step."""
    answer = await api.post("runs", id_, "steps", step, "resolve", body={"as": as_})
    call.done(answer, f"{step} of {id_}: {as_}")


@run.command()
@click.argument("id_", metavar="ID")
@click.argument("step", metavar="STEP")
@click.argument("choice")
@remote
async def answer(call: Call, api: Api, id_: str, step: str, choice: str) -> None:
    """Answer a question that a run asks."""
    given = await api.post("runs", id_, "steps", step, "answer", body={"choice": choice})
    call.done(given, f"{step} of {id_}: {choice}")


@run.command()
@click.option("--area", metavar="AREA", help="Only of this area.")
@remote
async def tail(call: Call, api: Api, area: str | None) -> None:
    """Follow runs as they change, until interrupted."""
    if not api.daemon:
        raise StoppedError(1, "no daemon runs on this data directory, so there is nothing to follow")
    async for line in api.lines("stream?topics=run"):
        if not line.startswith("data:"):
            continue
        change = json.loads(line.removeprefix("data:"))
        if not isinstance(change, dict) or "state" not in change or (area and change.get("area") != area):
            continue
        if call.json:
            click.echo(json.dumps(change, ensure_ascii=False))
        else:
            click.echo("  ".join(str(change.get(name) or "") for name in ("id", "area", "state", "reason")).rstrip())
