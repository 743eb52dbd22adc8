"""The entrance for webhooks."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from areabox.actions.hooks import Hooks
from areabox.errors import StorageFullError
from areabox.gateway.limits import POLICIES, Buckets
from tests.gateway.conftest import Connect
from tests.support import FakeClock


@pytest.fixture
def address(hello: dict[str, Any]) -> str:
    return "/hooks/" + str(hello["subscriptions"][0]["url"]).rpartition("/hooks/")[2]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "REPORT"])
async def test_any_method_from_anybody_becomes_an_event(
    method: str, connect: Connect, address: str, owner: httpx2.AsyncClient
) -> None:
    answer = await connect(host="whatever.example").request(
        method, f"{address}/behind?a=1&a=2", content=b'{"x": 1}', headers={"X-Own": "yes"}
    )
    assert answer.status_code == 202, answer.text
    event = (await owner.get(f"/api/v1/events/{answer.json()['event']}")).json()
    payload = event["payload"]
    assert payload["method"] == method
    assert payload["query"] == {"a": ["1", "2"]}
    assert payload["headers"]["x-own"] == "yes"
    assert payload["json"] == {"x": 1}
    assert payload["path"].strip("/") == "behind"
    assert event["runs"]


async def test_a_wrong_address_is_not_there(connect: Connect, address: str) -> None:
    for path in ("/hooks/", "/hooks/x", address[:-1] + "0", f"/hooks/{'0' * 26}"):
        answer = await connect().post(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_too_much_is_refused(connect: Connect, address: str) -> None:
    assert (await connect().post(address, content=b"x" * 1_048_577)).status_code == 413
    assert (await connect().post(address, content=b"x" * 1_048_576)).status_code == 202
    assert (await connect().post(address, content=b"[" * 40 + b"]" * 40)).status_code == 400


async def test_nothing_is_acknowledged_on_a_full_disk(
    connect: Connect, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any) -> Any:
        raise StorageFullError("nothing was stored: the disk is full")

    monkeypatch.setattr(Hooks, "receive", full)
    assert (await connect().post(address)).status_code == 507


async def test_an_unforeseen_error_is_logged_and_not_told(
    connect: Connect, address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> Any:
        raise RuntimeError("secret")

    monkeypatch.setattr(Hooks, "receive", fail)
    answer = await connect().post(address)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "secret" in caplog.text


def test_a_flood_at_one_address_is_slowed_down_and_leaves_the_others_alone(clock: FakeClock) -> None:
    buckets = Buckets(clock, POLICIES["hook"])
    assert not any(buckets.take("a") for _ in range(POLICIES["hook"].quota))
    empty = buckets.take("a")
    assert empty is not None
    refusal = empty.refusal("deliveries at this address")
    assert (refusal.status, str(refusal)) == (429, "too many deliveries at this address; wait 1 s")
    assert refusal.headers["ratelimit"] == '"hook";r=0;t=100'
    assert buckets.take("b") is None
    clock.advance(100)
    assert buckets.take("a") is None
    assert buckets.take("a") is not None
