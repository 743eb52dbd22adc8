"""Fixtures of the proofs: the whole of areabox as the gateway's tests have it, and the figures at the end."""

from __future__ import annotations

from typing import Any

from tests.gateway.conftest import accounts, app, connect, hello, here, owner, running, tokens  # noqa: F401
from tests.security.figures import SAID


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in SAID:
        terminalreporter.write_line(line)
