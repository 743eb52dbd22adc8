"""How a run is shown, waited for, and turned into an exit code."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import click

from areabox.cli import output
from areabox.cli.call import ATTENTION, Call, StoppedError
from areabox.cli.client import Api

REQUEST_WAIT_MAX_S = 60.0  # how long the API waits
LOOK_EVERY_S = 2.0
COLOURS = {"done": "green", "failed": "red", "uncertain": "magenta", "held": "yellow", "waiting": "cyan"}
_CODES = {"done": 0, "skipped": 0, "collected": 0, "failed": 1, "cancelled": 1}


async def run_and_wait(api: Api, area: str, body: dict[str, Any], wait_s: float) -> dict[str, Any]:
    """Start a run and return it as it is when it has ended, or when the time is over."""
    until = time.monotonic() + wait_s
    first_s = min(wait_s, REQUEST_WAIT_MAX_S)
    async with api.working():
        run: dict[str, Any] = await api.send(
            "POST", "areas", area, "runs", body=body, params={"wait": first_s}, timeout_s=first_s
        )
        while not run.get("ended") and (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, LOOK_EVERY_S))
            run = await api.get("runs", run["id"])
    return run


def exit_code(state: str) -> int:
    """Return what the state of a run means for a script: ended well, ended badly, or needs attention."""
    return _CODES.get(state, ATTENTION)


def print_run(call: Call, run: dict[str, Any]) -> None:
    """Print a run with its steps; end the command with the code of its state."""
    if call.json:
        output.print_json(run)
    else:
        _print(run)
        for step in run.get("steps", []):
            if wanted := _wanted(run["id"], step):
                call.say(f"\n{wanted}")
    if code := exit_code(run["state"]):
        raise StoppedError(code)


def _print(run: dict[str, Any]) -> None:
    output.print_fields(
        [
            ("run", run["id"]),
            ("area", f"{run['area']} version {run['version']}"),
            ("state", run["state"]),
            ("reason", run.get("reason")),
            ("started", output.local_time(run.get("started"))),
            ("ended", output.local_time(run.get("ended"))),
            ("trigger", run.get("trigger")),
            ("result", run.get("result")),
        ]
    )
    for step in run.get("steps", []):
        _print_step(step)


def _wanted(run: str, step: dict[str, Any]) -> str:
    """Return the command by which a person lets a step go on, if it waits for one."""
    if step["state"] == "uncertain":
        return f"when you know what became of it: areabox run resolve {run} {step['path']} --as done|failed|retry"
    if (step["kind"], step["state"]) == ("ask", "waiting"):
        choices = "|".join(map(str, (step.get("input") or {}).get("choices", ["CHOICE"])))
        return f"to answer: areabox run answer {run} {step['path']} {choices}"
    return ""


def _print_step(step: dict[str, Any]) -> None:
    state = click.style(step["state"], fg=COLOURS.get(step["state"]))
    click.echo(f"\n{step['path']}  {step['kind']}  {state}")
    output.print_fields(
        [
            ("  input", step.get("input")),
            ("  output", step.get("output")),
            ("  error", step.get("error")),
            ("  note", step.get("note")),
            ("  attempts", len(step.get("attempts", [])) if len(step.get("attempts", [])) > 1 else None),
        ]
    )
