"""What each served version did: the protocol's statistics, and the same as Prometheus metrics."""

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram

INFERENCES = Counter(
    "model_server_inferences_total", "Inference requests by outcome.", ["model", "version", "outcome"]
)
ROWS = Counter("model_server_rows_total", "Rows inferred.", ["model", "version"])
COMPUTE_SECONDS = Histogram(
    "model_server_compute_seconds",
    "Seconds a model computed, for one request or for a batch of them.",
    ["model", "version"],
    buckets=(0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
)
QUEUE_SECONDS = Histogram(
    "model_server_queue_seconds",
    "Seconds a request waited for others to be computed with, or for a worker.",
    ["model", "version"],
    buckets=(0.000_1, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)
SERVED = Gauge("model_server_served", "1 for each version that is served.", ["model", "version"])
LOADS = Counter("model_server_loads_total", "Attempts to load a model, by outcome.", ["model", "outcome"])
_NANOSECONDS = 1e-9


@dataclass(kw_only=True)
class Duration:
    """How often something happened, and the nanoseconds it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, nanoseconds: int) -> None:
        """Count one more."""
        self.count += 1
        self.ns += nanoseconds


class Phases(NamedTuple):
    """The nanoseconds of one inference.

    `input_ns`: checking and decoding the request. `queue_ns`: waiting for others to be computed with, or for
    a worker. `infer_ns`: the model, for all that was computed together.
    """

    input_ns: int
    queue_ns: int
    infer_ns: int


@dataclass(kw_only=True)
class BatchStatistics:
    """What executions of one number of rows took."""

    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)


class _Series:
    """The Prometheus series of a version that is served."""

    def __init__(self, model: str, version: str) -> None:
        SERVED.labels(model, version).set(1)
        self.succeeded = INFERENCES.labels(model, version, "success")
        self.failed = INFERENCES.labels(model, version, "fail")
        self.rows = ROWS.labels(model, version)
        self.compute_seconds = COMPUTE_SECONDS.labels(model, version)
        self.queue_seconds = QUEUE_SECONDS.labels(model, version)


def remove_series(model: str, version: str) -> None:
    """Remove the series of a version that is served no more; requests under way count for nobody."""
    for outcome in ("success", "fail"):
        INFERENCES.remove(model, version, outcome)
    for metric in (SERVED, ROWS, COMPUTE_SECONDS, QUEUE_SECONDS):
        metric.remove(model, version)


class VersionStatistics:
    """Counts since a version was loaded. Only the event loop's thread may record.

    `last_inference_ms` is milliseconds since the epoch, 0 before the first. `inference_count` counts rows,
    `execution_count` how often the model ran, which is once for all requests of a batch. Metrics begin with
    `show`: what was loaded and then refused is not to leave any.
    """

    def __init__(self) -> None:
        self.last_inference_ms = 0
        self.inference_count = 0
        self.execution_count = 0
        self.success = Duration()
        self.fail = Duration()
        self.queue = Duration()
        self.compute_input = Duration()
        self.compute_infer = Duration()
        self.by_batch_size: dict[int, BatchStatistics] = {}
        self._series: _Series | None = None

    def show(self, model: str, version: str) -> None:
        """Count as metrics too from now on; loaded anew, a version goes on with the series that it had."""
        self._series = self._series or _Series(model, version)

    def record_execution(self, rows: int, *, input_ns: int, infer_ns: int) -> None:
        """Count that the model ran for `rows` rows; `input_ns` of all requests among them."""
        self.execution_count += 1
        batch = self.by_batch_size.setdefault(rows, BatchStatistics())
        batch.compute_input.add(input_ns)
        batch.compute_infer.add(infer_ns)
        if self._series is not None:
            self._series.compute_seconds.observe(infer_ns * _NANOSECONDS)

    def record_success(self, rows: int, phases: Phases) -> None:
        """Count an answered request of `rows` rows."""
        self.last_inference_ms = time.time_ns() // 1_000_000
        self.inference_count += rows
        self.success.add(phases.input_ns + phases.queue_ns + phases.infer_ns)
        self.queue.add(phases.queue_ns)
        self.compute_input.add(phases.input_ns)
        self.compute_infer.add(phases.infer_ns)
        if self._series is not None:
            self._series.succeeded.inc()
            self._series.rows.inc(rows)
            self._series.queue_seconds.observe(phases.queue_ns * _NANOSECONDS)

    def record_failure(self, nanoseconds: int) -> None:
        """Count a request that was refused or failed after `nanoseconds`."""
        self.fail.add(nanoseconds)
        if self._series is not None:
            self._series.failed.inc()
