"""What Prometheus reads: requests, latency, batches, the queue and the versions."""

import prometheus_client as prometheus

from serving.server.access_log import CallRecord
from serving.server.registry import Registry

_LATENCY_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)
_CALL = ("protocol", "method", "model")


class Metrics:
    """The server's metrics, in a registry of their own.

    Attributes:
      registry: What an exporter serves.
    """

    def __init__(self) -> None:
        """Creates every metric at zero."""
        self.registry = registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)

        def histogram(
            name: str, text: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()
        ) -> prometheus.Histogram:
            return prometheus.Histogram(name, text, labels, buckets=buckets, registry=registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> prometheus.Gauge:
            return prometheus.Gauge(name, text, labels, registry=registry)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> prometheus.Counter:
            return prometheus.Counter(name, text, labels, registry=registry)

        self._requests = counter(
            "gatefold_requests", "Calls answered, by their status.", (*_CALL, "status")
        )
        self._latency = histogram(
            "gatefold_request_latency_seconds",
            "From a call's arrival to its answer, successful calls only.",
            _LATENCY_BUCKETS,
            _CALL,
        )
        self._queue_seconds = histogram(
            "gatefold_queue_seconds", "Time that a request waited for its run.", _LATENCY_BUCKETS
        )
        self._batch_rows = histogram(
            "gatefold_batch_rows", "Examples in one run of a model.", _BATCH_BUCKETS
        )
        self._batch_requests = histogram(
            "gatefold_batch_requests", "Requests that shared a run of a model.", _BATCH_BUCKETS
        )
        self._run_seconds = histogram(
            "gatefold_run_seconds", "Time of one run of a model.", _LATENCY_BUCKETS
        )
        self.queue_length = gauge("gatefold_queue_length", "Requests that wait for their run.")
        self.requests_held = gauge("gatefold_requests_held", "Requests that are not yet answered.")
        self.access_lines_lost = gauge(
            "gatefold_access_log_lines_lost", "Lines that the access log could not take."
        )
        self._versions = gauge(
            "gatefold_model_version", "1 for every version that serves.", ("model", "version")
        )
        self._broken = gauge(
            "gatefold_model_versions_broken",
            "Versions that were passed over because they cannot be loaded.",
            ("model",),
        )
        self._samples = counter(
            "gatefold_samples",
            "Calls that were chosen as samples: written, dropped, failed.",
            ("result",),
        )
        self._searches = counter(
            "gatefold_base_path_searches", "How often the base paths were searched for versions."
        )
        self._serving: set[tuple[str, str]] = set()

    def observe_call(self, record: CallRecord) -> None:
        """Counts one answered call; its model must exist or be ""."""
        labels = record.protocol, record.method, record.model
        self._requests.labels(*labels, record.status).inc()
        if record.status == "OK":
            self._latency.labels(*labels).observe(record.milliseconds / 1000)

    def observe_batch(self, *, requests: int, rows: int, seconds: float) -> None:
        """Counts one run of a model."""
        self._batch_requests.observe(requests)
        self._batch_rows.observe(rows)
        self._run_seconds.observe(seconds)

    def observe_queue(self, seconds: float) -> None:
        """Counts one request's time in the queue."""
        self._queue_seconds.observe(seconds)

    def observe_sample(self, result: str) -> None:
        """Counts one call that was chosen as a sample: "written", "dropped" or "failed"."""
        self._samples.labels(result).inc()

    def observe_search(self, models: Registry) -> None:
        """Counts one search of the base paths, and sets which versions serve."""
        self._searches.inc()
        serving = set()
        for model in models.models():
            serving |= {(model.name, str(number)) for number in model.numbers()}
            broken = sum(state.code != 0 for state in model.states().values())
            self._broken.labels(model.name).set(broken)
        for labels in serving:
            self._versions.labels(*labels).set(1)
        # One by one, not all anew: a scrape in between would find a server without versions.
        for labels in self._serving - serving:
            self._versions.remove(*labels)
        self._serving = serving
