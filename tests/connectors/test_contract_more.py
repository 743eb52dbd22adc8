"""The contract kit finds what is wrong with webhooks, streams, upgrades and answers of odd sizes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from areabox.sdk import (
    Connector,
    Context,
    Delivery,
    Event,
    Transient,
    Verifier,
    hmac_sha256,
    shared_token,
    standard_webhook,
)
from areabox.services import kit
from areabox.services.catalogue import Catalogue
from tests.support import FakeClock, any_machine

ROOT = Path(__file__).parent.parent.parent
IMPORT_MS = any_machine(50)


class Thing(Event):
    name: str = ""


SAMPLE = Thing(id="1", name="x")


async def details(connector: Connector) -> set[str]:
    return {problem.detail for problem in await kit.examine(connector, FakeClock())}


def connector() -> Connector:
    return Connector("good", "Good one", about="It keeps rules.", base="https://example.org")


def pushed(verify: Verifier, parse: Any, sample: Any = None, **more: Any) -> Connector:
    made = connector()

    @made.webhook(verify=verify, **more)
    async def hook(ctx: Context) -> int:
        return int((await ctx.http.post("/hooks", json={"url": ctx.url, "secret": ctx.secret})).json()["id"])

    @hook.unsubscribe
    async def end(ctx: Context) -> None:
        await ctx.http.delete(f"/hooks/{ctx.state}", ok=(404,))

    @made.action("Thing", sentence="it happens", poll="5m", sample=SAMPLE)
    async def thing(ctx: Context) -> AsyncIterator[Thing]:
        """Fires."""
        for one in (await ctx.http.get("/things")).json():
            yield Thing(id=str(one["id"]))

    thing.webhook(hook, "thing", sample=sample)(parse)
    return made


def careful(delivery: Delivery) -> Iterator[Thing]:
    if isinstance(delivery.json, dict) and delivery.json.get("action") == "opened":
        yield Thing(id=str(delivery.json.get("id", "")), name="x")


@pytest.mark.parametrize("verify", [hmac_sha256("X-S"), hmac_sha256("X-S", encoding="base64"), shared_token(),
                                    standard_webhook()])  # fmt: skip
async def test_a_careful_webhook_has_no_problems(verify: Verifier) -> None:
    assert await details(pushed(verify, careful, {"action": "opened", "id": 7}, renew="3d")) == set()


async def test_deliveries_that_break_the_connector_are_found() -> None:
    def hasty(delivery: Delivery) -> Iterator[Thing]:
        if delivery.json["action"] == "opened":
            yield Thing(id=str(delivery.json["id"]))

    found = await details(pushed(hmac_sha256("X-S"), hasty))
    assert "a delivery of {}: it raised KeyError: 'action'" in found


async def test_verifiers_that_let_anything_in_are_found() -> None:
    def sign(body: bytes, secret: str, now_s: float) -> dict[str, str]:
        return {"x-time": str(now_s), "x-sum": body.hex()}

    lax = Verifier(lambda delivery, secret, now_s: True, sign=sign)
    assert await details(pushed(lax, careful)) == {
        "an unsigned delivery is taken for genuine",
        "a delivery that is signed by another secret is taken for genuine",
        "a changed delivery is taken for genuine",
        "a delivery of an hour ago is taken for genuine",
    }
    strict = Verifier(lambda delivery, secret, now_s: False, sign=sign)
    assert "a genuine delivery is refused" in await details(pushed(strict, careful))


async def test_what_is_delivered_must_be_known_to_the_poll() -> None:
    assert "what is delivered has no id, by which the poll would know it" in await details(
        pushed(shared_token(), careful, {"action": "opened"})
    )
    assert "its sample of a delivery has no news in it" in await details(pushed(shared_token(), careful, {"x": 1}))
    numbers = iter(range(1, 100))
    changing = pushed(shared_token(), lambda delivery: iter([Thing(id=str(next(numbers)))]), {"x": 1})
    assert "the same delivery twice is not the same event" in await details(changing)


async def test_asking_for_deliveries_must_not_break() -> None:
    made = connector()

    @made.webhook(verify=shared_token())
    async def hook(ctx: Context) -> object:
        try:
            await ctx.http.post("/hooks")
        except Transient as error:
            raise ValueError("oh") from error
        return object()

    @made.action("Thing", sentence="it happens", poll="5m", sample=SAMPLE)
    async def thing(ctx: Context) -> AsyncIterator[Thing]:
        """Fires."""
        for one in (await ctx.http.get("/things")).json():
            yield Thing(id=str(one["id"]))

    thing.webhook(hook)(careful)
    found = await details(made)
    assert "subscribing: it raised ValueError: oh" in found
    assert "subscribing: it raised TypeError: Encoding objects of type object is unsupported" in found


async def test_a_generic_hook_is_forged_too() -> None:
    made = connector()

    @made.action("Told", sentence="it is told", hook=shared_token(), sample=SAMPLE)
    def told(delivery: Delivery) -> Iterator[Thing]:
        """Fires."""
        yield Thing(name=delivery.json["name"])

    assert "a delivery of {}: it raised KeyError: 'name'" in await details(made)


async def test_streams_that_break_or_do_not_close_are_found() -> None:
    made = connector()

    @made.action("Good", sentence="it happens", stream=True, sample=SAMPLE)
    async def good(ctx: Context) -> AsyncIterator[Thing]:
        """Fires."""
        async for event in ctx.http.sse("/stream"):
            yield Thing(name=event.data)

    @made.action("Quiet", sentence="it happens", stream=True, sample=SAMPLE)
    async def quiet(ctx: Context) -> AsyncIterator[Thing]:
        """Fires."""
        await asyncio.Event().wait()
        yield SAMPLE

    assert await details(made) == set()

    @made.action("Broken", sentence="it happens", stream=True, sample=SAMPLE)
    async def broken(ctx: Context) -> AsyncIterator[Thing]:
        """Fires."""
        try:
            async with ctx.http.stream("/stream"):
                yield SAMPLE
        except Transient as error:
            raise RuntimeError("oh") from error

    @made.action("Stubborn", sentence="it happens", stream=True, sample=SAMPLE)
    async def stubborn(ctx: Context) -> AsyncIterator[Thing]:
        """Fires."""
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1.3)
        yield SAMPLE

    assert await details(made) == {
        "a refused connection: it raised RuntimeError: oh",
        "it does not end within a second when it is closed",
    }


async def test_what_is_polled_has_ids_whatever_is_answered() -> None:
    made = connector()

    @made.action("Thing", sentence="it happens", poll="5m", sample=SAMPLE)
    async def thing(ctx: Context) -> AsyncIterator[Thing]:
        """Fires."""
        answer = await ctx.http.get("/", ok=(404,))
        yield Thing(id="1" if answer.status == 200 else "", name="x")

    assert await details(made) == {"404: it yields something without an id"}


async def test_an_empty_answer_and_one_of_20_mb_must_not_be_bugs() -> None:
    made = connector()

    @made.action("Thing", sentence="it happens", poll="5m", sample=SAMPLE)
    async def thing(ctx: Context) -> AsyncIterator[Thing]:
        """Fires."""
        answer = await ctx.http.get("/", max_bytes=30_000_000)
        yield Thing(id=str(answer.content[0]), name="x"[len(answer.content) // 20_000_000 - 1 :][0])

    assert await details(made) == {"an empty answer: it raised IndexError: index out of range"}


async def test_upgrades_are_tried_with_what_was_before() -> None:
    made = connector()

    @made.reaction("Do it", sentence="do {what}", effect="idempotent")
    async def do(ctx: Context, what: str, times: int = 1) -> None:
        """Do."""
        await ctx.http.put("/", json={"what": what, "times": times})

    do.upgrade(2, former={"name": "x"})(lambda p: {("what" if name == "name" else name): v for name, v in p.items()})
    assert await details(made) == set()
    do.upgrade(3, former={"gone": 1})(lambda p: p | {"times": p.get("times", 1) * 60})
    found = await details(made)
    assert "an upgrade changes parameters that are of today already" in found
    assert "parameters from before version 3 lack what" in found


def test_every_own_connector_is_imported_in_an_instant() -> None:
    modules = [service.source for service in Catalogue.discover().services() if service.origin == "builtin"]
    program = (
        "import sys, time, importlib, areabox.sdk, areabox.services.catalogue\n"
        "for name in sys.argv[1:]:\n"
        "    began = time.process_time()\n"
        "    importlib.import_module(name)\n"
        "    print(name, round((time.process_time() - began) * 1000))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, *modules], capture_output=True, text=True, check=True, cwd=ROOT
    )
    took = {name: int(ms) for name, ms in (line.split() for line in found.stdout.splitlines())}
    assert {name: ms for name, ms in took.items() if ms > IMPORT_MS} == {}
