"""What Prometheus reads: calls, the queue, runs and versions."""

import dataclasses
from typing import TYPE_CHECKING

import prometheus_client as prometheus

if TYPE_CHECKING:  # it brings TensorFlow
    from serving.server.registry import Registry

_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_CALL = ("protocol", "method", "model")


@dataclasses.dataclass
class CallRecord:
    """What metrics and samples count of a call, filled in while it is answered.

    Attributes:
      protocol: "grpc" or "rest".
      method: "Predict", "GetModelStatus" …
      model: The model that it names, if there is one of that name.
      status: Name of the status code.
      error: What was wrong.
      seconds: From its arrival to its answer.
    """

    protocol: str
    method: str
    model: str = ""
    status: str = "OK"
    error: str = ""
    seconds: float = 0.0


class Metrics:
    """The server's metrics, in a registry of their own.

    Attributes:
      registry: What an exporter serves.
    """

    def __init__(self) -> None:
        """Creates every metric at zero."""
        self.registry = registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        self._requests = prometheus.Counter(
            "gatefold_requests", "Calls answered.", (*_CALL, "status"), registry=registry
        )
        self._latency = prometheus.Histogram(
            "gatefold_request_latency_seconds",
            "From a call's arrival to its answer, successful calls only.",
            _CALL,
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_seconds = prometheus.Histogram(
            "gatefold_queue_seconds",
            "Time that a request waited for its run.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.run_seconds = prometheus.Histogram(
            "gatefold_run_seconds",
            "Time of one run of a model.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_length = prometheus.Gauge(
            "gatefold_queue_length", "Requests that wait for their run.", registry=registry
        )
        self.requests_held = prometheus.Gauge(
            "gatefold_requests_held", "Requests that are not yet answered.", registry=registry
        )
        self._versions = prometheus.Gauge(
            "gatefold_model_version",
            "1 for every version that serves.",
            ("model", "version"),
            registry=registry,
        )
        self._broken = prometheus.Gauge(
            "gatefold_model_versions_broken",
            "Versions that were passed over because they cannot be loaded.",
            ("model",),
            registry=registry,
        )
        self.samples = prometheus.Counter(
            "gatefold_samples", "Calls chosen as samples.", ("result",), registry=registry
        )
        self._serving: set[tuple[str, str]] = set()

    def observe_call(self, record: CallRecord) -> None:
        """Counts one answered call; its model must exist or be ""."""
        labels = record.protocol, record.method, record.model
        self._requests.labels(*labels, record.status).inc()
        if record.status == "OK":
            self._latency.labels(*labels).observe(record.seconds)

    def observe_versions(self, models: "Registry") -> None:
        """Sets which versions serve and which are broken."""
        serving = set()
        for name, model in models.models.items():
            serving |= {(name, str(number)) for number in model.numbers()}
            broken = sum(state.status.error_code != 0 for state in model.states.values())
            self._broken.labels(name).set(broken)
        for labels in serving:
            self._versions.labels(*labels).set(1)
        # One by one, not all anew: a scrape in between would find a server without versions.
        for labels in self._serving - serving:
            self._versions.remove(*labels)
        self._serving = serving
