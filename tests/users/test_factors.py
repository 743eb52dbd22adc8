"""Second factors: set up, asked for, lost."""

from __future__ import annotations

import asyncio

import pytest

from areabox.database import Backend
from areabox.errors import ConflictError, InputError
from areabox.services.vault import Vault
from areabox.users import codes
from areabox.users.accounts import Account
from areabox.users.factors import Factors
from areabox.users.sessions import Sessions
from tests.support import FakeClock


@pytest.fixture
def factors(backend: Backend, clock: FakeClock) -> Factors:
    return Factors(backend, clock, Vault(clock, {1: b"k" * 32}))


def now(secret: bytes, clock: FakeClock, steps: int = 0) -> str:
    return codes.code(secret, clock.now_ms() // codes.STEP_MS + steps)


async def enrolled(factors: Factors, owner: Account, clock: FakeClock) -> tuple[bytes, list[str]]:
    secret = await factors.begin(owner.id)
    texts = await factors.confirm(owner.id, now(secret, clock))
    clock.advance(60_000)
    return secret, texts


async def test_an_authenticator_counts_once_it_gave_a_code(factors: Factors, owner: Account, clock: FakeClock) -> None:
    secret = await factors.begin(owner.id)
    assert not (await factors.standing(owner.id)).asks
    with pytest.raises(InputError, match="wrong"):
        await factors.confirm(owner.id, "000000")
    with pytest.raises(InputError):
        await factors.check(owner.id, now(secret, clock))
    texts = await factors.confirm(owner.id, now(secret, clock))
    assert len(set(texts)) == 10
    standing = await factors.standing(owner.id)
    assert (standing.totp, standing.recovery, standing.asks) == (True, 10, True)
    with pytest.raises(ConflictError):
        await factors.begin(owner.id)


async def test_a_code_is_taken_once(factors: Factors, owner: Account, clock: FakeClock) -> None:
    secret, _ = await enrolled(factors, owner, clock)
    given = now(secret, clock)
    answers = await asyncio.gather(*(factors.check(owner.id, given) for _ in range(5)), return_exceptions=True)
    assert sorted(map(str, answers)).count("totp") == 1
    with pytest.raises(InputError, match="used before"):
        await factors.check(owner.id, now(secret, clock, -1))
    assert await factors.check(owner.id, now(secret, clock, 1)) == "totp"


async def test_the_code_that_set_it_up_does_not_sign_in(factors: Factors, owner: Account, clock: FakeClock) -> None:
    secret = await factors.begin(owner.id)
    given = now(secret, clock)
    await factors.confirm(owner.id, given)
    with pytest.raises(InputError):
        await factors.check(owner.id, given)


async def test_a_recovery_code_is_taken_once(factors: Factors, owner: Account, clock: FakeClock) -> None:
    _, texts = await enrolled(factors, owner, clock)
    answers = await asyncio.gather(*(factors.check(owner.id, texts[3]) for _ in range(5)), return_exceptions=True)
    assert sum(answer == "recovery" for answer in answers) == 1
    assert (await factors.standing(owner.id)).recovery == 9
    new = await factors.renew_recovery(owner.id)
    with pytest.raises(InputError):
        await factors.check(owner.id, texts[4])
    assert await factors.check(owner.id, new[0].upper()) == "recovery"


async def test_codes_of_another_account_do_not_count(factors: Factors, owner: Account, accounts: object, clock: FakeClock) -> None:
    _, texts = await enrolled(factors, owner, clock)
    with pytest.raises(InputError):
        await factors.check("somebody", texts[0])


async def test_nothing_of_them_lies_open(factors: Factors, owner: Account, clock: FakeClock, backend: Backend) -> None:
    secret, texts = await enrolled(factors, owner, clock)
    rows = str([tuple(row) for row in await backend.read("select * from totp")]) + str(
        [tuple(row) for row in await backend.read("select * from recovery")]
    )
    assert repr(secret)[2:-1] not in rows
    assert not any(text in rows or text.replace("-", "") in rows for text in texts)


async def test_a_reset_forgets_all_and_ends_all_sessions(
    factors: Factors, owner: Account, clock: FakeClock, backend: Backend
) -> None:
    assert not await factors.reset(owner.id)
    secret, texts = await enrolled(factors, owner, clock)
    cookie = await Sessions(backend, clock).start(owner)
    assert await factors.reset(owner.id)
    assert not (await factors.standing(owner.id)).asks
    assert await Sessions(backend, clock).find(cookie) is None
    for given in (now(secret, clock), texts[0]):
        with pytest.raises(InputError):
            await factors.check(owner.id, given)


async def test_without_any_factor_recovery_codes_are_gone(factors: Factors, owner: Account, clock: FakeClock) -> None:
    await enrolled(factors, owner, clock)
    await factors.remove_totp(owner.id)
    assert (await factors.standing(owner.id)).recovery == 0
