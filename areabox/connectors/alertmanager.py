"""Prometheus Alertmanager: alerts that begin and end (prometheus.io, Alerting, Configuration, webhook_config).

Tested against a replay of its documented webhook, version 4 of the payload. Grafana's own alerting sends the same.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from areabox.connectors._watchers import Told, texts, verifier
from areabox.sdk import Connector, Delivery, Event, Field

alertmanager = Connector(
    "alertmanager",
    "Alertmanager",
    about="Alerts of Prometheus, Grafana and whatever speaks like them.",
    icon="alertmanager",
    docs="https://prometheus.io/docs/alerting/latest/configuration/#webhook_config",
)


class Alert(Event):
    """One alert, when it began or when it was resolved."""

    state: str  # firing or resolved
    name: str
    labels: dict[str, str]
    annotations: dict[str, str]
    summary: str = ""
    description: str = ""
    starts: str = ""  # RFC 3339
    ends: str = ""  # of resolved ones
    fingerprint: str = ""  # the same whenever the same labels fire
    receiver: str = ""
    generator_url: str = ""
    alertmanager_url: str = ""


LABELS = {"alertname": "DiskFull", "instance": "nas:9100", "severity": "critical"}
SAMPLE = Alert(
    id="1a30ba71cca2921f 2026-01-01T12:00:00Z firing", state="firing", name="DiskFull", labels=LABELS,
    annotations={"summary": "The disk of nas is full"}, summary="The disk of nas is full", description="98 %",
    starts="2026-01-01T12:00:00Z", ends="2026-01-01T13:00:00Z", fingerprint="1a30ba71cca2921f", receiver="areabox",
    generator_url="http://prometheus.example.org:9090/graph", alertmanager_url="http://alertmanager.example.org:9093",
)  # fmt: skip
Name = Annotated[str, Field("Only the alert", "Its name, with * and ?; empty: any.", placeholder="Disk*")]
Labels = Annotated[
    dict[str, str] | None, Field("Only with labels", "Values with * and ?.", example={"severity": "crit*"})
]


@alertmanager.action(
    "Alert begins or ends", hook=verifier, dedupe="key", shared=False,
    sentence="an alert {name} fires or is resolved", sample=SAMPLE,
)  # fmt: skip
def alert(delivery: Delivery, name: Name = "", labels: Labels = None, secret: Told = "") -> Iterator[Alert]:
    """Fires once for each alert that begins, and once when it is resolved.

    Write the area's address into a receiver: `webhook_configs: [{url: …}]`, with `http_config: {authorization:
    {credentials: …}}` if a secret is set. What Alertmanager repeats does not fire again.
    """
    del secret
    yield from _alerts(delivery, None, name, labels)


@alertmanager.action(
    "Alert fires", hook=verifier, dedupe="key", shared=False, sentence="an alert {name} fires", sample=SAMPLE
)
def firing(delivery: Delivery, name: Name = "", labels: Labels = None, secret: Told = "") -> Iterator[Alert]:
    """Fires once for each alert that begins; otherwise as "Alert begins or ends"."""
    del secret
    yield from _alerts(delivery, "firing", name, labels)


@alertmanager.action(
    "Alert resolved", hook=verifier, dedupe="key", shared=False, sentence="an alert {name} is resolved", sample=SAMPLE
)
def resolved(delivery: Delivery, name: Name = "", labels: Labels = None, secret: Told = "") -> Iterator[Alert]:
    """Fires once for each alert that is over; needs `send_resolved: true` in the receiver, which is the default."""
    del secret
    yield from _alerts(delivery, "resolved", name, labels)


def _alerts(
    delivery: Delivery, state: Literal["firing", "resolved"] | None, name: str, labels: dict[str, str] | None
) -> Iterator[Alert]:
    """Yield the alerts of a delivery that are wanted: one delivery may hold many."""
    group = delivery.json if isinstance(delivery.json, dict) else {}
    found = group.get("alerts")
    for raw in found if isinstance(found, list) else ():
        made = _alert(raw, group) if isinstance(raw, dict) else None
        if made is None or state not in (None, made.state) or not _fits(name or "*", made.name):
            continue
        if all(_fits(pattern, made.labels.get(label, "")) for label, pattern in (labels or {}).items()):
            yield made


def _alert(raw: dict[str, Any], group: dict[str, Any]) -> Alert | None:
    labels, annotations = texts(raw.get("labels")), texts(raw.get("annotations"))
    state, print_ = str(raw.get("status", "")), str(raw.get("fingerprint") or sorted(labels.items()))
    if state not in ("firing", "resolved"):
        return None
    starts = str(raw.get("startsAt", ""))
    return Alert(
        id=f"{print_} {starts} {state}", state=state, name=labels.get("alertname", ""), labels=labels,
        annotations=annotations, summary=annotations.get("summary", ""), description=annotations.get("description", ""),
        starts=starts, ends=str(raw.get("endsAt", "")) if state == "resolved" else "", fingerprint=print_,
        receiver=str(group.get("receiver", "")), generator_url=str(raw.get("generatorURL", "")),
        alertmanager_url=str(group.get("externalURL", "")),
    )  # fmt: skip


def _fits(pattern: str, text: str) -> bool:
    return fnmatch.fnmatchcase(text.lower(), pattern.lower())
