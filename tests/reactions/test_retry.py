"""What an error means for an attempt."""

from __future__ import annotations

import pytest

from areabox.areas.model import Retry as Policy
from areabox.errors import RateLimited
from areabox.reactions import outcome
from areabox.reactions.retry import judge


def judged(error: RateLimited) -> outcome.Outcome:
    return judge(
        error, attempt=1, policy=Policy(), effect="keyed", connection=None, uniform=lambda low, high: high, input=None
    )


@pytest.mark.parametrize("wait_s", [0.0, None])
def test_a_service_that_names_no_pause_is_left_alone_as_after_any_failure(wait_s: float | None) -> None:
    assert judged(RateLimited("too many", wait_s)) == outcome.Retry("too many", 10_000)


@pytest.mark.parametrize(("wait_s", "after_ms"), [(1.5, 1_500), (1e9, 86_400_000)])
def test_a_service_that_names_a_pause_has_it_up_to_a_day(wait_s: float, after_ms: int) -> None:
    assert judged(RateLimited("too many", wait_s)) == outcome.Retry("too many", after_ms, "rate_limited")
