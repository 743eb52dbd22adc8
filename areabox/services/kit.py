"""Does a connector keep the contract? Checks that need no line from its author, over a network that is not there.

A problem's pointer is the operation: `/reactions/publish/priority`. The test suite runs these checks over every
connector, `areabox service check NAME` over one of a person's own.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from areabox.clock import Clock, SystemClock
from areabox.errors import (
    AuthExpired,
    ConnectorError,
    InputError,
    Permanent,
    Problem,
    RateLimited,
    Skip,
    Transient,
    Uncertain,
)
from areabox.sdk import Connector, Event
from areabox.services import kit_webhooks
from areabox.services.calling import ConnectorBug
from areabox.services.catalogue import Catalogue, Service
from areabox.services.operations import Operation
from areabox.services.stage import CANARY, KEY, Asked, Fault, Stage, parameters

_SECRET_NAME = re.compile(r"(?:^|_)(?:token|secret|password|passwd|api_?key)(?:$|_)")
_PLACE = re.compile(r"\{(\w+)\}")
_NAME_LENGTHS = range(3, 61)
_NO_ANSWER, _EMPTY, _FINE = "no answer", "an empty answer", (ConnectorError, type(None))

# What comes back, and what a call may end in; `_FINE` stands for answers that a connector may take for a result.
_FAULTS: tuple[tuple[str, Fault, tuple[type, ...]], ...] = (
    ("401", Fault(401), (AuthExpired,)),
    ("403 without requests left", Fault(403, {"x-ratelimit-remaining": "0"}), (RateLimited,)),
    ("404", Fault(404), (Permanent, Skip, AuthExpired, type(None))),
    ("429 with seconds", Fault(429, {"retry-after": "7"}), (RateLimited,)),
    ("429 with a date", Fault(429, {"retry-after": "Fri, 31 Dec 2100 23:59:59 GMT"}), (RateLimited,)),
    ("500", Fault(500), (Transient,)),
    ("503", Fault(503), (Transient,)),
    ("a refused connection", Fault(error="refused"), (Transient,)),
    (_NO_ANSWER, Fault(error="silent"), (Uncertain, Transient)),
    ("half a JSON", Fault(body=b'{"a": [1, 2'), _FINE),
    (_EMPTY, Fault(body=b""), _FINE),
    ("20 MB", Fault(body=bytes(20_000_000)), _FINE),
    ("HTML instead of JSON", Fault(body=b"<!doctype html><title>Log in</title>"), _FINE),
)


def check(connector: Connector) -> list[Problem]:
    """Return what is wrong with a connector, nothing if it keeps the contract; runs an event loop of its own."""
    return asyncio.run(examine(connector))


async def examine(connector: Connector, clock: Clock | None = None) -> list[Problem]:
    """Return what is wrong with a connector; the same inside a running event loop."""
    catalogue = Catalogue()
    try:
        service = catalogue.add(connector, source="kit")
    except (TypeError, ValueError, NameError) as error:
        return [Problem("", str(error))]
    problems = list(declared(service))
    stage_clock = clock or SystemClock()
    stage = Stage(catalogue, service, stage_clock)
    for place, operation in _operations(service):
        found = [Problem(place + at, detail) for at, detail in described(operation)]
        if not found:
            found = [Problem(place, detail) async for detail in _played(stage, operation, stage_clock)]
        problems += found
    await stage.close()
    return problems


async def _played(stage: Stage, operation: Operation, clock: Clock) -> AsyncIterator[str]:
    """Do everything that can be done with an operation, and say what went wrong."""
    for detail in upgraded(operation):
        yield detail
    if operation.kind in ("poll", "reaction"):
        async for detail in performed(stage, operation):
            yield detail
    if operation.kind == "stream":
        async for detail in streamed(stage, operation):
            yield detail
    if operation.kind == "hook" or operation.pushed:
        for detail in kit_webhooks.delivered(stage, operation, parameters(operation), clock):
            yield detail
    if operation.pushed:
        async for detail in kit_webhooks.asked_for(stage, operation, parameters(operation)):
            yield detail


def declared(service: Service) -> Iterator[Problem]:
    """Say what is wrong with what a connector says of itself and of its ways in."""
    if not service.about:
        yield Problem("/about", "say in a few words what the service is")
    if len(service.name) not in _NAME_LENGTHS:
        yield Problem("/name", "a name has 3 to 60 characters")
    if service.needs_connection and service.connector.tester is None:
        yield Problem("/test", "there is no @connector.test, so a connection cannot be tried out")
    for way in service.ways.values():
        for name, field in way.form.fields.items():
            if _SECRET_NAME.search(name) and not field.secret:
                yield Problem(f"/auth/{way.id}/{name}", "it looks like a secret and is not marked as one")


def described(operation: Operation) -> Iterator[tuple[str, str]]:
    """Say what is wrong with an operation's words, form and sample."""
    if len(operation.title) not in _NAME_LENGTHS:
        yield "", "a name has 3 to 60 characters"
    for name in _PLACE.findall(operation.sentence):
        if name not in operation.fields:
            yield "", f"the sentence names {name}, which is no field"
    yield from _fields(operation)
    yield from (("/sample", detail) for detail in sampled(operation))
    try:
        operation.schema()
        operation.output_schema()
        operation.convert(parameters(operation, all_fields=True))
    except InputError as error:
        yield "", f"no example can be made ({error}); give Field(example=…)"
    except TypeError as error:
        yield "", f"it has no JSON Schema: {error}"


