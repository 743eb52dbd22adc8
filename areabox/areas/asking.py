"""Where is a question answered from outside? At an address that opens this question only, once, while it waits.

The address holds the run and a signature of the run and the step's path by a key of the vault. So nothing is stored,
nothing can be guessed, and its meaning ends with the job that waits. Whoever knows the address may answer.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from areabox.areas.model import Ask, Do
from areabox.areas.registry import Registry
from areabox.areas.state import instant
from areabox.clock import Clock
from areabox.database import Backend
from areabox.errors import ConflictError, NotFoundError
from areabox.reactions import queue
from areabox.reactions.queue import Job

PURPOSE = "run|answer"
_OVER = "this question is answered already, its time is over, or the link is not whole"
_MAC_BYTES = 16


class Keys(Protocol):
    """Whoever derives keys."""

    def keys(self, purpose: str) -> Sequence[bytes]:
        """Return the keys of a purpose, the one to sign with first."""
        ...


class Operation(Protocol):
    """What must be known of a reaction."""

    @property
    def answered_by(self) -> str:
        """Return the action that tells which button was pressed; empty where buttons open a link."""
        ...


class Catalogue(Protocol):
    """Which reactions there are."""

    def reaction(self, name: str, /) -> Operation | None:
        """Return the reaction of that id."""
        ...


class Question(msgspec.Struct, frozen=True):
    """A question that waits, as its link shows it."""

    run: str
    path: str
    area: str
    question: str
    choices: tuple[str, ...]
    job: Job


class Asking:
    """The questions that may be answered from outside."""

    def __init__(
        self, backend: Backend, clock: Clock, registry: Registry, catalogue: Catalogue, vault: Keys, base_url: str
    ) -> None:
        self._backend, self._clock, self._registry, self._catalogue = backend, clock, registry, catalogue
        self._vault, self._base_url = vault, base_url
        self.wake: Callable[..., Awaitable[bool]] | None = None

    def url(self, run_id: str, path: str) -> str:
        """Return where the question of a step is answered."""
        return f"{self._base_url}/answer/{run_id}.{_mac(self._vault.keys(PURPOSE)[0], run_id, path)}"

    async def find(self, token: str) -> Question:
        """Return the question of a link; raises NotFoundError where none waits."""
        run_id, _, mac = token.partition(".")
        for job in await queue.of_run(self._backend, run_id) if mac else ():
            if job.kind == "ask" and job.state == "waiting" and self._signed(mac, run_id, job.path):
                head = self._registry.heads.get(job.area)
                memory = job.input or {}
                return Question(
                    run_id, job.path, head.name or head.slug if head is not None else "", str(memory["question"]),
                    tuple(memory["choices"]), job,
                )  # fmt: skip
        raise NotFoundError(_OVER)

    async def answer(self, token: str, number: int, by: str) -> tuple[Question, str]:
        """Answer by the choice of a number, from 1 on, and return what was asked and chosen; raises NotFoundError."""
        question = await self.find(token)
        if not 1 <= number <= len(question.choices):
            raise NotFoundError(_OVER)
        given = {"choice": question.choices[number - 1], "by": by, "at": instant(self._clock.now_ms())}
        assert self.wake is not None
        if not await self.wake(question.job, {"answer": given, "asked": question.job.input}):
            raise ConflictError("somebody was faster")
        return question, given["choice"]

    def buttons(self, step: Ask) -> tuple[str, str | None] | None:
        """Return the action that tells which button of a question was pressed, and whose connection; None without."""
        for way in step.via:
            operation = self._catalogue.reaction(way.reaction) if isinstance(way, Do) and not way.disabled else None
            if isinstance(way, Do) and operation is not None and operation.answered_by:
                return operation.answered_by, way.connection
        return None

    def number_in(self, data: str, run_id: str, path: str) -> int | None:
        """Return which choice the data of a button means, None where it is of another question."""
        token, _, number = data.partition("/")
        mac = token.partition(".")[2]
        return int(number) if number.isdecimal() and self._signed(mac, run_id, path) else None

    def _signed(self, mac: str, run_id: str, path: str) -> bool:
        return any(hmac.compare_digest(mac, _mac(key, run_id, path)) for key in self._vault.keys(PURPOSE))


def _mac(key: bytes, run_id: str, path: str) -> str:
    digest = hmac.digest(key, f"{run_id}\n{path}".encode(), "sha256")[:_MAC_BYTES]
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
