"""Is this password good enough, is it the right one? By argon2id, at most two at once, off the event loop."""

from __future__ import annotations

import asyncio
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from areabox.clock import Clock
from areabox.errors import InputError, Problem

if TYPE_CHECKING:
    from argon2 import PasswordHasher

LENGTH_MIN, LENGTH_MAX = 12, 256
DISTINCT_MIN = 5
AT_ONCE = 2  # a flood of logins must not take a small machine's memory
_WALKS: Final = (
    "01234567890123456789",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjkl",
)


class Cost(NamedTuple):
    """What a hash costs; the default is the floor of OWASP ASVS 5.0, appendix C."""

    memory_kib: int = 19 * 1024
    passes: int = 2


# From the cheapest: what each takes, of the time that the first one takes. Two at once stay below 130 MiB.
STEPS: Final = (Cost(), Cost(19 * 1024, 3), Cost(32 * 1024, 3), Cost(46 * 1024, 3), Cost(64 * 1024, 3))
BUDGET_S: Final = 0.25


def affordable(floor_s: float) -> Cost:
    """Return the dearest hash that a machine makes within the budget, where the cheapest takes it `floor_s`."""
    if floor_s <= 0:
        return STEPS[0]
    work = STEPS[0].memory_kib * STEPS[0].passes
    return max(
        (step for step in STEPS if floor_s * step.memory_kib * step.passes / work <= BUDGET_S), default=STEPS[0],
        key=lambda step: step.memory_kib * step.passes,
    )  # fmt: skip


class Passwords:
    """Hashes and verifies, at the floor until it is told what the machine affords."""

    def __init__(self, *, memory_kib: int = STEPS[0].memory_kib, passes: int = STEPS[0].passes) -> None:
        self._memory_kib, self._passes = memory_kib, passes
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._made: PasswordHasher | None = None
        self._decoy: str | None = None

    @property
    def _hasher(self) -> PasswordHasher:
        if self._made is None:
            from argon2 import PasswordHasher

            self._made = PasswordHasher(time_cost=self._passes, memory_cost=self._memory_kib, parallelism=1)
        return self._made

    async def calibrate(self, clock: Clock) -> Cost:
        """Measure the machine, the better of two tries, and use and return what it affords."""
        taken = []
        for _ in range(2):
            begun_s = clock.monotonic_s()
            await self.hash("a password of the usual length")
            taken.append(clock.monotonic_s() - begun_s)
        cost = affordable(min(taken))
        self.use(cost)
        return cost

    def use(self, cost: Cost) -> None:
        """Make new hashes at this cost; older ones are made anew when their owner signs in."""
        self._memory_kib, self._passes = cost
        self._made = self._decoy = None

    async def hash(self, password: str) -> str:
        """Return the encoded hash of a password."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Return whether it is the password; an account without one takes as long as a wrong one."""
        if self._decoy is None:
            self._decoy = await self.hash("nobody's password")
        async with self._slots:
            fits = await asyncio.to_thread(self._fits, encoded or self._decoy, password[:LENGTH_MAX])
        return fits and encoded is not None

    def _fits(self, encoded: str, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        try:
            return self._hasher.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return False

    def outdated(self, encoded: str) -> bool:
        """Return whether a hash was made with other parameters than new ones are."""
        return self._hasher.check_needs_rehash(encoded)


def check(password: str, email: str = "") -> None:
    """Raise InputError unless a password is long enough and not among the first that are guessed."""
    reason = _weakness(password, email)
    if reason:
        raise InputError(f"the password {reason}", [Problem("/password", reason)])


def _weakness(password: str, email: str) -> str:
    if len(password) < LENGTH_MIN:
        return f"needs at least {LENGTH_MIN} characters; four words are good"
    if len(password) > LENGTH_MAX:
        return f"may have at most {LENGTH_MAX} characters"
    plain = password.lower()
    name = email.partition("@")[0].lower()
    stem = re.sub(r"[\d\W_]+$", "", plain)
    if plain in common() or len(set(plain)) < DISTINCT_MIN or any(plain in walk for walk in _WALKS):
        return "is among the first that are guessed"
    if re.fullmatch(r"(.{1,6})\1+", plain):
        return "repeats itself"
    if stem in {"areabox", name, email.lower()} and stem:
        return "is made of a name that anybody knows"
    return ""


@cache
def common() -> frozenset[str]:
    """Return passwords that are guessed first, in lower case."""
    lines = Path(__file__).with_name("common.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))
