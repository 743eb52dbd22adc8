"""What an error means for an attempt: again, later, never, or nobody knows. Decisions only, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from areabox.errors import AuthExpired, ConnectorError, RateLimited, Skip, Transient, Uncertain
from areabox.reactions import outcome
from areabox.reactions.outcome import Outcome

RETRY_AFTER_MAX_MS = 24 * 3_600_000
Uniform = Callable[[float, float], float]


class Policy(Protocol):
    """How often, and how far apart, a failed attempt is repeated."""

    @property
    def attempts(self) -> int:
        """Return the number of attempts in all."""
        ...

    @property
    def first_ms(self) -> int:
        """Return the bound of the first pause."""
        ...

    @property
    def max_ms(self) -> int:
        """Return the bound of every pause."""
        ...


def judge(
    error: ConnectorError,
    *,
    attempt: int,
    policy: Policy,
    effect: str,
    connection: str | None,
    uniform: Uniform,
    input: Any,
) -> Outcome:
    """Decide what follows from an error of the `attempt`-th try (from 1) of a reaction with this effect."""
    message = str(error) or type(error).__name__
    match error:
        case Skip():
            return outcome.Skipped(message, input)
        case AuthExpired() if connection is not None:
            return outcome.Held(message, connection, input)
        case Uncertain() if effect == "once":
            return outcome.Uncertain(message, input)
        case Transient() | Uncertain():
            return _again(error, message, attempt, policy, uniform, input)
        case _:
            return outcome.Failed(message, "auth" if isinstance(error, AuthExpired) else "permanent", input)


def _again(error: ConnectorError, message: str, attempt: int, policy: Policy, uniform: Uniform, input: Any) -> Outcome:
    if attempt >= policy.attempts:
        tries = f" (tried {attempt} times)" if attempt > 1 else ""
        return outcome.Failed(f"{message}{tries}", "transient", input)
    if isinstance(error, RateLimited) and (error.retry_after_s or 0) > 0:  # 0, or a date in the past, says nothing
        pause_s = min(error.retry_after_s or 0, RETRY_AFTER_MAX_MS / 1000)
        return outcome.Retry(message, int(pause_s * 1000), "rate_limited", input)
    return outcome.Retry(message, pause_ms(attempt, policy, uniform), "transient", input)


def pause_ms(attempt: int, policy: Policy, uniform: Uniform) -> int:
    """Return the pause after the `attempt`-th try: exponential, with full jitter (a random part of the bound)."""
    bound = min(policy.first_ms * 2.0 ** min(attempt - 1, 40), policy.max_ms)
    return int(uniform(0.0, bound))
