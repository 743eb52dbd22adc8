"""What follows from each kind of error: again, later, never, or a person has to say."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areabox.areas.model import Retry
from areabox.errors import (
    AuthExpired,
    ConnectorError,
    MissingScope,
    Permanent,
    RateLimited,
    Skip,
    Transient,
    Uncertain,
)
from areabox.reactions.outcome import Failed, Held, Outcome, Skipped
from areabox.reactions.outcome import Retry as Again
from areabox.reactions.outcome import Uncertain as Unknown
from areabox.reactions.retry import RETRY_AFTER_MAX_MS, judge, pause_ms

EFFECTS = ["read", "idempotent", "keyed", "lookup", "once"]


def judged(
    error: ConnectorError, *, attempt: int = 1, attempts: int = 5, effect: str = "keyed", connection: str | None = "c"
) -> Outcome:
    return judge(
        error, attempt=attempt, policy=Retry(attempts=attempts), effect=effect, connection=connection,
        uniform=lambda low, high: high, input={"i": 1},
    )  # fmt: skip


@pytest.mark.parametrize("effect", EFFECTS)
def test_what_did_not_reach_the_service_is_tried_again_whatever_its_effect(effect: str) -> None:
    assert judged(Transient("down"), effect=effect) == Again("down", 10_000, "transient", {"i": 1})


@pytest.mark.parametrize("effect", EFFECTS)
def test_what_may_have_happened_is_tried_again_only_where_that_is_safe(effect: str) -> None:
    found = judged(Uncertain("no answer"), effect=effect)
    assert isinstance(found, Unknown if effect == "once" else Again)


def test_the_last_attempt_fails_and_says_how_many_there_were() -> None:
    assert judged(Transient("down"), attempt=5) == Failed("down (tried 5 times)", "transient", {"i": 1})
    assert judged(Transient("down"), attempts=1) == Failed("down", "transient", {"i": 1})
    assert isinstance(judged(Transient("down"), attempt=9), Failed)


@pytest.mark.parametrize("error", [AuthExpired("old"), MissingScope("more", ("a",))])
def test_a_dead_connection_holds_the_job_and_without_one_it_fails(error: ConnectorError) -> None:
    assert isinstance(judged(error, attempt=99), Held)
    found = judged(error, connection=None)
    assert isinstance(found, Failed)
    assert found.kind == "auth"


def test_what_is_refused_for_good_fails_and_nothing_to_do_is_no_failure() -> None:
    assert judged(Permanent("no")) == Failed("no", "permanent", {"i": 1})
    assert judged(ConnectorError("odd")) == Failed("odd", "permanent", {"i": 1})
    assert judged(Skip("nothing")) == Skipped("nothing", {"i": 1})


def test_an_error_without_words_says_its_name() -> None:
    assert judged(Permanent()) == Failed("Permanent", "permanent", {"i": 1})


@pytest.mark.parametrize("pause_s", [math.inf, 1e300, math.nan, -5.0, -math.inf])
def test_a_pause_that_is_none_ends_no_run(pause_s: float) -> None:
    found = judged(RateLimited("slow down", pause_s))
    assert isinstance(found, Again)
    assert 0 <= found.after_ms <= RETRY_AFTER_MAX_MS


def test_pauses_double_up_to_their_bound() -> None:
    policy = Retry(first_ms=10_000, max_ms=60_000)
    assert [pause_ms(attempt, policy, lambda _, high: high) for attempt in (1, 2, 3, 4, 99, 10_000)] == [
        10_000, 20_000, 40_000, 60_000, 60_000, 60_000,
    ]  # fmt: skip


@given(st.integers(1, 200), st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0, 1))
def test_a_pause_is_never_longer_than_it_may_be(attempt: int, first: int, most: int, chance: float) -> None:
    policy: Any = Retry(first_ms=first, max_ms=most)
    assert 0 <= pause_ms(attempt, policy, lambda low, high: low + (high - low) * chance) <= most
