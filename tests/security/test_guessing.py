"""G21: whoever guesses passwords gets ten tries in a quarter of an hour, however he comes, and keeps nobody out."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from typing import Any

import httpx2
import pytest

from areabox.app import App
from areabox.errors import NotAllowedError
from areabox.users.accounts import Account
from areabox.users.throttle import THEN_EVERY_S, TRIES
from tests.faults.daemon import Daemon
from tests.gateway.conftest import PASSWORD, Connect
from tests.security.figures import figure
from tests.support import FULL, FakeClock, any_machine

GUESSES, ADDRESSES = (10_000, 1_000) if FULL else (500, 50)
MEMORY_KIB = 130 * 1024
OWNER = "owner@example.org"


@pytest.fixture
def looked_at(app: App, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the guesses that were compared with a password; comparing itself is left out, being slow on purpose."""
    seen: list[str] = []
    hasher = app.accounts._passwords
    real = hasher.verify

    async def verify(encoded: str | None, given: str) -> bool:
        seen.append(given)
        return await real(encoded, given) if given == PASSWORD else False

    monkeypatch.setattr(hasher, "verify", verify)
    return seen


def forged(n: int) -> dict[str, str]:
    """Return headers by which a client claims to be another one."""
    address = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
    return {"X-Forwarded-For": address, "X-Real-IP": address, "Forwarded": f"for={address}", "X-Client-IP": address, "CF-Connecting-IP": address}


async def guess(client: httpx2.AsyncClient, n: int, email: str = OWNER) -> int:
    data = {"email": email, "password": f"guess number {n}"}
    return (await client.post("/login", data=data, headers={**forged(n), "Sec-Fetch-Site": "same-origin"})).status_code


async def enters(connect: Connect, address: str) -> bool:
    data = {"email": OWNER, "password": PASSWORD}
    answer = await connect(address=address).post("/login", data=data, headers={"Sec-Fetch-Site": "same-origin"})
    return answer.status_code == 303 and "set-cookie" in answer.headers


async def test_one_address_gets_ten_tries_whatever_it_claims_to_be(connect: Connect, looked_at: list[str], accounts: dict[str, Account]) -> None:
    client = connect()
    told = Counter([await guess(client, n) for n in range(GUESSES)])
    assert len(looked_at) == TRIES
    assert told == {422: TRIES, 429: GUESSES - TRIES}
    assert await enters(connect, "127.0.0.1"), "its owner gets in at the machine"


async def test_a_thousand_addresses_get_ten_tries_at_an_account_together(connect: Connect, looked_at: list[str], accounts: dict[str, Account], clock: FakeClock) -> None:
    clients = [connect(address=f"198.51.{n >> 8}.{n & 255}") for n in range(ADDRESSES)]
    for n in range(GUESSES):
        await guess(clients[n % ADDRESSES], n)
    assert len(looked_at) == TRIES
    clock.advance(int(THEN_EVERY_S * 1000))
    for n in range(ADDRESSES):
        await guess(clients[n], n)
    assert len(looked_at) == TRIES + 1, "then one in thirty seconds"
    assert await enters(connect, "127.0.0.1")
    figure("G21", f"{GUESSES} guesses from 1 and from {ADDRESSES} addresses with forged headers: {TRIES} looked at, the owner got in")


async def test_an_address_gets_ten_tries_over_all_accounts(connect: Connect, looked_at: list[str], accounts: dict[str, Account]) -> None:
    client = connect()
    for n in range(100):
        await guess(client, n, email=f"somebody{n}@example.org")
    assert len(looked_at) == TRIES


async def test_the_api_for_the_own_password_is_no_second_door(connect: Connect, looked_at: list[str], tokens: dict[str, str], app: App, accounts: dict[str, Account]) -> None:
    value = await app.sessions.start(accounts["owner"])
    client = connect(Cookie=f"areabox={value}", Sec_Fetch_Site="same-origin")
    for n in range(50):
        await client.put("/api/v1/me/password", json={"current": f"guess {n}", "password": "another good password"}, headers=forged(n))
    assert len(looked_at) == TRIES


@pytest.mark.filterwarnings("ignore")
async def test_an_account_that_is_not_there_takes_as_long(app: App, accounts: dict[str, Account], clock: FakeClock) -> None:
    """Who has an account here must not be told by the clock."""
    times: dict[str, list[float]] = {OWNER: [], "nobody@example.org": []}
    for n in range(40 if FULL else 8):
        for email, taken in times.items():
            begin = time.perf_counter()
            with pytest.raises(NotAllowedError) as caught:
                await app.accounts.check(email, f"guess {n}", address=f"192.0.2.{n}")
            taken.append(time.perf_counter() - begin)
            assert str(caught.value) == "the e-mail address or the password is wrong"
        clock.advance(901_000)
    known, unknown = (statistics.median(taken) for taken in times.values())
    figure("G21", f"a known account takes {known * 1000:.1f} ms, an unknown one {unknown * 1000:.1f} ms")
    assert abs(known - unknown) / max(known, unknown) < any_machine(0.05)


async def test_a_flood_of_guesses_costs_little_memory(tmp_path: Any) -> None:
    daemon = Daemon(tmp_path, AREABOX_RATE_LIMITS="on", AREABOX_TRUSTED_PROXIES="127.0.0.1/32")
    daemon.own()
    try:
        daemon.start()
        before = daemon.memory_kib()
        async with httpx2.AsyncClient(base_url=daemon.url, timeout=60) as client:

            async def flood(part: int) -> None:
                for n in range(10):
                    place = part * 10 + n
                    headers = {"X-Forwarded-For": f"10.9.9.9, 203.0.{place >> 8}.{place & 255}", "Sec-Fetch-Site": "same-origin"}
                    await client.post("/login", data={"email": f"u{place}@example.org", "password": "guess"}, headers=headers)

            await asyncio.gather(*(flood(part) for part in range(30 if FULL else 6)))
        grown = daemon.memory_kib() - before
        figure("G21", f"a flood of guesses: RSS + {grown / 1024:.0f} MiB")
        assert grown < MEMORY_KIB
    finally:
        daemon.kill()
