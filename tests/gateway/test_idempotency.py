"""The same POST twice."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2

from areabox.app import App
from areabox.database import Unit
from areabox.gateway.idempotency import ABANDONED_MS, Repeats
from tests.support import FakeClock

KEY = {"Idempotency-Key": "k"}
BODY = {"action": "webhook.received", "payload": {}}


async def test_of_many_at_once_one_is_done(owner: httpx2.AsyncClient) -> None:
    answers = await asyncio.gather(*(owner.post("/api/v1/events", json=BODY, headers=KEY) for _ in range(10)))
    done = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len(set(done)) == 1
    assert len((await owner.get("/api/v1/events")).json()["items"]) == 1


async def test_one_that_its_process_left_behind_can_be_sent_again_after_a_while(
    app: App, owner: httpx2.AsyncClient, clock: FakeClock
) -> None:
    await owner.post("/api/v1/events", json=BODY, headers=KEY)
    await app.backend.commit(Unit().do("update idempotency set status = null, answer = null"))
    assert (await owner.post("/api/v1/events", json=BODY, headers=KEY)).status_code == 409
    clock.advance(ABANDONED_MS + 1)
    assert (await owner.post("/api/v1/events", json=BODY, headers=KEY)).status_code == 202


async def test_old_answers_are_pruned(app: App, owner: httpx2.AsyncClient, clock: FakeClock) -> None:
    await owner.post("/api/v1/events", json=BODY, headers=KEY)
    repeats = Repeats(app.backend, clock)
    assert await repeats.prune() == 0
    clock.advance(86_400_001)
    await owner.post("/api/v1/events", json=BODY, headers={"Idempotency-Key": "other"})
    assert await repeats.prune() == 1


async def test_a_key_is_short(owner: httpx2.AsyncClient, hello: Any) -> None:
    answer = await owner.post("/api/v1/events", json=BODY, headers={"Idempotency-Key": "x" * 256})
    assert answer.status_code == 400
