"""`areabox backup · restore`: one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from areabox.cli import output
from areabox.cli.call import Call, here, read_secret, yes_option

if TYPE_CHECKING:
    from areabox.deployment.settings import Settings

_passphrase_option = click.option("--passphrase-stdin", is_flag=True, help="Read the passphrase from stdin.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
@click.option("--passphrase", "ask", is_flag=True, help="Ask for a passphrase under which secrets go along.")
@_passphrase_option
@here
def backup(call: Call, file: Path, *, overwrite: bool, ask: bool, passphrase_stdin: bool) -> None:
    """Copy the database into FILE, also while the daemon runs; the copy is checked before it gets its name.

    With a passphrase (asked, on stdin, or in AREABOX_PASSPHRASE) the key goes along encrypted, so that FILE alone
    restores everything; without, the secrets in it need the key file, too.
    """
    from areabox.deployment import copies

    phrase = _passphrase(call.settings, ask=ask, stdin=passphrase_stdin, twice=True)
    summary = copies.backup(call.settings, file.absolute(), passphrase=phrase, overwrite=overwrite)
    _print(call, summary, f"written to {file}")
    if not phrase:
        call.say("the secrets in it need the key file as well; --passphrase puts the key into the backup")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--check", "check_only", is_flag=True, help="Only see whether FILE could be restored.")
@click.option("--overwrite", is_flag=True, help="Move a database that is there aside.")
@click.option("--passphrase", "ask", is_flag=True, help="Ask for the passphrase of the backup.")
@_passphrase_option
@yes_option
@here
def restore(
    call: Call, file: Path, *, check_only: bool, overwrite: bool, ask: bool, passphrase_stdin: bool, yes: bool
) -> None:
    """Bring a backup back into the data directory. No daemon may run on it.

    The restored areabox is paused, so that nothing fires before you have looked; `areabox resume` lets it go on.
    """
    from areabox.deployment import copies

    settings = call.settings
    if overwrite and not check_only and settings.database_path.exists():
        call.confirm(f"Replace the database in {settings.data_dir}?", yes=yes)
    phrase = _passphrase(settings, ask=ask, stdin=passphrase_stdin)
    summary = copies.restore(
        settings, file.absolute(), passphrase=phrase, check_only=check_only, overwrite=overwrite
    )
    _print(call, summary, "can be restored" if check_only else f"restored into {settings.data_dir}, and paused")
    if summary["lacks"] == "passphrase":
        call.say("its key lies in it under a passphrase; without --passphrase the secrets in it cannot be read")
    elif summary["lacks"] == "key":
        place = copies.key_path(settings)
        call.say(f"its secrets need the key that it was made with: put that at {place} before the first start")


def _passphrase(settings: Settings, *, ask: bool, stdin: bool, twice: bool = False) -> str:
    return read_secret("Passphrase", stdin=stdin, twice=twice) if ask or stdin else settings.passphrase


def _print(call: Call, summary: dict[str, Any], sentence: str) -> None:
    if call.json:
        output.print_json(summary)
    else:
        call.say(f"{summary['areas']} areas, {summary['runs']} runs, {summary['bytes']:,} bytes: {sentence}")
