"""`areabox apply · export · schema`: areas as files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from areabox.cli.call import Call, here, remote
from areabox.cli.client import Api
from areabox.cli.output import print_json
from areabox.errors import InputError

_ENDINGS = (".yaml", ".yml", ".json")
_MARKS = {"created": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red"), "unchanged": ("=", None)}


@click.command()
@click.argument("paths", metavar="FILE|DIR…", nargs=-1, required=True)
@click.option("--plan", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--prune", is_flag=True, help="Remove areas that no file names.")
@click.option("--yes", is_flag=True, help="Do not ask before --prune removes areas.")
@remote
async def apply(call: Call, api: Api, paths: tuple[str, ...], *, plan: bool, prune: bool, yes: bool) -> None:
    """Create or change areas from files: YAML with one or more documents, or JSON; `-` is stdin.

    Either all files are applied or, if one is wrong, none. Applying the same files again changes nothing.
    """
    body = {"documents": read(paths), "plan": plan, "prune": prune}
    if prune and not plan and sys.stdin.isatty():  # for a script, --prune is the word
        foreseen = await api.post("apply", body=body | {"plan": True})
        gone = [change["area"] for change in foreseen if change["change"] == "removed"]
        if gone:
            call.confirm(f"Remove {', '.join(gone)}?", yes=yes)
    changes = await api.post("apply", body=body)
    if call.json:
        print_json([_line(change) for change in changes])
    else:
        _print(call, changes, plan=plan)


def read(paths: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the documents of files and folders, in the order of their names.

    Raises `InputError` for a path that is not there or a folder without documents.
    """
    documents = []
    for name in paths:
        if name == "-":
            documents.append({"name": "stdin", "text": sys.stdin.read()})
            continue
        documents += [{"name": str(file), "text": _text(file)} for file in _files(Path(name))]
    return documents


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix in _ENDINGS and file.is_file())
    if not found:
        raise InputError(f"{path} holds no {', '.join(_ENDINGS)} file")
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}") from None


def _line(change: dict[str, Any]) -> dict[str, Any]:
    return {name: change[name] for name in ("area", "change", "subscriptions", "diff") if change.get(name) is not None}


def _print(call: Call, changes: list[dict[str, Any]], *, plan: bool) -> None:
    for change in changes:
        mark, colour = _MARKS[change["change"]]
        click.echo(f"{click.style(mark, fg=colour)} {change['area']}  {change['change']}")
        if plan and change.get("diff"):
            click.echo("\n".join("    " + line for line in change["diff"].splitlines()))
        for subscription in change["subscriptions"]:
            if subscription.get("url"):
                click.echo(f"    {subscription['id']}: {subscription['url']}")
    altered = sum(change["change"] != "unchanged" for change in changes)
    call.say(f"{altered} of {len(changes)} would change" if plan else f"{altered} of {len(changes)} changed")


@click.command()
@click.argument("areas", metavar="[AREA]…", nargs=-1)
@click.option("-o", "--output", "folder", metavar="DIR", help="Write one file per area into this folder.")
@remote
async def export(call: Call, api: Api, areas: tuple[str, ...], folder: str | None) -> None:
    """Write areas as YAML, all of them or those named; `areabox apply` reads it back. It holds no secrets."""
    names = areas or [area["area"] async for area in api.all("areas")]
    documents = {name: await api.text("areas", name, accept="application/yaml") for name in names}
    if folder:
        _write(call, Path(folder), documents)
    elif call.json:
        print_json(documents)
    else:
        click.echo("---\n".join(documents.values()), nl=False)


def _write(call: Call, folder: Path, documents: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    call.done(list(documents), f"{len(documents)} areas written to {folder}")


@click.command()
@here
def schema(call: Call) -> None:
    """Print the JSON Schema of the area document with the operations of this areabox, for editors."""
    from areabox.areas.schema import schema as area_schema
    from areabox.services.catalogue import Catalogue

    print_json(area_schema(Catalogue.discover(call.settings.data_dir)))
