"""`areabox check · config · version`: what is, and whether it is well."""

from __future__ import annotations

import click

import areabox
from areabox.cli import output
from areabox.cli.call import ATTENTION, Call, StoppedError, here

_MARKS = {"ok": ("✓", "green"), "note": ("·", None), "warning": ("▲", "yellow"), "failed": ("✕", "red")}
_CODES = {"warning": ATTENTION, "failed": 1}


@click.command()
@click.option("--health", is_flag=True, help="Only whether the daemon is alive and ready, for health checks.")
@here
def check(call: Call, *, health: bool) -> None:
    """Check configuration, data directory, key, database, disk, clock, daemon and public address.

    Exit code 0: all is well; 3: look at the warnings; 1: something is broken.
    """
    import asyncio

    asyncio.run(_health(call) if health else _check(call))


async def _check(call: Call) -> None:
    from areabox.deployment import check as doctor

    findings = []
    async for finding in doctor.examine(call.settings):
        findings.append(finding)
        if not call.json:
            _print(finding.state, finding.about, finding.detail, finding.advice)
    if call.json:
        import msgspec

        output.print_json([msgspec.to_builtins(finding) for finding in findings])
    if code := _CODES.get(doctor.worst(findings)):
        raise StoppedError(code)


async def _health(call: Call) -> None:
    from areabox.deployment import check as doctor

    finding = await doctor.daemon(call.settings)
    if call.json:
        output.print_json({"healthy": finding.state == doctor.OK, "detail": finding.detail})
    else:
        call.say(finding.detail)
    if finding.state != doctor.OK:
        raise StoppedError(1)


def _print(state: str, about: str, detail: str, advice: str) -> None:
    mark, colour = _MARKS[state]
    click.echo(f"{click.style(mark, fg=colour)} {about}: {detail}")
    if advice:
        click.echo(f"    → {advice}")


@click.command()
@here
def config(call: Call) -> None:
    """Show every setting with its effective value and where it comes from; secrets are starred."""
    from areabox.deployment.settings import known, shown

    rows = [
        {"setting": name, "value": value, "origin": origin, "help": known()[name][1].help}
        for name, value, origin in shown(call.settings)
    ]
    call.show(rows, output.column("setting"), output.column("value"), output.column("origin"))


@click.command()
@here
def version(call: Call) -> None:
    """Show the version."""
    if call.json:
        output.print_json({"version": areabox.__version__})
    else:
        click.echo(f"areabox {areabox.__version__}")
