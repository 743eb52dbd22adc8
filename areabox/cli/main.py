"""`areabox …`: which commands there are, where each lives, and how errors become exit codes.

    0 ok · 1 failed · 2 usage · 3 needs attention · 4 not found · 65 bad input file · 69 unreachable · 77 not allowed ·
    78 bad configuration
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from areabox.cli.call import StoppedError, anywhere
from areabox.cli.output import plain_logs
from areabox.errors import AreaboxError, ConfigurationError, InputError, NotAllowedError, NotFoundError

EXIT_FAILED, EXIT_INPUT, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 1, 65, 69, 130
_EXIT_CODES: tuple[tuple[type[AreaboxError], int], ...] = (
    (InputError, EXIT_INPUT),
    (NotFoundError, 4),
    (NotAllowedError, 77),
    (ConfigurationError, 78),
)

# name → module of areabox.cli and its one-line help, so that `areabox --help` imports none of them
COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("serve", "Run the daemon."),
    "check": ("doctor", "Check everything that a user would ask."),
    "apply": ("apply", "Create or change areas from files."),
    "export": ("apply", "Write areas as YAML."),
    "schema": ("apply", "Print the JSON Schema of the area document."),
    "area": ("area", "List, show, switch, run, test and remove areas."),
    "run": ("run", "List, show, follow, retry and cancel runs."),
    "event": ("event", "List, show, send and replay events."),
    "service": ("service", "List, show and check services."),
    "connection": ("connection", "List, add, test and remove connections."),
    "user": ("user", "Add, list and change accounts."),
    "token": ("token", "Add, list and remove API tokens."),
    "audit": ("audit", "List, check and export the audit log."),
    "pause": ("pause", "Do nothing by itself until resumed."),
    "resume": ("pause", "Go on after a pause or a restore."),
    "maintenance": ("pause", "Tell whoever comes to come back later."),
    "backup": ("backup", "Copy the database into one file."),
    "restore": ("backup", "Bring a backup back."),
    "db": ("db", "Migrate, inspect and prune the database."),
    "config": ("doctor", "Show the effective settings and their origin."),
    "version": ("doctor", "Show the version."),
}


class _Lazy(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return the commands in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's signature
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"areabox.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- click's signature
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@anywhere
def areabox(**_: Any) -> None:
    """When something happens at one service, do things at others.

    Commands work on this machine's data directory, through its daemon if one runs, or with --url on another.
    """


def run(arguments: list[str]) -> int:
    """Run a command line and return its exit code."""
    with plain_logs():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    try:
        answer = areabox.main(args=arguments, prog_name="areabox", standalone_mode=False)
    except StoppedError as error:
        _say(str(error))
        return error.code
    except AreaboxError as error:
        return _explain(error)
    except click.exceptions.Abort:
        _say("interrupted")
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show(sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return _closed_pipe()
    except (OSError, UnicodeDecodeError) as error:
        _say(f"areabox: {error}")
        return EXIT_FAILED
    return answer if isinstance(answer, int) else 0


def _explain(error: AreaboxError) -> int:
    """Print an error with all its problems that it does not tell itself, and return its exit code."""
    problems = error.problems if isinstance(error, InputError) else []
    if len(problems) == 1 and problems[0].detail == str(error):
        _say(f"areabox: {problems[0]}")
        return exit_code(error)
    _say(f"areabox: {error}")
    for problem in problems:
        if problem.detail not in str(error):
            _say(f"  {problem}")
    return exit_code(error)


def exit_code(error: AreaboxError) -> int:
    """Return the exit code that an error stands for."""
    from areabox.cli.client import UnreachableError

    if isinstance(error, UnreachableError):
        return EXIT_UNREACHABLE
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), EXIT_FAILED)


def _say(sentence: str) -> None:
    if sentence:
        click.echo(sentence, err=True)


def _closed_pipe() -> int:
    """Whoever read stdout has gone (`| head`): end quietly, and keep Python from flushing into nowhere."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_FAILED
