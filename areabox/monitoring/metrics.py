"""What Prometheus reads at `/metrics`: counters fed by telemetry, and gauges that are asked when somebody looks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BOUNDS = (*(str(float(bound)) for bound in _SECONDS), "+Inf")


class Metrics:
    """The metrics of one process; `listen` belongs to a `Telemetry`."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._ended: Counter[tuple[str, str]] = Counter()  # by event and state; plain numbers cost next to nothing
        self._within = [0] * len(_BOUNDS)
        self._seconds = 0.0
        self._registry.register(self)

    def listen(self, name: str, fields: dict[str, Any]) -> None:
        """Count an event of telemetry."""
        if name not in ("step", "run"):
            return
        self._ended[name, fields["state"]] += 1
        if name == "run":
            seconds = fields["ms"] / 1000
            self._within[bisect_left(_SECONDS, seconds)] += 1
            self._seconds += seconds

    def collect(self) -> Iterator[Metric]:
        """Yield what was counted, for the registry."""
        for name, text in (("run", "Runs that ended."), ("step", "Attempts at steps that ended.")):
            family = CounterMetricFamily(f"areabox_{name}s", text, labels=["state"])
            for (event, state), count in self._ended.items():
                if event == name:
                    family.add_metric([state], count)
            yield family
        lasted = HistogramMetricFamily("areabox_run_duration_seconds", "From the event to the end of the run.")
        lasted.add_metric([], list(zip(_BOUNDS, accumulate(self._within), strict=True)), self._seconds)
        yield lasted

    def gauge(self, name: str, help: str, ask: Callable[[], float]) -> None:
        """Show a number that is asked each time somebody looks."""
        Gauge(f"areabox_{name}", help, registry=self._registry).set_function(ask)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
