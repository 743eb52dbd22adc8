"""The command line in this process, against a small API whose answers a test decides."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from areabox.cli.main import run
from areabox.deployment.local import LOCAL


class Result(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class FakeApi:
    """An ASGI application that answers from a table, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[dict[str, Any]] = []
        self.opened: list[str] = []
        self.worker = self

    async def run(self, *, slots: int) -> None:
        """Work until cancelled, as the worker does."""
        await asyncio.Event().wait()

    def on(self, request: str, answer: Any, status: int = 200) -> None:
        """Answer `GET /areas` (or the like) so."""
        method, _, path = request.partition(" ")
        self.answers[f"{method} /api/v1{path}"] = (status, answer)

    async def asgi(self, scope, receive, send) -> None:
        body = (await receive()).get("body", b"")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append(
            {
                "request": f"{scope['method']} {scope['path']}",
                "query": scope["query_string"].decode(),
                "body": json.loads(body) if body else None,
                "headers": headers,
                "local": scope.get("state", {}).get(LOCAL, False),
            }
        )
        missing = (404, {"title": "Not Found", "detail": f"there is no {scope['path']}"})
        status, answer = self.answers.get(f"{scope['method']} {scope['path']}", missing)
        if isinstance(answer, dict) and headers.get("accept") in answer:
            answer = answer[headers["accept"]]
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": content if answer is not None else b""})

    @property
    def last(self) -> dict[str, Any]:
        return self.asked[-1]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """The API that commands reach in this process, in place of the composition root."""
    fake = FakeApi()
    module = ModuleType("areabox.app")

    @asynccontextmanager
    async def open_app(settings, *, role):
        fake.opened.append(role)
        yield fake

    module.open_app = open_app
    monkeypatch.setitem(__import__("sys").modules, "areabox.app", module)
    return fake


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory of its own, and an environment in which nothing else is found."""
    for name in list(__import__("os").environ):
        if name.startswith("AREABOX_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("AREABOX_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def areabox(data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run a command line and return its `Result`."""

    def call(*arguments: str, stdin: str = "") -> Result:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = run(list(arguments))
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return call
