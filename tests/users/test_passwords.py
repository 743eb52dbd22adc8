"""Passwords: which are good enough, and which is the right one."""

from __future__ import annotations

import asyncio
import threading

import pytest

from areabox.errors import InputError
from areabox.users.passwords import AT_ONCE, Cost, Passwords, affordable, check


@pytest.mark.parametrize(
    "weak",
    [
        "short",
        "elevenchars",
        "x" * 257,
        "aaaaaaaaaaaaaaaa",
        "abcabcabcabcabc",
        "passwordpassword",
        "password1234",
        "qwertyuiopas",
        "123456789012",
        "areabox2026!!",
        "gardener12345",
        "Q1W2E3R4T5Y6",
    ],
)
def test_weak_passwords_are_refused(weak: str) -> None:
    with pytest.raises(InputError):
        check(weak, "gardener@example.org")


@pytest.mark.parametrize("good", ["correct horse battery", "ünïcödé is fine too", "x9!kd82mfq0zl", "a b c d e f g h"])
def test_long_unguessable_ones_are_taken_as_they_are(good: str) -> None:
    check(good, "gardener@example.org")


async def test_only_the_password_fits_its_hash() -> None:
    passwords = Passwords(memory_kib=64, passes=1)
    encoded = await passwords.hash("correct horse battery")
    assert encoded.startswith("$argon2id$")
    assert await passwords.verify(encoded, "correct horse battery")
    assert not await passwords.verify(encoded, "correct horse batterz")
    assert not await passwords.verify("not a hash", "correct horse battery")


async def test_an_account_without_a_password_cannot_be_entered_even_with_the_decoys_one() -> None:
    assert not await Passwords(memory_kib=64, passes=1).verify(None, "nobody's password")


async def test_a_hash_with_other_parameters_is_outdated() -> None:
    old = await Passwords(memory_kib=64, passes=1).hash("correct horse battery")
    assert Passwords(memory_kib=128, passes=1).outdated(old)
    assert not Passwords(memory_kib=64, passes=1).outdated(old)


async def test_at_most_two_are_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(memory_kib=64, passes=1)
    running, most = 0, 0
    lock = threading.Lock()
    fits = passwords._fits

    def counted(encoded: str, password: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return fits(encoded, password)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(passwords, "_fits", counted)
    encoded = await passwords.hash("correct horse battery")
    await asyncio.gather(*(passwords.verify(encoded, "wrong") for _ in range(20)))
    assert most <= AT_ONCE


@pytest.mark.parametrize(
    ("floor_s", "memory_mib", "passes"), [(0.0, 19, 2), (0.5, 19, 2), (0.09, 32, 3), (0.04, 64, 3), (0.001, 64, 3), (0.16, 19, 3)]
)
def test_a_hash_is_as_dear_as_the_machine_affords(floor_s: float, memory_mib: int, passes: int) -> None:
    cost = affordable(floor_s)
    assert (cost.memory_kib // 1024, cost.passes) == (memory_mib, passes)
    work = cost.memory_kib * cost.passes / (19 * 1024 * 2)
    assert floor_s * work <= 0.25 or cost == Cost()
