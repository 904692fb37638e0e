"""Metrics for Prometheus: counts and times of requests, never content; one view over all workers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from trustplane.errors import missing_extra
from trustplane.step import Step

__all__ = ["MULTIPROCESS", "Metrics", "forget_worker"]

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""Variable that names the folder through which workers share metrics (prometheus_client); set it before the import."""
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """The metrics of one process. ``tenants``: whether requests are counted by tenant, which names them."""

    def __init__(self, *, tenants: bool = False) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ImportError:
            raise missing_extra("prometheus_client", "proxy") from None
        self._tenants = tenants
        self._registry = registry = CollectorRegistry()
        labels = ("endpoint", "outcome", *(("tenant",) if tenants else ()))
        kind: dict[str, Any] = {"registry": registry}
        self._requests = Counter("trustplane_requests", "Requests by endpoint and outcome.", labels, **kind)
        self._findings = Counter("trustplane_findings", "Findings in requests by entity.", ("entity",), **kind)
        self._masked = Counter(
            "trustplane_masked", "Values hidden from the upstream or the client.", ("where",), **kind
        )
        self._restored = Counter("trustplane_restored", "Values restored in replies.", **kind)
        self._guard = Histogram(
            "trustplane_guard_seconds", "Time in the guard by part.", ("part",), buckets=_SECONDS, **kind
        )
        self._upstream = Histogram(
            "trustplane_upstream_seconds", "Time until the upstream's reply begins and ends.", ("part",),
            buckets=_LONG, **kind,
        )  # fmt: skip
        live = {**kind, "multiprocess_mode": "livesum"}
        self.in_flight = Gauge("trustplane_in_flight", "Requests being served.", **live)
        self.held = Gauge("trustplane_held", "Requests that wait for a person.", **live)
        self.queue = Gauge("trustplane_log_queue", "Steps that wait for the disk.", **live)
        self._known: dict[tuple[str, ...], Any] = {}

    def __repr__(self) -> str:
        return "Metrics()"

    def _of(self, metric: Any, *labels: str) -> Any:
        key = (metric._name, *labels)
        found = self._known.get(key)
        if found is None:
            if len(self._known) > 10_000:
                self._known.clear()
            found = self._known[key] = metric.labels(*labels)
        return found

    def request(self, endpoint: str, outcome: str, tenant: str) -> None:
        """Count a request that is over; ``denied``, ``busy`` and ``gone`` are outcomes without a request in the log."""
        self._of(self._requests, endpoint, outcome, *((tenant,) if self._tenants else ())).inc()

    def steps(self, steps: Sequence[Step]) -> None:
        """Count what steps say was found, masked and restored."""
        for step in steps:
            facts = step.facts
            if step.action == "guard.text.detect":
                for key, value in facts.items():
                    if key.startswith("n_"):
                        self._of(self._findings, key[2:].upper()).inc(value)
            elif step.action == "guard.text.hide":
                self._add(self._of(self._masked, "request"), facts.get("masked"))
            elif step.action == "guard.proxy.replied":
                self._add(self._of(self._masked, "reply"), facts.get("masked"))
                self._add(self._restored, facts.get("restored"))

    def _add(self, counter: Any, value: Any) -> None:
        if type(value) is int and value > 0:
            counter.inc(value)

    def guard(self, part: str, seconds: float) -> None:
        """Observe the guard's time for a ``request`` or a piece of a ``reply``, in seconds."""
        self._of(self._guard, part).observe(seconds)

    def upstream(self, part: str, seconds: float) -> None:
        """Observe the time until the upstream's ``head`` or ``end``, in seconds."""
        self._of(self._upstream, part).observe(seconds)

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the requests so far of all workers by endpoint and outcome."""
        found: dict[tuple[str, str], int] = {}
        for family in self._everything().collect():
            for sample in family.samples if family.name == "trustplane_requests" else ():
                if sample.name == "trustplane_requests_total":
                    key = (sample.labels["endpoint"], sample.labels["outcome"])
                    found[key] = found.get(key, 0) + int(sample.value)
        return dict(sorted(found.items()))

    def render(self) -> tuple[bytes, str]:
        """Return the exposition text of all workers and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._everything()), CONTENT_TYPE_LATEST

    def _everything(self) -> Any:
        if not os.environ.get(MULTIPROCESS):
            return self._registry
        from prometheus_client import CollectorRegistry
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry


def forget_worker(pid: int) -> None:
    """Take the gauges of a worker that is gone out of the sums."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call]
