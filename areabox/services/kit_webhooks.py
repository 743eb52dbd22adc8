"""Does a connector's webhook keep the contract? Forged, old, odd and genuine deliveries, and the asking for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from areabox.clock import Clock
from areabox.errors import ConnectorError, InputError, NotAllowedError
from areabox.sdk import Action, Delivery, Verifier
from areabox.services.calling import ConnectorBug
from areabox.services.operations import Operation
from areabox.services.stage import CANARY, OWNER, Fault, Stage

SECRET = "0123456789abcdefghjkmnpqrs"  # noqa: S105 -- made up, as long as a real one
URL = "https://box.example.org/hooks/0123456789abcdefghjkmnpqrs"
_ODD: tuple[Any, ...] = ({}, [], None, "text", {"action": "ping"})
_BARE = b"{}"
_ANSWERS = (Fault(201, body=_BARE), Fault(500), Fault(401), Fault(body=b"<html>"), Fault(error="silent"))


def delivered(stage: Stage, operation: Operation, params: dict[str, Any], clock: Clock) -> Iterator[str]:
    """Say what is wrong with how deliveries are verified and read."""
    declared, now_s = operation.declared, clock.now_ms() / 1000
    verifier = declared.hook.verify if isinstance(declared, Action) and declared.hook else operation.verifier(params)
    if verifier is not None:
        yield from _forged(stage, operation, params, verifier, now_s)
    for odd in _ODD:
        error = _ending(stage, operation, params, _delivery(odd, verifier, now_s))
        if isinstance(error, ConnectorBug):
            yield f"a delivery of {odd!r}: it raised {type(error.__cause__).__name__}: {error.__cause__}"
    sample = declared.delivered if isinstance(declared, Action) else None
    if sample is not None:
        yield from _genuine(stage, operation, params, _delivery(sample, verifier, now_s))


def _forged(
    stage: Stage, operation: Operation, params: dict[str, Any], verifier: Verifier, now_s: float
) -> Iterator[str]:
    body = b'{"action": "opened"}'
    tries = {"an unsigned delivery": Delivery(body=body)}
    if verifier.sign is not None:
        tries["a delivery that is signed by another secret"] = _signed(body, verifier, "another", now_s)
        genuine = _signed(body, verifier, SECRET, now_s)
        if _refused(stage, operation, params, genuine):
            yield "a genuine delivery is refused"
        if verifier.sign(b"a", SECRET, now_s) != verifier.sign(b"b", SECRET, now_s):
            tries["a changed delivery"] = msgspec.structs.replace(genuine, body=body + b" ")
        if verifier.sign(b"a", SECRET, now_s) != verifier.sign(b"a", SECRET, now_s - 3600):
            tries["a delivery of an hour ago"] = _signed(body, verifier, SECRET, now_s - 3600)
    for name, delivery in tries.items():
        if not _refused(stage, operation, params, delivery):
            yield f"{name} is taken for genuine"


def _genuine(stage: Stage, operation: Operation, params: dict[str, Any], delivery: Delivery) -> Iterator[str]:
    try:
        first, again = (stage.services.delivery(operation.id, params, delivery, SECRET) for _ in range(2))
    except (ConnectorError, InputError) as error:
        yield f"its sample of a delivery is refused: {error}"
        return
    if not first:
        yield "its sample of a delivery has no news in it"
    if operation.dedupe is not None and not all(event.get("id") for event in first):
        yield "what is delivered has no id, by which the poll would know it"
    if first != again:
        yield "the same delivery twice is not the same event"


async def asked_for(stage: Stage, operation: Operation, params: dict[str, Any]) -> AsyncIterator[str]:
    """Say what is wrong with how deliveries are asked for and ended, whatever the service answers."""
    who: dict[str, Any] = {"owner": OWNER, "connection": stage.connection, "url": URL, "secret": SECRET}
    for fault in _ANSWERS:
        for name, call, state in (
            ("subscribing", stage.services.subscribe, None),
            ("renewing", stage.services.subscribe, 1),
            ("unsubscribing", stage.services.unsubscribe, 1),
        ):
            stage.answer(fault)
            try:
                await call(operation.id, params, state=state, **who)
            except ConnectorBug as error:
                if fault.body == _BARE and not isinstance(error.__cause__, TypeError):
                    continue  # a made-up answer lacks what a real one has
                yield f"{name}: it raised {type(error.__cause__).__name__}: {error.__cause__}"
            except ConnectorError as error:
                if CANARY in f"{error}":
                    yield f"{name}: the error's message holds a secret"


def _refused(stage: Stage, operation: Operation, params: dict[str, Any], delivery: Delivery) -> bool:
    return isinstance(_ending(stage, operation, params, delivery), NotAllowedError)


def _ending(stage: Stage, operation: Operation, params: dict[str, Any], delivery: Delivery) -> Exception | None:
    try:
        stage.services.delivery(operation.id, params, delivery, SECRET)
    except (ConnectorError, InputError, NotAllowedError) as error:
        return error
    return None


def _delivery(json: Any, verifier: Verifier | None, now_s: float) -> Delivery:
    body = msgspec.json.encode(json)
    headers = verifier.sign(body, SECRET, now_s) if verifier is not None and verifier.sign is not None else {}
    return Delivery(body=body, json=json, headers=headers)


def _signed(body: bytes, verifier: Verifier, secret: str, now_s: float) -> Delivery:
    assert verifier.sign is not None
    return Delivery(body=body, json=msgspec.json.decode(body), headers=verifier.sign(body, secret, now_s))
