"""What every command gets: the settings, the way to the API, output and questions; and the options that all share.

    @group.command("list")
    @remote                                     # an async command that speaks to the API
    async def list_(call: Call, api: Api, …) -> None: ...

    @group.command("status")
    @here                                       # a command that works on this machine's data directory
    def status(call: Call, …) -> None: ...
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from areabox.cli import output
from areabox.errors import AreaboxError, InputError

if TYPE_CHECKING:
    from areabox.deployment.settings import Settings

ATTENTION = 3
SHARED = ("data_dir", "config", "as_json")
REMOTE = ("url", "token", "acting_as")

_SHARED_OPTIONS = (
    click.option("--data-dir", metavar="DIR", help="Folder of the database, the key and your connectors."),
    click.option("--config", metavar="FILE", help="Configuration file instead of areabox.toml."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
)
_WHERE_OPTIONS = (
    click.option("--url", metavar="URL", help="Speak to the areabox at this address."),
    click.option("--token", metavar="TOKEN", help="API token for it; better in AREABOX_TOKEN."),
)
_ACTING_OPTION = click.option(
    "--as", "acting_as", metavar="EMAIL", help="Act as this account (on the machine itself only)."
)


class StoppedError(AreaboxError):
    """The command ends with `code`; what there is to say was said, or is `str(error)`."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code = code


class Call:
    """One invocation of a command."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options
        self.json = bool(options.get("as_json"))

    @functools.cached_property
    def settings(self) -> Settings:
        """Return the effective settings."""
        return self.load()

    def load(self, **flags: Any) -> Settings:
        """Return the settings with further flags of this command."""
        from areabox.deployment.settings import load

        names = ("data_dir", "config", "url", "token")
        return load({name: self.options.get(name) for name in names} | flags)

    def show(self, answer: Any, *columns: output.Column) -> None:
        """Print what the API answered: as it is with --json, else the page `{items, next}` as a table."""
        if self.json:
            output.print_json(answer)
            return
        rows = answer["items"] if isinstance(answer, dict) else answer
        if rows:
            output.print_table(rows, columns)
        else:
            self.say("none")
        if isinstance(answer, dict) and answer.get("next"):
            self.say(f"more: --after {answer['next']}")

    def fields(self, answer: Mapping[str, Any], *names: str) -> None:
        """Print one thing: as it is with --json, else the named fields."""
        if self.json:
            output.print_json(answer)
        else:
            output.print_fields((name, answer.get(name)) for name in names)

    def done(self, answer: Any, sentence: str) -> None:
        """Print what the API answered with --json, else a sentence."""
        if self.json:
            output.print_json(answer)
        elif sentence:
            self.say(sentence)

    def say(self, sentence: str) -> None:
        """Print a message to the person, apart from the data."""
        click.echo(sentence, err=True)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something is destroyed; without a terminal `--yes` is needed."""
        if yes:
            return
        if not sys.stdin.isatty():
            raise StoppedError(2, f"{question} Without a terminal, say --yes.")
        if not click.confirm(question, err=True):
            raise StoppedError(1, "nothing was changed")


def anywhere(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that stand before the command: those of every command, and where it works."""
    return _with_options(command, _SHARED_OPTIONS, _WHERE_OPTIONS)


def _with_options(command: Callable[..., Any], *groups: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    options = [option for group in groups for option in group]
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


def here(command: Callable[..., Any]) -> Callable[..., Any]:
    """Make a command that works on this machine; it gets a `Call`."""

    @functools.wraps(command)
    def invoke(**options: Any) -> Any:
        taken = {name: options.pop(name) for name in SHARED}
        context = click.get_current_context()
        if context.find_root().params.get("url"):
            raise click.UsageError(f"{context.command_path} works on this machine only, so it takes no --url")
        return command(Call(_with_root(taken)), **options)

    return _with_options(invoke, _SHARED_OPTIONS)


def remote(command: Callable[..., Awaitable[None]], *, acting: bool = True) -> Callable[..., Any]:
    """Make an async command that speaks to the API; it gets a `Call` and the open `Api`.

    With `acting` it takes `--as EMAIL`; a command with a `--as` of its own cannot.
    """

    @functools.wraps(command)
    def invoke(**options: Any) -> None:
        import asyncio

        taken = {name: options.pop(name, None) for name in (*SHARED, *REMOTE)}
        asyncio.run(_with_api(Call(_with_root(taken)), command, options))

    return _with_options(invoke, _SHARED_OPTIONS, _WHERE_OPTIONS, (_ACTING_OPTION,) if acting else ())


async def _with_api(call: Call, command: Callable[..., Awaitable[None]], options: Mapping[str, Any]) -> None:
    from areabox.cli.client import open_api

    acting_as = call.options.get("acting_as")
    if acting_as and call.settings.url:
        raise click.UsageError(f"--as is for the machine itself; at {call.settings.url} the token says who you are")
    async with open_api(call.settings, acting_as=acting_as) as api:
        await command(call, api, **options)


def _with_root(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the command, over those given before it (`areabox --data-dir D area list`)."""
    root = click.get_current_context().find_root().params
    return {name: value or root.get(name) for name, value in options.items()}


def paging(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a list."""
    limit = click.option("--limit", type=click.IntRange(1, 1000), help="How many at most.")
    return limit(click.option("--after", metavar="ID", help="Go on after this one.")(command))


yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def read_json(text: str, what: str) -> Any:
    """Return JSON given as text, as `@FILE`, or as `-` for stdin."""
    import json

    try:
        return json.loads(read_text(text))
    except ValueError as error:
        raise InputError(f"{what} is no JSON: {error}") from None


def read_text(text: str) -> str:
    """Return a text given as it is, as `@FILE`, or as `-` for stdin."""
    if text == "-":
        return sys.stdin.read()
    return Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text


def read_secret(prompt: str, *, stdin: bool, twice: bool = False) -> str:
    """Return a secret from the first line of stdin; where that is a terminal, ask without echo."""
    if not sys.stdin.isatty():
        if stdin:
            return sys.stdin.readline().rstrip("\r\n")
        raise StoppedError(2, f"{prompt} cannot be asked for without a terminal; pipe it in, with the option for that")
    return str(click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True))


def query(**params: Any) -> dict[str, Any]:
    """Return the parameters of a query that were given."""
    return {name: value for name, value in params.items() if value not in (None, "", ())}


def one_line(problems: Sequence[Any]) -> str:
    """Return problems, one a line."""
    return "\n".join(f"  {problem}" for problem in problems)
