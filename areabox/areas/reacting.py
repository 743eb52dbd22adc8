"""One attempt at a reaction: render its parameters, call the service, and judge what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

from areabox.areas.model import Do
from areabox.areas.outline import Node
from areabox.areas.registry import Registry
from areabox.areas.state import Change, RunState
from areabox.areas.template import EvaluationError
from areabox.areas.view import View
from areabox.clock import Clock
from areabox.errors import ConnectorError, InputError, Transient, Uncertain
from areabox.reactions import outcome as ends
from areabox.reactions.outcome import Outcome
from areabox.reactions.queue import Job
from areabox.reactions.retry import judge
from areabox.services.accounts import literal_hosts, typed_hosts
from areabox.services.forms import FormField
from areabox.services.limits import HostPaused

PAUSE_S = 10.0  # until a paused host is looked at again, if it did not say
SAFE_EFFECTS = frozenset({"read", "idempotent", "keyed", "lookup"})


class Operation(Protocol):
    """What must be known of a reaction."""

    @property
    def service(self) -> str:
        """Return the id of its service."""
        ...

    @property
    def sample(self) -> Any:
        """Return a result as it may look."""
        ...

    @property
    def fields(self) -> Mapping[str, FormField]:
        """Return its parameters by name."""
        ...

    @property
    def needs_connection(self) -> bool:
        """Tell whether it does nothing without a connection."""
        ...

    def effect_of(self, params: dict[str, Any]) -> str:
        """Return `read`, `idempotent`, `keyed` or `once`."""
        ...

    def starred(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return parameters as they may be kept and shown, without secrets."""
        ...

    def sentence_of(self, params: dict[str, Any]) -> str:
        """Return what it does with these parameters, in words."""
        ...


class Catalogue(Protocol):
    """Which reactions there are."""

    def reaction(self, name: str) -> Operation | None:
        """Return the reaction of that id."""
        ...


class Services(Protocol):
    """The third parties."""

    async def react(
        self, reaction_id: str, params: dict[str, Any], *, owner: str, connection: str | None, key: str, attempt: int,
        timeout_s: float, hosts_literal: frozenset[str],
    ) -> Any:  # fmt: skip
        """Do it; raises ConnectorError."""
        ...


class Connections(Protocol):
    """The owner's accounts at services."""

    async def resolve(self, owner: str, service: str, name: str | None) -> str | None:
        """Return the id of the connection that is meant; raises InputError if none or several fit."""
        ...


class Reacting:
    """Performs reactions."""

    def __init__(
        self, clock: Clock, catalogue: Catalogue, services: Services, connections: Connections, registry: Registry
    ) -> None:
        self._clock, self._catalogue, self._registry = clock, catalogue, registry
        self._services, self._connections = services, connections

    async def react(self, run: RunState, job: Job) -> Outcome:
        """Try a reaction once."""
        node, prefix = run.outline.locate(job.path)
        step = node.step
        assert isinstance(step, Do)
        if isinstance(job.input, dict) and "resolve" in job.input and job.input["resolve"] != "retry":
            return _resolved(job.input)
        operation = self._catalogue.reaction(step.reaction)
        if operation is None:
            return ends.Failed(f"there is no reaction {step.reaction} any more; is its connector still installed?")
        try:
            params = self._params(run, step, node, prefix, operation)
        except (EvaluationError, InputError) as error:
            return ends.Failed(str(error), "expression")
        effect = operation.effect_of(params)
        if run.dry and effect != "read":
            shown = operation.starred(params)
            return ends.Done(operation.sample, shown, f"would {operation.sentence_of(shown)}")
        return await self._call(run, job, step, operation, params, effect)

    def _params(self, run: RunState, step: Do, node: Node, prefix: str, operation: Operation) -> Any:
        """Return the parameters filled in; what carries a question is told it, unless the document says it itself."""
        view = View(run, Change(), self._clock.now_ms())
        params = view.render(step.params, node, prefix)
        if node.block.role != "via":
            return params
        asked = view.names(node, prefix)["ask"]
        return {name: asked[name] for name in ("question", "choices") if name in operation.fields} | params

    async def _call(
        self, run: RunState, job: Job, step: Do, operation: Operation, params: dict[str, Any], effect: str
    ) -> Outcome:
        shown = operation.starred(params)  # what is kept of them
        left_ms = min(step.timeout_ms, run.deadline - self._clock.now_ms())
        connection = None
        try:
            if operation.needs_connection or step.connection is not None:
                connection = await self._connections.resolve(run.owner, operation.service, step.connection)
            output = await self._services.react(
                step.reaction, params, owner=run.owner, connection=connection, key=key_of(run.id, job.path),
                attempt=job.attempt, timeout_s=left_ms / 1000, hosts_literal=self._hosts(run, step),
            )  # fmt: skip
        except InputError as error:
            return ends.Failed(str(error), "input", shown)
        except HostPaused as error:  # nothing was tried, so this costs no attempt
            due = self._clock.now_ms() + int((error.retry_after_s or PAUSE_S) * 1000)
            return ends.Parked(None, due, {"paused": str(error)})
        except ConnectorError as error:
            if left_ms < step.timeout_ms and isinstance(error, Transient | Uncertain) and effect in SAFE_EFFECTS:
                return ends.Failed(f"{error} (the run's timeout is over)", "timeout", shown)
            return judge(
                error, attempt=job.attempt, policy=step.retry, effect=effect, connection=connection,
                uniform=self._clock.uniform, input=shown,
            )  # fmt: skip
        return ends.Done(output, shown)

    def repeatable(self, run: RunState, job: Job) -> bool:
        """Tell whether an attempt whose end is unknown may be repeated."""
        node, prefix = run.outline.locate(job.path)
        operation = self._catalogue.reaction(node.step.reaction) if isinstance(node.step, Do) else None
        if operation is None or not isinstance(node.step, Do):
            return True
        try:
            params = self._params(run, node.step, node, prefix, operation)
        except (EvaluationError, InputError):
            return True  # it cannot have been sent
        return operation.effect_of(params) in SAFE_EFFECTS

    def _hosts(self, run: RunState, step: Do) -> frozenset[str]:
        head = self._registry.heads.get(run.area)
        if head is None or not head.lan:
            return frozenset()
        return run.outline.remember(step.id, lambda: self._typed(step))

    def _typed(self, step: Do) -> frozenset[str]:
        """Return the hosts that were typed in a step, as opposed to those that come out of data."""
        operation, source = self._catalogue.reaction(step.reaction), step.params.source
        found = literal_hosts(source)
        return found | typed_hosts(operation.fields, source) if operation and isinstance(source, dict) else found


def key_of(run_id: str, path: str) -> str:
    """Return the idempotency key of a step: the same on every attempt."""
    return hashlib.blake2b(f"{run_id}:{path}".encode(), digest_size=16).hexdigest()


def _resolved(answer: dict[str, Any]) -> Outcome:
    by = answer.get("by") or "a person"
    if answer["resolve"] == "done":
        return ends.Done(answer.get("output"), answer.get("input"), f"{by} said that it was done")
    return ends.Failed(f"{by} said that it was not done", "resolved", answer.get("input"))
