"""`alertmanager`, against a replay of what Alertmanager's documented webhook sends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from areabox.errors import NotAllowedError
from tests.connectors.deliveries import receiver

__all__ = ["receiver"]


def alert(number: int = 1, status: str = "firing", name: str = "DiskFull", **labels: str) -> dict[str, Any]:
    return {
        "status": status, "labels": {"alertname": name, "severity": "critical"} | labels, "annotations": {"summary": f"Disk {number}", "description": "98 %"},
        "startsAt": "2026-01-01T12:00:00.123Z", "endsAt": "2026-01-01T13:00:00Z" if status == "resolved" else "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example.org:9090/graph?g0.expr=x", "fingerprint": f"1a30ba71cca2921{number}",
    }  # fmt: skip


def group(*alerts: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "4", "groupKey": '{}:{alertname="DiskFull"}', "truncatedAlerts": 0, "status": "firing", "receiver": "areabox",
        "groupLabels": {"alertname": "DiskFull"}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.org:9093", "alerts": list(alerts),
    }  # fmt: skip


async def test_each_alert_of_a_group_is_an_event_once_until_it_is_resolved(receiver: SimpleNamespace) -> None:
    key = await receiver.at("alertmanager.alert")
    await receiver.deliver(key, group(alert(1), alert(2)))
    await receiver.deliver(key, group(alert(1), alert(2), alert(3)))  # Alertmanager repeats what still fires
    await receiver.deliver(key, group(alert(1, "resolved")))
    await receiver.deliver(key, group(alert(1, "resolved")))
    events = await receiver.payloads()
    assert [(event["summary"], event["state"]) for event in events] == [
        ("Disk 1", "firing"), ("Disk 2", "firing"), ("Disk 3", "firing"), ("Disk 1", "resolved"),
    ]  # fmt: skip
    assert events[0] == {
        "id": "1a30ba71cca29211 2026-01-01T12:00:00.123Z firing", "state": "firing", "name": "DiskFull",
        "labels": {"alertname": "DiskFull", "severity": "critical"}, "annotations": {"summary": "Disk 1", "description": "98 %"},
        "summary": "Disk 1", "description": "98 %", "starts": "2026-01-01T12:00:00.123Z", "ends": "", "fingerprint": "1a30ba71cca29211",
        "receiver": "areabox", "generator_url": "http://prometheus.example.org:9090/graph?g0.expr=x",
        "alertmanager_url": "http://alertmanager.example.org:9093",
    }  # fmt: skip
    assert events[3]["ends"] == "2026-01-01T13:00:00Z"


async def test_an_alert_that_fires_anew_is_another_event(receiver: SimpleNamespace) -> None:
    key = await receiver.at("alertmanager.firing")
    await receiver.deliver(key, group(alert(1)))
    await receiver.deliver(key, group(alert(1) | {"startsAt": "2026-01-02T12:00:00Z"}))
    assert [event["starts"][:10] for event in await receiver.payloads()] == ["2026-01-01", "2026-01-02"]


@pytest.mark.parametrize(
    ("action", "params", "fits"),
    [
        ("firing", {}, [1, 2]), ("resolved", {}, [3]), ("alert", {"name": "cpu*"}, [2]),
        ("alert", {"labels": {"severity": "w*", "alertname": "?pu"}}, [2]), ("alert", {"labels": {"instance": "*"}}, [1, 2, 3]),
        ("alert", {"labels": {"instance": "nas"}}, []), ("firing", {"name": "diskfull"}, [1]),
    ],
)  # fmt: skip
async def test_only_some_alerts_fire_if_an_area_says_so(receiver: SimpleNamespace, action: str, params: Any, fits: list[int]) -> None:
    key = await receiver.at(f"alertmanager.{action}", **params)
    await receiver.deliver(key, group(alert(1), alert(2, name="Cpu", severity="warning"), alert(3, "resolved")))
    assert [int(event["summary"][-1]) for event in await receiver.payloads()] == fits


async def test_a_secret_is_a_bearer_token(receiver: SimpleNamespace) -> None:
    key = await receiver.at("alertmanager.alert", secret="a long random text")
    for wrong in ({}, {"authorization": "Bearer other"}, {"authorization": "a long random text"}):
        with pytest.raises(NotAllowedError):
            await receiver.deliver(key, group(alert(1)), **wrong)
    assert await receiver.deliver(key, group(alert(1)), authorization="Bearer a long random text")


@pytest.mark.parametrize("odd", [{}, [], {"alerts": None}, {"alerts": [1, {"status": "odd"}]}, {"alerts": {"a": 1}}])
async def test_what_is_no_alert_is_none(receiver: SimpleNamespace, odd: Any) -> None:
    assert await receiver.deliver(await receiver.at("alertmanager.alert"), odd) is None


async def test_an_alert_without_a_fingerprint_is_known_by_its_labels(receiver: SimpleNamespace) -> None:
    key = await receiver.at("alertmanager.alert")
    bare = {name: value for name, value in alert(1).items() if name != "fingerprint"}
    for one in (bare, bare, bare | {"labels": {"alertname": "Other"}}):
        await receiver.deliver(key, group(one))
    assert len(await receiver.payloads()) == 2
