"""`areabox area …`: look at areas, switch them, run them."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from areabox.cli import output
from areabox.cli.call import Call, paging, query, read_json, remote, yes_option
from areabox.cli.client import Api
from areabox.cli.outcome import print_run, run_and_wait
from areabox.errors import NotFoundError

TEST_WAIT_S = 30


@click.group()
def area() -> None:
    """List, show, switch, run, test and remove areas."""


@area.command("list")
@click.option("--query", "-q", "words", metavar="WORD", help="Only those with this in their id, name or tags.")
@paging
@remote
async def list_(call: Call, api: Api, words: str | None, limit: int | None, after: str | None) -> None:
    """List areas."""
    page = await api.get("areas", **query(q=words, limit=limit, after=after))
    call.show(
        page,
        output.column("area"),
        output.column("state"),
        output.column("name"),
        output.column("version"),
        output.Column("ACTIONS", lambda row: ", ".join(entry["action"] for entry in row["subscriptions"])),
        output.Column("ERROR", lambda row: next((e["error"] for e in row["subscriptions"] if e.get("error")), "")),
    )


@area.command()
@click.argument("name", metavar="AREA")
@remote
async def show(call: Call, api: Api, name: str) -> None:
    """Show an area: its document, and what it listens to."""
    answer = await api.get("areas", name)
    if call.json:
        output.print_json(answer)
        return
    click.echo(await api.text("areas", name, accept="application/yaml"))
    times = {key: output.local_time(answer.get(key)) for key in ("created", "updated")}
    call.fields(answer | times, "version", "state", *times)
    for subscription in answer["subscriptions"]:
        click.echo(f"\nlistens to {subscription['action']} ({subscription['id']})")
        shown = subscription | {key: output.local_time(subscription.get(key)) for key in ("next", "last")}
        output.print_fields((f"  {key}", shown.get(key)) for key in ("url", "next", "last", "error"))


@area.command()
@click.argument("names", metavar="AREA…", nargs=-1, required=True)
@remote
async def on(call: Call, api: Api, names: tuple[str, ...]) -> None:
    """Switch areas on."""
    await _switch(call, api, names, "enable")


@area.command()
@click.argument("names", metavar="AREA…", nargs=-1, required=True)
@remote
async def off(call: Call, api: Api, names: tuple[str, ...]) -> None:
    """Switch areas off; runs that are under way go on."""
    await _switch(call, api, names, "disable")


async def _switch(call: Call, api: Api, names: tuple[str, ...], verb: str) -> None:
    answers = [await api.post("areas", name, verb) for name in names]
    call.done(answers if len(answers) > 1 else answers[0], f"{', '.join(names)}: {verb}d")


@area.command()
@click.argument("name", metavar="AREA")
@click.option("--trigger", default="{}", metavar="JSON", help="What expressions see as `trigger`; also @FILE or -.")
@click.option("--wait", metavar="30s", help="Wait that long for its end.")
@click.option("--dry", is_flag=True, help="Call nothing outside; show what would be sent.")
@remote
async def run(call: Call, api: Api, name: str, trigger: str, wait: str | None, *, dry: bool) -> None:
    """Run an area now.

    With --wait the exit code tells how it ended: 0 well, 1 failed or cancelled, 3 it needs somebody or goes on.
    """
    body = {"trigger": read_json(trigger, "--trigger"), "dry": dry}
    wait_s = _seconds(wait)
    if wait_s:
        print_run(call, await run_and_wait(api, name, body, wait_s))
        return
    answer = await api.post("areas", name, "runs", body=body)
    call.done(answer, "" if api.daemon else "it begins when a daemon runs")
    if not call.json:
        click.echo(answer["id"])


@area.command()
@click.argument("name", metavar="AREA")
@click.option("--trigger", metavar="JSON", help="What expressions see as `trigger`; also @FILE or -.")
@remote
async def test(call: Call, api: Api, name: str, trigger: str | None) -> None:
    """Try an area, without calling anything outside.

    Shows what each step would do. Without --trigger it is tried with the example event of what it listens to first.
    """
    given = await _example(call, api, name) if trigger is None else read_json(trigger, "--trigger")
    print_run(call, await run_and_wait(api, name, {"trigger": given, "dry": True}, TEST_WAIT_S))


async def _example(call: Call, api: Api, name: str) -> Any:
    """Return an event as the area's first action might yield it."""
    first = (await api.get("areas", name))["when"][0]
    action = next(key for key in first if "." in key)
    with contextlib.suppress(NotFoundError):  # its connector is gone
        service = await api.get("services", action.partition(".")[0])
        samples = [entry["sample"] for entry in service["actions"] if entry["id"] == action and entry["sample"]]
        if samples:
            call.say(f"with the example event of {action}; --trigger gives another")
            return samples[0]
    return {}


@area.command()
@click.argument("names", metavar="AREA…", nargs=-1, required=True)
@yes_option
@remote
async def rm(call: Call, api: Api, names: tuple[str, ...], *, yes: bool) -> None:
    """Remove areas; their runs stay until they are pruned."""
    call.confirm(f"Remove {', '.join(names)}?", yes=yes)
    for name in names:
        await api.send("DELETE", "areas", name)
    call.done([{"area": name, "change": "removed"} for name in names], f"{', '.join(names)} removed")


def _seconds(wait: str | None) -> float:
    from areabox.areas.durations import parse_duration

    return parse_duration(wait) / 1000 if wait else 0.0
