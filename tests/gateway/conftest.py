"""Fixtures of the gateway's tests: the whole of areabox on a data directory, and clients that reach it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from areabox.app import App, open_app
from areabox.deployment.local import local
from areabox.deployment.settings import load
from areabox.users.accounts import Account
from tests.support import FakeClock

PASSWORD = "correct horse battery"
ROLES = ("owner", "admin", "editor", "viewer")
Connect = Callable[..., httpx2.AsyncClient]

HELLO = """\
area: hello
name: Hello
when:
  - webhook.received: {}
then:
  - store.set: {key: seen, value: "{{ trigger.json | default(none) }}"}
  - return: {seen: "{{ steps.s1.value }}"}
"""


@pytest.fixture
async def app(tmp_path: Path, clock: FakeClock) -> AsyncIterator[App]:
    settings = load({"data_dir": str(tmp_path / "data")}, {})
    settings.data_dir.mkdir()
    async with open_app(settings, role="cli", clock=clock) as opened:
        yield opened
        await opened.asgi.drain()  # type: ignore[attr-defined]


@pytest.fixture
async def running(app: App) -> App:
    await app.start()
    return app


@pytest.fixture
async def connect(app: App) -> AsyncIterator[Connect]:
    """Return a function that makes a client: of a token, from an address, with headers."""
    opened: list[httpx2.AsyncClient] = []

    def make(token: str = "", *, address: str = "198.51.100.7", host: str = "localhost", **headers: str) -> Any:
        given = {"Authorization": f"Bearer {token}"} if token else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        transport = httpx2.ASGITransport(app=app.asgi, client=(address, 4711), raise_app_exceptions=False)
        opened.append(httpx2.AsyncClient(base_url=f"http://{host}", transport=transport, headers=given))
        return opened[-1]

    yield make
    for client in opened:
        await client.aclose()


@pytest.fixture
async def here(app: App) -> AsyncIterator[httpx2.AsyncClient]:
    """Return a client that may open the data directory."""
    async with httpx2.AsyncClient(
        base_url="http://localhost", transport=httpx2.ASGITransport(app=local(app.asgi), raise_app_exceptions=False)
    ) as client:
        yield client


@pytest.fixture
async def accounts(app: App) -> dict[str, Account]:
    """Return an account of every role, by the role."""
    await app.accounts.create("owner@example.org", PASSWORD, "owner")
    for role in ROLES[1:]:
        await app.accounts.create(f"{role}@example.org", None, role)
    return {role: await app.accounts.get(f"{role}@example.org") for role in ROLES}


@pytest.fixture
async def tokens(app: App, accounts: dict[str, Account]) -> dict[str, str]:
    """Return a token of every role with all its rights, by the role."""
    made = {}
    for role, account in accounts.items():
        _, made[role] = await app.tokens.create(account.id, account.email, role, ["all"])
    return made


@pytest.fixture
def owner(connect: Connect, tokens: dict[str, str]) -> httpx2.AsyncClient:
    return connect(tokens["owner"])


@pytest.fixture
async def hello(owner: httpx2.AsyncClient) -> dict[str, Any]:
    """Return an area that the owner has."""
    answer = await owner.post("/api/v1/areas", content=HELLO, headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found
