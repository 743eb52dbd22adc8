"""Does a connector keep the contract? Checks that need no line from its author, over a network that is not there.

Each check yields problems whose pointer is the operation: `/reactions/publish/priority`. The test suite runs them over
every connector, `areabox service check NAME` over one of a person's own.
"""

from __future__ import annotations

import asyncio
import logging
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
from areabox.services.catalogue import Catalogue, Service
from areabox.services.examples import CANARY, KEY, OWNER, Stage, parameters
from areabox.services.operations import Operation

_SECRET_NAME = re.compile(r"(?:^|_)(?:token|secret|password|passwd|api_?key)(?:$|_)")
_PLACE = re.compile(r"\{(\w+)\}")
_NAME_LENGTHS = range(3, 61)

# What may come back, and which error a call may end in; None stands for an answer that a connector may accept.
_FAULTS: tuple[tuple[str, Any, tuple[type[ConnectorError], ...]], ...] = (
    ("401", {"status": 401}, (AuthExpired,)),
    ("403 with no requests left", {"status": 403, "headers": {"x-ratelimit-remaining": "0"}}, (RateLimited,)),
    ("404", {"status": 404}, (Permanent, Skip)),
    ("429 with seconds", {"status": 429, "headers": {"retry-after": "7"}}, (RateLimited,)),
    ("429 with a date", {"status": 429, "headers": {"retry-after": "Fri, 31 Dec 2100 23:59:59 GMT"}}, (RateLimited,)),
    ("500", {"status": 500}, (Transient,)),
    ("503", {"status": 503}, (Transient,)),
    ("a refused connection", {"error": "refused"}, (Transient,)),
    ("no answer", {"error": "silent"}, (Uncertain, Transient)),
    ("half a JSON", {"body": b'{"a": [1, 2'}, (ConnectorError,)),
    ("HTML instead of JSON", {"body": b"<!doctype html><title>Log in</title>"}, (ConnectorError,)),
)
_MAY_BE_FINE = frozenset({"404", "half a JSON", "HTML instead of JSON"})


def check(connector: Connector) -> list[Problem]:
    """Return what is wrong with a connector, nothing if it keeps the contract. Takes its own event loop."""
    return asyncio.run(examine(connector))


async def examine(connector: Connector, clock: Clock | None = None) -> list[Problem]:
    """Return what is wrong with a connector, inside a running event loop."""
    catalogue = Catalogue()
    try:
        service = catalogue.add(connector, source="kit")
    except (TypeError, ValueError, NameError) as error:
        return [Problem("", str(error))]
    problems = [*declaration(service)]
    stage = Stage(catalogue, service, clock or SystemClock())
    for place, operation in _operations(service):
        problems += [Problem(f"{place}{at}", detail) for at, detail in described(operation)]
        if operation.kind in ("poll", "reaction"):
            problems += [Problem(place, detail) async for detail in performed(stage, operation)]
    await stage.close()
    return problems


def declaration(service: Service) -> Iterator[Problem]:
    """Check what a connector says of itself and of its ways in."""
    if service.connector.id != service.id or not service.about:
        yield Problem("/about", "say in a few words what the service is")
    if len(service.name) not in _NAME_LENGTHS:
        yield Problem("/name", "a name has 3 to 60 characters")
    if service.ways and not service.connector.tester and service.needs_connection:
        yield Problem("/test", "there is no @connector.test, so a connection cannot be tried out")
    for way in service.ways.values():
        for name, field in way.form.fields.items():
            if _SECRET_NAME.search(name) and not field.secret:
                yield Problem(f"/auth/{way.id}/{name}", "it looks like a secret and is not marked as one")


