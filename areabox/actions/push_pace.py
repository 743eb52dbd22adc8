"""How long until a source that delivers is polled, doubted, renewed or asked again? No I/O."""

from __future__ import annotations

from areabox.errors import AreaboxError, RateLimited

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
NEVER_MS = 3_650 * DAY_MS
CATCH_UP = 6  # how much slower is polled while deliveries come
CATCH_UP_MS_MAX = 6 * HOUR_MS
GRACE_MS = 5 * MINUTE_MS  # a delivery may be slower than a poll
RENEW_AT = 0.8  # of a subscription's life


def slow_ms(every_ms: int) -> int:
    """Return how long to wait between two polls that only catch up."""
    return max(every_ms, min(every_ms * CATCH_UP, CATCH_UP_MS_MAX))


def grace_ms(remade: int) -> int:
    """Return how long a delivery that is missed may still come; longer where making anew was in vain."""
    return min(GRACE_MS << min(2 * remade, 12), DAY_MS)


def renewal_ms(life_ms: int | None) -> int:
    """Return how long after it was asked for a subscription is renewed."""
    return NEVER_MS if life_ms is None else int(life_ms * RENEW_AT)


def backoff_ms(fails: int, error: AreaboxError) -> int:
    """Return how long a service that failed for the `fails`th time in a row is left alone."""
    wait_ms = min(MINUTE_MS << min(fails - 1, 10), HOUR_MS)
    if isinstance(error, RateLimited) and error.retry_after_s:
        return max(wait_ms, min(int(error.retry_after_s * 1000), DAY_MS))
    return wait_ms
