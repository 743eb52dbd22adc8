"""How much somebody may ask for, and what the answers say of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from areabox.app import App, open_app
from areabox.deployment.settings import load
from areabox.gateway import limits
from areabox.gateway.limits import BUCKETS_MAX, POLICIES, Buckets, Limiter, Policy
from areabox.gateway.problems import RefusedError
from areabox.users.throttle import network_of
from tests.gateway.conftest import Connect
from tests.support import FakeClock

FEW = Policy("few", 3, 30)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everybody ask three times."""
    monkeypatch.setattr(limits, "POLICIES", {name: Policy(name, 3, 30) for name in POLICIES})


def test_a_bucket_is_full_at_first_and_refilled_steadily(clock: FakeClock) -> None:
    buckets = Buckets(clock, FEW)
    assert [buckets.take("a") is None for _ in range(5)] == [True, True, True, False, False]
    assert buckets.take("b") is None, "another has a bucket of its own"
    clock.advance(9_999)
    standing = buckets.take("a")
    assert standing is not None
    assert standing.headers == {"ratelimit-policy": '"few";q=3;w=30', "ratelimit": '"few";r=0;t=21'}
    clock.advance(1)
    assert buckets.take("a") is None
    clock.advance(1_000_000)
    assert buckets.standing("a").left == 3


def test_an_empty_bucket_says_when_to_come_again(clock: FakeClock) -> None:
    limiter = Limiter(clock)
    for _ in range(POLICIES["address"].quota):
        limiter.take("address", "192.0.2.1")
    with pytest.raises(RefusedError, match="too many requests; wait 1 s") as caught:
        limiter.take("address", "192.0.2.1")
    assert caught.value.status == 429
    assert caught.value.headers["retry-after"] == "1"


def test_memory_is_bounded(clock: FakeClock) -> None:
    buckets = Buckets(clock, FEW)
    for n in range(BUCKETS_MAX + 100):
        buckets.take(str(n))
    assert len(buckets._left) == BUCKETS_MAX


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("testclient", "testclient")],
)
def test_one_household_is_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.usefixtures("few")
async def test_a_token_is_told_what_is_left(owner: httpx2.AsyncClient, connect: Connect, tokens: dict[str, str]) -> None:
    answers = [await owner.get("/api/v1/me") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit"] for answer in answers] == ['"token";r=2;t=10', '"token";r=1;t=20', '"token";r=0;t=30', '"token";r=0;t=30']
    assert answers[3].headers["retry-after"] == "10"
    assert answers[3].json()["retry_after"] == 10
    assert answers[3].headers["ratelimit-policy"] == '"token";q=3;w=30'
    assert (await connect(tokens["viewer"]).get("/api/v1/me")).status_code == 200, "another token is another bucket"


@pytest.mark.usefixtures("few")
async def test_guessing_tokens_empties_the_bucket_of_the_address(connect: Connect, tokens: dict[str, str]) -> None:
    client = connect("abx_12345678_" + "x" * 49)
    assert [(await client.get("/api/v1/me")).status_code for _ in range(5)] == [401, 401, 401, 429, 429]
    assert (await connect(tokens["owner"]).get("/api/v1/me")).status_code == 200


@pytest.mark.usefixtures("few")
async def test_forged_forwarding_headers_do_not_help(connect: Connect, tokens: dict[str, str]) -> None:
    codes = [(await connect(X_Forwarded_For=f"192.0.2.{n}").get("/api/v1/me")).status_code for n in range(5)]
    assert codes == [401, 401, 401, 429, 429]


@pytest.mark.usefixtures("few")
async def test_the_machine_itself_is_not_counted(here: httpx2.AsyncClient, accounts: Any) -> None:
    assert {(await here.get("/api/v1/me")).status_code for _ in range(10)} == {200}


@pytest.mark.usefixtures("few")
async def test_open_addresses_are_for_machines_and_not_counted(connect: Connect) -> None:
    assert {(await connect().get("/about.json")).status_code for _ in range(10)} == {200}


@pytest.fixture
async def unlimited(tmp_path: Path, clock: FakeClock) -> AsyncIterator[App]:
    settings = load({"data_dir": str(tmp_path / "free"), "rate_limits": "off"}, {})
    settings.data_dir.mkdir()
    async with open_app(settings, role="cli", clock=clock) as opened:
        yield opened
        await opened.asgi.drain()


@pytest.mark.usefixtures("few")
async def test_all_can_be_switched_off(unlimited: App) -> None:
    transport = httpx2.ASGITransport(app=unlimited.asgi, client=("192.0.2.1", 1))
    async with httpx2.AsyncClient(base_url="http://localhost", transport=transport) as client:
        answers = [await client.get("/api/v1/me") for _ in range(10)]
    assert {answer.status_code for answer in answers} == {401}
    assert "ratelimit" not in answers[0].headers
