"""How much may somebody ask for? A bucket each, full at first and refilled steadily, for a token, a user, an address.

Whoever is known is counted by name, whoever is not by address. Answers say what is left:

    RateLimit-Policy: "token";q=600;w=60      600 at once, refilled within 60 s
    RateLimit: "token";r=599;t=1              599 left, full again after 1 s

(https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/). An empty bucket is told by 429 and
`Retry-After`. Buckets live in memory; the longest quiet make room.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

import msgspec

from areabox.clock import Clock
from areabox.gateway.problems import RefusedError

BUCKETS_MAX: Final = 10_000


class Policy(msgspec.Struct, frozen=True):
    """So many at once, and within so many seconds so many again."""

    name: str
    quota: int
    window_s: int

    @property
    def per_s(self) -> float:
        """Return how fast a bucket is refilled."""
        return self.quota / self.window_s

    @property
    def header(self) -> str:
        """Return the policy as `RateLimit-Policy` says it."""
        return f'"{self.name}";q={self.quota};w={self.window_s}'


POLICIES: Final = {
    "token": Policy("token", 1_200, 60),  # a program
    "user": Policy("user", 600, 60),  # a person's browser, all its windows together
    "address": Policy("address", 300, 60),  # whoever is not known
    "hook": Policy("hook", 1_000, 100),  # deliveries at one webhook's address
}


REFUSALS: Final = Policy("refusals", 20, 900)  # of one account, that stand in the audit log


class Standing(msgspec.Struct, frozen=True):
    """What is left in a bucket after this request; `wait_s` is until one more is there, 0 if there is."""

    policy: Policy
    left: int
    full_s: int
    wait_s: float

    @property
    def headers(self) -> dict[str, str]:
        """Return what the answer says of it."""
        return {
            "ratelimit-policy": self.policy.header,
            "ratelimit": f'"{self.policy.name}";r={self.left};t={self.full_s}',
        }

    def refusal(self, what: str = "requests") -> RefusedError:
        """Return how an empty bucket is told."""
        wait = str(max(1, math.ceil(self.wait_s)))
        return RefusedError(429, f"too many {what}; wait {wait} s", self.headers | {"retry-after": wait})


class Buckets:
    """The buckets of one policy, by key."""

    def __init__(self, clock: Clock, policy: Policy) -> None:
        self._clock, self.policy, self._per_s, self._quota = clock, policy, policy.per_s, float(policy.quota)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> Standing | None:
        """Take one, or return the standing of a bucket in which there is none."""
        now = self._clock.monotonic_s()
        left, at = self._left.get(key, (self._quota, now))
        left = min(self._quota, left + (now - at) * self._per_s)
        if left < 1.0:
            return self._standing(left)
        self._left[key] = (left - 1.0, now)
        self._left.move_to_end(key)
        if len(self._left) > BUCKETS_MAX:
            self._left.popitem(last=False)
        return None

    def standing(self, key: str) -> Standing:
        """Return what is left in a bucket, without taking of it."""
        now = self._clock.monotonic_s()
        left, at = self._left.get(key, (self._quota, now))
        return self._standing(min(self._quota, left + (now - at) * self._per_s))

    def _standing(self, left: float) -> Standing:
        full_s = math.ceil((self._quota - left) / self._per_s)
        return Standing(self.policy, int(left), full_s, 0.0 if left >= 1.0 else (1.0 - left) / self._per_s)


class Limiter:
    """All buckets of requests; switched off it counts nothing."""

    def __init__(self, clock: Clock, *, on: bool = True) -> None:
        self._on = on
        self._buckets = {name: Buckets(clock, policy) for name, policy in POLICIES.items()}

    def take(self, kind: str, key: str) -> dict[str, str]:
        """Take one and return the headers that say what is left; raises `RefusedError` (429)."""
        if not self._on:
            return {}
        buckets = self._buckets[kind]
        if empty := buckets.take(key):
            raise empty.refusal()
        return buckets.standing(key).headers
