"""What Prometheus reads at `/metrics`: counters fed by telemetry, and gauges that are asked when somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The metrics of one process; `listen` belongs to a `Telemetry`."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._children: dict[tuple[Counter, str], Counter] = {}  # finding them costs more than counting
        self._registry = CollectorRegistry(auto_describe=True)
        self._runs = Counter("areabox_runs", "Runs that ended.", ["state"], registry=self._registry)
        self._steps = Counter("areabox_steps", "Attempts at steps that ended.", ["state"], registry=self._registry)
        self._run_s = Histogram(
            "areabox_run_duration_seconds", "From the event to the end of the run.", registry=self._registry,
            buckets=_SECONDS,
        )  # fmt: skip

    def listen(self, name: str, fields: dict[str, Any]) -> None:
        """Count an event of telemetry."""
        if name == "step":
            self._count(self._steps, fields["state"])
        elif name == "run":
            self._count(self._runs, fields["state"])
            self._run_s.observe(fields["ms"] / 1000)

    def _count(self, counter: Counter, state: str) -> None:
        child = self._children.get((counter, state))
        if child is None:
            child = self._children[counter, state] = counter.labels(state)
        child.inc()

    def gauge(self, name: str, help: str, ask: Callable[[], float]) -> None:
        """Show a number that is asked each time somebody looks."""
        Gauge(f"areabox_{name}", help, registry=self._registry).set_function(ask)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
