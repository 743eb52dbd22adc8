"""The measurable part of the house style: sizes, docstrings, layers, and documents that keep up with the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from areabox.cli.main import COMMANDS, areabox
from areabox.deployment.settings import known

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "areabox"
FILES = sorted(PACKAGE.rglob("*.py"))
FILE_LINES_MAX, FUNCTION_LINES_MAX = 400, 50
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _definitions(node: ast.AST, prefix: str = "", *, inside: bool = False) -> Iterator[tuple[str, Definition, bool]]:
    """Yield every definition with its dotted name, and whether it stands inside a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            yield prefix + child.name, child, inside
            within = inside or not isinstance(child, ast.ClassDef)
            yield from _definitions(child, f"{prefix}{child.name}.", inside=within)
        else:
            yield from _definitions(child, prefix, inside=inside)


def _documents() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md")))


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_a_file_can_be_read_in_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES_MAX


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_a_function_can_be_seen_whole(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    long = {
        name: node.end_lineno - node.lineno + 1
        for name, node, _ in _definitions(tree)
        if not isinstance(node, ast.ClassDef) and node.end_lineno - node.lineno >= FUNCTION_LINES_MAX
    }
    assert not long


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_modules_and_public_names_say_what_they_are(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if tree.body:
        assert ast.get_docstring(tree), "the module has no docstring"
    silent = [
        name
        for name, node, inside in _definitions(tree)
        if not inside
        and not any(part.startswith("_") for part in name.split("."))
        and not _is_overload(node)
        and not ast.get_docstring(node)
    ]
    assert not silent


def _is_overload(node: Definition) -> bool:
    return any(ast.unparse(mark).split(".")[-1] in {"overload", "setter"} for mark in node.decorator_list)


def test_only_the_settings_read_the_environment():
    readers = [
        _name(path)
        for path in FILES
        if re.search(r"\bos\.(environ|getenv)\b|\benviron\b", path.read_text(encoding="utf-8"))
        and path != PACKAGE / "deployment" / "settings.py"
    ]
    assert readers == []


def test_imports_point_down():
    command = [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def _commands() -> list[str]:
    found = []
    for name in COMMANDS:
        command = areabox.get_command(click.Context(areabox), name)
        inner = list(command.commands) if isinstance(command, click.Group) else [""]
        found += [f"{name} {sub}".strip() for sub in inner]
    return found


@pytest.mark.parametrize("command", _commands())
def test_every_command_stands_in_the_documents(command):
    assert f"`areabox {command}" in _documents()


@pytest.mark.parametrize("setting", known())
def test_every_setting_stands_in_the_documents(setting):
    assert f"`{setting}`" in _documents()


def test_every_operation_stands_in_the_documents():
    from areabox.services.catalogue import Catalogue

    documents = _documents()
    operations = [
        operation.id
        for service in Catalogue.discover(None).services()
        for operation in (*service.actions.values(), *service.reactions.values())
    ]
    assert operations
    assert [id for id in operations if f"`{id}`" not in documents and f"`{id}:" not in documents] == []


def test_links_between_documents_lead_somewhere():
    link = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    links = [(page, target) for page in pages for target in link.findall(page.read_text(encoding="utf-8"))]
    assert [f"{_name(page)}: {target}" for page, target in links if not (page.parent / target).exists()] == []


def test_the_decisions_are_numbered_without_gaps():
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