def _fields(operation: Operation) -> Iterator[tuple[str, str]]:
    for name, field in operation.fields.items():
        if _SECRET_NAME.search(name) and not field.secret:
            yield f"/{name}", "it looks like a secret and is not marked as one"
        for other in field.depends:
            if other not in operation.fields:
                yield f"/{name}", f"its choices depend on {other}, which is no field"


def sampled(operation: Operation) -> Iterator[str]:
    """Say what is wrong with the sample of an event or a result."""
    sample = operation.declared.sample
    if operation.kind != "reaction" and not isinstance(sample, Event):
        yield "an action yields a subclass of Event, and its sample is one"
    elif operation.kind == "poll" and operation.dedupe is not None and not sample.id:
        yield "what is polled has an id, by which it is known"
    if operation.kind == "reaction" and sample is None and operation.output.type is not type(None):
        yield "a reaction that gives something has a sample of it"
    try:
        again = msgspec.json.decode(msgspec.json.encode(operation.sample))
    except (TypeError, ValueError) as error:
        yield f"it is no JSON: {error}"
        return
    if again != operation.sample:
        yield "it changes when it is written as JSON and read again"


def upgraded(operation: Operation) -> Iterator[str]:
    """Say what is wrong with how parameters of former versions are brought up to date."""
    today = parameters(operation, all_fields=True)
    try:
        if operation.upgraded(today) != today:
            yield "an upgrade changes parameters that are of today already"
        for version, former in sorted(operation.declared.former.items()):
            for problem in operation.check(former):
                yield f"parameters from before version {version} do not fit: {problem}"
            if missing := [name for name, field in operation.fields.items()
                           if field.required and name not in operation.upgraded(former)]:  # fmt: skip
                yield f"parameters from before version {version} lack {', '.join(missing)}"
    except InputError as error:
        yield str(error)


async def streamed(stage: Stage, operation: Operation) -> AsyncIterator[str]:
    """Open a stream while nobody answers: it is transient, and it lets itself be closed."""
    for all_fields in (False, True):
        try:
            error, asked = await stage.listen(operation, parameters(operation, all_fields=all_fields))
        except TimeoutError:
            yield "it does not end within a second when it is closed"
            return
        if isinstance(error, ConnectorBug):
            yield f"a refused connection: it raised {type(error.__cause__).__name__}: {error.__cause__}"
        elif asked and error is not None and not isinstance(error, Transient):
            yield f"a refused connection: it ended in {type(error).__name__}, and is not opened again"
        elif leak := _leak(stage, error, []):
            yield f"a refused connection: {leak}"


async def performed(stage: Stage, operation: Operation) -> AsyncIterator[str]:
    """Call an operation against a network of faults, and say where it ends otherwise than it should."""
    for all_fields in (False, True):
        params = parameters(operation, all_fields=all_fields)
        for name, fault, allowed in _FAULTS:
            if name == _EMPTY and operation.kind == "reaction" and operation.effect_of(params) != "read":
                continue  # what was done need not be told
            error, asked = await stage.call(operation, params, fault)
            detail = _verdict(operation, params, name, error, allowed, asked) or _leak(stage, error, asked)
            if detail is None and operation.dedupe is not None and not all(event.get("id") for event in stage.events):
                detail = "it yields something without an id"
            if detail is not None:
                yield f"{name}: {detail}"
            if not asked:
                break  # it speaks no HTTP
        if operation.effect_of(params) == "keyed" and not (stage.was_sent(KEY) or stage.has_dialled):
            yield "it is declared keyed, and never sends ctx.key"


def _verdict(
    operation: Operation,
    params: dict[str, Any],
    name: str,
    error: Exception | None,
    allowed: tuple[type, ...],
    asked: list[Asked],
) -> str | None:
    if isinstance(error, ConnectorBug):
        return f"it raised {type(error.__cause__).__name__}: {error.__cause__}"
    if not asked:
        return None
    if not isinstance(error, allowed):
        return "no error came of it" if error is None else f"it ended in {type(error).__name__}"
    effect = operation.effect_of(params)
    if name == _NO_ANSWER and operation.kind == "reaction" and (effect == "once") != isinstance(error, Uncertain):
        return f"with the effect {effect} it ended in {type(error).__name__}"
    return None


def _leak(stage: Stage, error: Exception | None, asked: list[Asked]) -> str | None:
    """Say where a secret of the connection came out, if it did."""
    if error is not None and CANARY in f"{error} {error!r}":
        return "the error's message holds a secret"
    for one in asked:
        if CANARY in f"{one.url} {one.headers} {one.content!r}" and not one.is_own:
            return f"a secret is sent to {one.url}, which is none of the service's hosts"
    return "the log holds a secret" if stage.has_logged(CANARY) else None


def _operations(service: Service) -> Iterator[tuple[str, Operation]]:
    for name, operation in service.actions.items():
        yield f"/actions/{name}", operation
    for name, operation in service.reactions.items():
        yield f"/reactions/{name}", operation
