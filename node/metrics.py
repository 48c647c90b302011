"""What `/metrics` shows, in the Prometheus text form.

Counts made where things happen go straight into counters; counts that the fast path keeps as plain numbers are
sampled. With `--workers` the processes share a folder of memory-mapped counters (`PROMETHEUS_MULTIPROC_DIR`, set
before this module is imported), so that whichever process is asked reports for all.
"""

import os
import resource
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_PAGE = resource.getpagesize()


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "hazlink_http_requests",
            "HTTP requests by method, route and status",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "hazlink_http_seconds",
            "Seconds until an HTTP request was answered, by route",
            ("route",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._sampled = Counter(
            "hazlink_events",
            "What the fast paths counted, by name",
            ("name",),
            registry=self._registry,
        )
        self._resident = Gauge(
            "hazlink_resident_bytes",
            "Resident memory",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._levels = Gauge(
            "hazlink_level",
            "Present numbers, by name",
            ("name",),
            registry=self._registry,
            multiprocess_mode="livemax",
        )
        self._sources: list[tuple[str, Callable[[], int]]] = []
        self._seen: dict[str, int] = {}

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one HTTP request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def follow(self, counters: Mapping[str, Callable[[], int]]) -> None:
        """Sample growing numbers from now on."""
        self._sources += counters.items()

    def level(self, name: str, value: float) -> None:
        """Set a present number."""
        self._levels.labels(name).set(value)

    def sample(self) -> None:
        """Take over what the followed numbers grew by, and the memory in use."""
        for name, read in self._sources:
            value = read()
            self._sampled.labels(name).inc(max(value - self._seen.get(name, 0), 0))
            self._seen[name] = value
        self._resident.set(_resident_bytes())

    def render(self) -> bytes:
        """Return the text for a scraper."""
        self.sample()
        if not self._shared:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # the library's
        return generate_latest(together)


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 — read at each scrape; no path object needed
        return int(file.read().split()[1]) * _PAGE