def described(operation: Operation) -> Iterator[tuple[str, str]]:
    """Check an operation's words, form and sample."""
    if len(operation.title) not in _NAME_LENGTHS:
        yield "", "a name has 3 to 60 characters"
    for name in _PLACE.findall(operation.sentence):
        if name not in operation.fields:
            yield "", f"the sentence names {name}, which is no field"
    for name, field in operation.fields.items():
        if _SECRET_NAME.search(name) and not field.secret:
            yield f"/{name}", "it looks like a secret and is not marked as one"
        yield from ((f"/{name}", f"its choices depend on {d}, which is no field") for d in _strange(operation, name))
    try:
        operation.schema(), operation.output_schema()
        example = parameters(operation)
        operation.convert(example)
    except InputError as error:
        yield "", f"no example can be made ({error}); give Field(example=…)"
    except TypeError as error:
        yield "", f"it has no JSON Schema: {error}"
    yield from (("/sample", detail) for detail in sampled(operation))


def sampled(operation: Operation) -> Iterator[str]:
    """Check that a sample is there, whole and JSON."""
    sample = operation.declared.sample
    if operation.kind != "reaction" and not isinstance(sample, Event):
        yield "an action yields a subclass of Event, and its sample is one"
    elif operation.kind in ("poll",) and operation.dedupe is not None and not sample.id:
        yield "an event that is polled has an id, by which it is known"
    if operation.kind == "reaction" and sample is None and operation.output.type is not type(None):
        yield "a reaction that gives something has a sample of it"
    try:
        again = msgspec.json.decode(msgspec.json.encode(operation.sample))
    except (TypeError, ValueError) as error:
        yield f"it is no JSON: {error}"
        return
    if again != operation.sample:
        yield "it changes when it is written as JSON and read again"


async def performed(stage: Stage, operation: Operation) -> AsyncIterator[str]:
    """Call an operation against a network of faults, and check how it ends."""
    for all_fields in (False, True):
        params = parameters(operation, all_fields=all_fields)
        for name, fault, allowed in _FAULTS:
            error, requests = await stage.call(operation, params, **fault)
            if not requests and error is None:
                return  # it speaks no HTTP
            if detail := _verdict(operation, params, name, error, allowed):
                yield detail
            if detail := _leak(stage, error, requests):
                yield f"{name}: {detail}"
        if operation.effect_of(params) == "keyed" and not any(KEY in str(request) for request in stage.sent):
            yield "it is declared keyed, and never sends ctx.key"


def _verdict(
    operation: Operation,
    params: dict[str, Any],
    name: str,
    error: Exception | None,
    allowed: tuple[type[ConnectorError], ...],
) -> str | None:
    if error is None:
        return None if name in _MAY_BE_FINE else f"{name}: no error came of it"
    if isinstance(error, stage_bug()):
        cause = error.__cause__
        return f"{name}: it raised {type(cause).__name__}: {cause}"
    if not isinstance(error, allowed):
        return f"{name}: it ended in {type(error).__name__}"
    if name == "no answer":
        uncertain = operation.effect_of(params) == "once"
        if uncertain != isinstance(error, Uncertain) and operation.kind == "reaction":
            return f"{name}: with the effect {operation.effect_of(params)} it ended in {type(error).__name__}"
    return None


def stage_bug() -> type[ConnectorError]:
    """Return the error that stands for a bug of a connector."""
    from areabox.services.calls import ConnectorBug

    return ConnectorBug


def _leak(stage: Stage, error: Exception | None, requests: list[Any]) -> str | None:
    """Say where a secret of the connection came out, if it did."""
    if error is not None and CANARY in f"{error}{error!r}":
        return "the error's message holds a secret"
    for request in requests:
        if CANARY in str(request.headers) and not stage.is_own(request.url):
            return f"a secret is sent to {request.url}"
    return "the log holds a secret" if stage.logged(CANARY) else None


def _strange(operation: Operation, name: str) -> list[str]:
    return [depend for depend in operation.fields[name].depends if depend not in operation.fields]


def _operations(service: Service) -> Iterator[tuple[str, Operation]]:
    for name, operation in service.actions.items():
        yield f"/actions/{name}", operation
    for name, operation in service.reactions.items():
        yield f"/reactions/{name}", operation
