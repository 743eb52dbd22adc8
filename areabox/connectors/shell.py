"""Commands of this machine: those that an admin defined in the settings, and no others.

Tested against real programs.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec

from areabox.connectors import _process
from areabox.sdk import Command, Connector, Context, Event, Field, Option, Permanent, Text, Transient

KEPT_MAX = 16 * 1024  # characters of an output that are kept to compare with
TAIL = 300

shell = Connector(
    "shell",
    "Commands",
    about="Commands of this machine that an admin defined in the settings.",
    icon="shell",
    builtin=True,
)


class Ran(msgspec.Struct):
    """A command that ended."""

    exit_code: int
    stdout: str
    stderr: str = ""
    truncated: bool = False  # there was more output than the command may have


class Changed(Event):
    """A command whose output is another than before."""

    command: str
    text: str
    old: str
    exit_code: int = 0


async def commands(ctx: Context, q: str) -> list[Option]:
    """List the commands that may be run."""
    found = (await ctx.host.commands() if ctx.host is not None else {}).values()
    named = [(one.name, f"{one.name}: {one.about}" if one.about else one.name) for one in found]
    return [Option(name, shown) for name, shown in named if q.lower() in shown.lower()]


Name = Annotated[str, Field("Command", "As the settings name it.", options=commands, pattern=r"^[a-z0-9-]{1,64}$",
                            placeholder="restart-nas")]  # fmt: skip
Values = Annotated[dict[str, str] | None, Field("Values", "For the {places} of the command.", example={})]


@shell.reaction(
    "Run a command", sentence="run {command}",
    effect=lambda params: "idempotent" if params.get("repeatable") else "once",
    sample=Ran(0, "done\n", "", truncated=True),
)  # fmt: skip
async def run(
    ctx: Context,
    command: Name,
    values: Values = None,
    *,
    stdin: Annotated[Text, Field("Input", "What the command reads.", max_length=1_000_000)] = "",
    fail: Annotated[bool, Field("An exit code fails the step", "Off: every end is a result.")] = True,
    repeatable: Annotated[bool, Field("May be repeated", "Nothing happens twice if it runs twice.")] = False,
) -> Ran:
    """Run a command that an admin defined in the settings file, with a time limit and an output limit.

    There is no shell in between: each value is one whole argument, whatever stands in it. If areabox ends meanwhile,
    the step is *uncertain*, unless it may be repeated.
    """
    del repeatable
    found = await _command(ctx, command)
    ended = await _ran(found, values or {}, stdin)
    if ended.exit_code and fail:
        said = (ended.stderr or ended.stdout).strip()[-TAIL:]
        raise Permanent(f"{command} ended with the code {ended.exit_code}{': ' if said else ''}{said}")
    return ended


@shell.action(
    "Output changes", poll="1m", dedupe="key", sentence="the output of {command} changes",
    sample=Changed(id="2026-01-01T12:00:00+00:00 0123456789abcdef", command="disk-health", text="FAILED", old="PASSED",
                   exit_code=1),
)  # fmt: skip
async def output_changed(
    ctx: Context, command: Name, values: Values = None,
    *, failing: Annotated[bool, Field("Also if it fails", "Else an exit code is an error of the source.")] = False,
) -> AsyncIterator[Changed]:  # fmt: skip
    """Run a command again and again, and fire when its output is another than before. The first one is only kept."""
    ended = await _ran(await _command(ctx, command), values or {}, "")
    if ended.exit_code and not failing:
        raise Transient(f"{command} ended with the code {ended.exit_code}: {ended.stderr.strip()[-TAIL:]}")
    print_ = hashlib.sha256(f"{ended.exit_code}\n{ended.stdout}".encode()).hexdigest()[:16]
    before, old = ctx.cursor.get("print"), ctx.cursor.get("text", "")
    ctx.cursor.update(print=print_, text=ended.stdout[:KEPT_MAX])
    if before not in (None, print_):
        yield Changed(
            id=f"{ctx.now.isoformat()} {print_}", command=command, text=ended.stdout, old=str(old),
            exit_code=ended.exit_code,
        )  # fmt: skip


async def _command(ctx: Context, name: str) -> Command:
    """Return a command that the area's owner may run; raises Permanent."""
    assert ctx.host is not None
    known = await ctx.host.commands()
    if name not in known:
        listed = ", ".join(known) or "none that you may run"
        raise Permanent(f"there is no command {name}; the settings define {listed}")
    return known[name]


async def _ran(command: Command, values: dict[str, Any], stdin: str) -> Ran:
    try:
        argv = command.filled({name: str(value) for name, value in values.items()})
    except ValueError as error:
        raise Permanent(str(error)) from None
    try:
        ended = await _process.run(
            argv, folder=command.folder, env=command.env, stdin=stdin.encode(), timeout_s=command.timeout_ms / 1000,
            output_bytes=command.output_bytes,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise Permanent(f"{command.name} cannot be run: {error}") from None
    if ended.code is None:
        raise Permanent(f"{command.name} did not end within {command.timeout_ms / 1000:g} s, and was ended")
    stdout, stderr = (part.decode(errors="replace") for part in (ended.stdout, ended.stderr))
    return Ran(ended.code, stdout, stderr, ended.truncated)
