"""Codes of authenticators and recovery codes."""

from __future__ import annotations

import pytest

from areabox.users import codes

SECRET = b"12345678901234567890"  # of RFC 6238, appendix B


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_standard(seconds: int, expected: str) -> None:
    assert codes.code(SECRET, seconds * 1000 // codes.STEP_MS) == expected


@pytest.mark.parametrize(("skew_s", "fits"), [(-61, False), (-30, True), (0, True), (30, True), (61, False)])
def test_a_clock_may_be_one_step_off(skew_s: int, fits: bool) -> None:
    now = 1_700_000_010_000
    given = codes.code(SECRET, (now + skew_s * 1000) // codes.STEP_MS)
    assert (codes.fitting_step(SECRET, given, now) is not None) == fits


def test_a_step_that_was_taken_is_not_taken_again() -> None:
    now = 1_700_000_010_000
    step = now // codes.STEP_MS
    assert codes.fitting_step(SECRET, codes.code(SECRET, step), now, after=step) is None
    assert codes.fitting_step(SECRET, codes.code(SECRET, step - 1), now, after=step) is None
    assert codes.fitting_step(SECRET, codes.code(SECRET, step + 1), now, after=step) == step + 1


@pytest.mark.parametrize("given", ["287 082", "287-082", " 287082 "])
def test_a_code_may_be_typed_as_it_is_shown(given: str) -> None:
    assert codes.fitting_step(SECRET, given, 59_000) is not None


@pytest.mark.parametrize("given", ["", "28708", "2870821", "٢٨٧٠٨٢", "abcdef"])
def test_what_is_no_code_is_refused(given: str) -> None:
    assert codes.fitting_step(SECRET, given, 59_000) is None


def test_the_picture_says_whose_it_is() -> None:
    text = codes.address(SECRET, "a&b@example.org")
    assert text.startswith("otpauth://totp/areabox%3Aa%26b%40example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=areabox")


def test_recovery_codes_are_long_and_typed_as_one_likes() -> None:
    text = codes.recovery_code(bytes(range(10)))
    assert len(text) == 19
    assert codes.recovery_hash(text.upper().replace("-", " ")) == codes.recovery_hash(text)
    assert codes.recovery_code(b"\xff" * 10) != text
