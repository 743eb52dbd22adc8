"""How often a password may be tried."""

from __future__ import annotations

import pytest

from areabox.users.throttle import KEPT_MAX, TRIES, Throttle, TooManyTriesError
from tests.support import FakeClock

EMAIL, FAR, HERE = "owner@example.org", "198.51.100.7", "127.0.0.1"


def tries(throttle: Throttle, count: int, address: str = FAR, email: str = EMAIL) -> int:
    allowed = 0
    for _ in range(count):
        try:
            throttle.take(email, address)
        except TooManyTriesError:
            continue
        allowed += 1
    return allowed


def test_ten_tries_in_a_quarter_of_an_hour(throttle: Throttle) -> None:
    assert tries(throttle, 10_000) == TRIES


def test_then_one_in_thirty_seconds(throttle: Throttle, clock: FakeClock) -> None:
    tries(throttle, 100)
    clock.advance(29_000)
    with pytest.raises(TooManyTriesError, match="wait 1 seconds"):
        throttle.take(EMAIL, FAR)
    clock.advance(1_000)
    assert tries(throttle, 10) == 1


def test_after_a_quiet_quarter_of_an_hour_all_ten_again(throttle: Throttle, clock: FakeClock) -> None:
    tries(throttle, 100)
    clock.advance(901_000)
    assert tries(throttle, 100) == TRIES


def test_an_account_is_protected_against_a_thousand_addresses(throttle: Throttle) -> None:
    allowed = sum(tries(throttle, 10, f"198.51.{n // 250}.{n % 250}") for n in range(1_000))
    assert allowed == TRIES


def test_an_address_is_counted_over_all_accounts(throttle: Throttle) -> None:
    assert sum(tries(throttle, 1, FAR, f"user{n}@example.org") for n in range(100)) == TRIES


def test_a_flood_from_outside_does_not_lock_the_owner_out_at_the_machine(throttle: Throttle) -> None:
    tries(throttle, 1_000)
    throttle.take(EMAIL, HERE)
    throttle.take(EMAIL, "::1")


def test_one_ipv6_network_is_one_address(throttle: Throttle) -> None:
    allowed = sum(tries(throttle, 1, f"2001:db8::{n:x}", f"user{n}@example.org") for n in range(100))
    assert allowed == TRIES


def test_an_ipv4_address_in_ipv6_form_is_the_same_address(throttle: Throttle) -> None:
    assert tries(throttle, 20, "::ffff:198.51.100.7") + tries(throttle, 20, FAR) == TRIES


def test_the_right_password_forgives(throttle: Throttle) -> None:
    tries(throttle, TRIES)
    throttle.forgive(EMAIL, FAR)
    assert tries(throttle, 100) == TRIES


def test_memory_is_bounded(throttle: Throttle) -> None:
    for n in range(KEPT_MAX + 100):
        throttle.take(f"user{n}@example.org", f"2001:db8:{n >> 8:x}:{n & 255:x}::1")
    assert len(throttle._tries) <= KEPT_MAX


def test_it_can_be_switched_off(clock: FakeClock) -> None:
    assert tries(Throttle(clock, on=False), 1_000) == 1_000
