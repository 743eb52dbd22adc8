"""Uptime Kuma: what it watches goes down and comes up again (github.com/louislam/uptime-kuma).

Tested against a replay of what its webhook notification sends, versions 1 and 2, preset application/json.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Annotated, Any

from areabox.connectors._watchers import Told, verifier
from areabox.sdk import Connector, Delivery, Event, Field

STATES = {0: "down", 1: "up", 2: "pending", 3: "maintenance"}

uptimekuma = Connector(
    "uptimekuma",
    "Uptime Kuma",
    about="What your monitors find down, and up again.",
    icon="uptimekuma",
    docs="https://github.com/louislam/uptime-kuma/wiki",
)


class Beat(Event):
    """A monitor that changed its state."""

    state: str  # down or up
    monitor: str  # its name
    number: int  # … and number
    address: str = ""  # what it watches: an address, or a host with its port
    kind: str = ""  # http, ping, port …
    reason: str = ""
    time: str = ""
    ping_ms: float | None = None
    lasted_s: float | None = None  # since the last beat
    message: str = ""  # Kuma's own words


class Notice(Event):
    """What Uptime Kuma tells beside states: a certificate that ends soon, a test."""

    message: str


SAMPLE = Beat(
    id="7 2026-01-01 12:00:00.123 down", state="down", monitor="NAS", number=7, address="nas.home:443", kind="port",
    reason="connect ECONNREFUSED", time="2026-01-01 12:00:00.123", ping_ms=12.0, lasted_s=60.0,
    message="[NAS] [🔴 Down] connect ECONNREFUSED",
)  # fmt: skip
Monitor = Annotated[str, Field("Only the monitor", "Its name, with * and ?; empty: any.", placeholder="NAS*")]


@uptimekuma.action(
    "Goes down or comes up", hook=verifier, dedupe="key", shared=False, sentence="{monitor} goes down or comes up",
    sample=SAMPLE,
)  # fmt: skip
def changed(delivery: Delivery, monitor: Monitor = "", secret: Told = "") -> Iterator[Beat]:
    """Fires when a monitor goes down, and when it is up again.

    In Uptime Kuma: Settings, Notifications, type Webhook, the area's address as Post URL, and application/json. With a
    secret, the additional headers are `{"Authorization": "Bearer …"}`.
    """
    del secret
    yield from _beats(delivery, ("down", "up"), monitor)


@uptimekuma.action(
    "Goes down", hook=verifier, dedupe="key", shared=False, sentence="{monitor} goes down", sample=SAMPLE
)
def down(delivery: Delivery, monitor: Monitor = "", secret: Told = "") -> Iterator[Beat]:
    """Fires when a monitor goes down; otherwise as "Goes down or comes up"."""
    del secret
    yield from _beats(delivery, ("down",), monitor)


@uptimekuma.action(
    "Comes up", hook=verifier, dedupe="key", shared=False, sentence="{monitor} is up again", sample=SAMPLE
)
def up(delivery: Delivery, monitor: Monitor = "", secret: Told = "") -> Iterator[Beat]:
    """Fires when a monitor is up again; otherwise as "Goes down or comes up"."""
    del secret
    yield from _beats(delivery, ("up",), monitor)


@uptimekuma.action(
    "Tells something else", hook=verifier, shared=False, sentence="Uptime Kuma tells something else",
    sample=Notice(message="[NAS][https://nas.home] server certificate nas.home will be expired in 14 days"),
)  # fmt: skip
def notice(delivery: Delivery, secret: Told = "") -> Iterator[Notice]:
    """Fires for what comes without a monitor's state: certificates that end soon, and the button Test."""
    del secret
    found = delivery.json if isinstance(delivery.json, dict) else {}
    if found.get("heartbeat") is None and found.get("msg"):
        yield Notice(message=str(found["msg"]))


def _beats(delivery: Delivery, states: tuple[str, ...], wanted: str) -> Iterator[Beat]:
    found = delivery.json if isinstance(delivery.json, dict) else {}
    beat, monitor = found.get("heartbeat"), found.get("monitor")
    if not isinstance(beat, dict) or not isinstance(monitor, dict):
        return
    status, name = _number(beat.get("status")), str(monitor.get("name", ""))
    state = "" if status is None else STATES.get(int(status), "")
    if state not in states or not fnmatch.fnmatchcase(name.lower(), (wanted or "*").lower()):
        return
    number, time = int(_number(monitor.get("id")) or 0), str(beat.get("time", ""))
    yield Beat(
        id=f"{number} {time} {state}", state=state, monitor=name, number=number, address=_address(monitor),
        kind=str(monitor.get("type", "")), reason=str(beat.get("msg", "")), time=time,
        ping_ms=_number(beat.get("ping")), lasted_s=_number(beat.get("duration")), message=str(found.get("msg", "")),
    )  # fmt: skip


def _address(monitor: dict[str, Any]) -> str:
    host, port = monitor.get("hostname"), monitor.get("port")
    if host:
        return f"{host}:{port}" if port else str(host)
    url = str(monitor.get("url") or "")
    return "" if url in ("https://", "http://") else url


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
