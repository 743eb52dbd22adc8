"""Servers in Python that tests speak to, each in a virtual environment of its own below `.venv-servers` (`.ci/run`)."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
START_S = 30.0


def program(server: str, name: str) -> str:
    """Return where a server's program is; skips the test by its name where it is missing."""
    found = ROOT / ".venv-servers" / server / "bin" / name
    if not found.is_file():
        pytest.skip(f"{server} is not installed")
    return str(found)


def ask(method: str, url: str, body: Any = None, *, token: str = "", form: bool = False) -> Any:
    """Send a request and return the JSON of its answer."""
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    content = None if body is None else urllib.parse.urlencode(body).encode() if form else json.dumps(body).encode()
    headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(urllib.request.Request(url, content, headers, method=method), timeout=30) as answer:
        return json.loads(answer.read() or b"null")


@contextmanager
def running(*command: str, folder: Path, url: str) -> Iterator[None]:
    """Run a server until it is not needed any more; it is there when `url` answers, whatever it says."""
    log = folder / "output.log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + START_S
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except urllib.error.HTTPError as error:
                error.close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < end, log.read_text()[-2000:]
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)
