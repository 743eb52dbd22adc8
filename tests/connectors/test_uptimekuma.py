"""`uptimekuma`, against a replay of what its webhook notification sends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from areabox.errors import NotAllowedError
from tests.connectors.deliveries import receiver

__all__ = ["receiver"]


def beat(status: int = 0, name: str = "NAS", time: str = "2026-01-01 12:00:00.123", **monitor: Any) -> dict[str, Any]:
    return {
        "heartbeat": {
            "monitorID": 7, "status": status, "time": time, "msg": "connect ECONNREFUSED", "ping": None, "important": True, "duration": 61,
            "retries": 2, "timezone": "Europe/Paris", "timezoneOffset": "+01:00", "localDateTime": "2026-01-01 13:00:00",
        },
        "monitor": {"id": 7, "name": name, "type": "http", "url": "https://nas.home/", "hostname": None, "port": None, "active": True, "tags": []} | monitor,
        "msg": f"[{name}] [Down] connect ECONNREFUSED",
    }  # fmt: skip


async def test_down_and_up_are_events_with_everything_known(receiver: SimpleNamespace) -> None:
    key = await receiver.at("uptimekuma.changed")
    await receiver.deliver(key, beat(0))
    await receiver.deliver(key, beat(0))  # a delivery that comes twice
    await receiver.deliver(key, beat(1, time="2026-01-01 12:05:00.456", type="port", hostname="nas.home", port=445))
    down, up = await receiver.payloads()
    assert down == {
        "id": "7 2026-01-01 12:00:00.123 down", "state": "down", "monitor": "NAS", "number": 7, "address": "https://nas.home/", "kind": "http",
        "reason": "connect ECONNREFUSED", "time": "2026-01-01 12:00:00.123", "ping_ms": None, "lasted_s": 61.0,
        "message": "[NAS] [Down] connect ECONNREFUSED",
    }  # fmt: skip
    assert (up["state"], up["address"]) == ("up", "nas.home:445")


@pytest.mark.parametrize(
    ("action", "params", "fits"),
    [("down", {}, ["down"]), ("up", {}, ["up"]), ("changed", {"monitor": "web*"}, []), ("changed", {"monitor": "n?s"}, ["down", "up"])],
)
async def test_only_what_an_area_asks_for_fires(receiver: SimpleNamespace, action: str, params: Any, fits: list[str]) -> None:
    key = await receiver.at(f"uptimekuma.{action}", **params)
    for status in (0, 1, 2, 3):
        await receiver.deliver(key, beat(status))
    assert [event["state"] for event in await receiver.payloads()] == fits


async def test_what_comes_without_a_state_is_a_notice(receiver: SimpleNamespace) -> None:
    told = {"heartbeat": None, "monitor": None, "msg": "My Webhook Testing"}
    key = await receiver.at("uptimekuma.notice")
    for body in (told, beat(0), told, [], {}, {"msg": ""}):
        await receiver.deliver(key, body)
    assert [event["message"] for event in await receiver.payloads()] == ["My Webhook Testing"] * 2
    assert await receiver.deliver(await receiver.at("uptimekuma.changed"), told) is None


async def test_a_secret_is_a_bearer_token(receiver: SimpleNamespace) -> None:
    key = await receiver.at("uptimekuma.down", secret="a long random text")
    with pytest.raises(NotAllowedError):
        await receiver.deliver(key, beat(0), authorization="Bearer other")
    assert await receiver.deliver(key, beat(0), authorization="Bearer a long random text")


@pytest.mark.parametrize("odd", [{"heartbeat": {}, "monitor": {}}, {"heartbeat": {"status": "0"}, "monitor": {"id": "x"}}, {"heartbeat": 1, "monitor": 2}, {"heartbeat": {"status": True}, "monitor": {}}])
async def test_what_is_no_state_is_none(receiver: SimpleNamespace, odd: Any) -> None:
    assert await receiver.deliver(await receiver.at("uptimekuma.changed"), odd) is None
