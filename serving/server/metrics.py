"""What Prometheus reads: requests, latency, batches, the queue and the versions."""

import prometheus_client as prometheus

from serving.server.registry import Registry

_LATENCY_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


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
            "gatefold_requests",
            "Calls answered, by their status.",
            ("protocol", "method", "model", "status"),
            registry=registry,
        )
        self._latency = prometheus.Histogram(
            "gatefold_request_latency_seconds",
            "From a call's arrival to its answer, successful calls only.",
            ("protocol", "method", "model"),
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self._queue_seconds = prometheus.Histogram(
            "gatefold_queue_seconds",
            "Time that a request waited for its run.",
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self._batch_rows = prometheus.Histogram(
            "gatefold_batch_rows",
            "Examples in one run of a model.",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self._batch_requests = prometheus.Histogram(
            "gatefold_batch_requests",
            "Requests that shared one run of a model.",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self._run_seconds = prometheus.Histogram(
            "gatefold_run_seconds",
            "Time of one run of a model.",
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.queue_length = prometheus.Gauge(
            "gatefold_queue_length", "Requests that wait for their run.", registry=registry
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

        self._shadow = prometheus.Counter(
            "gatefold_shadow_requests",
            "Calls that a shadow version was to be asked too: agrees, disagrees, dropped, failed.",
            ("model", "version", "result"),
            registry=registry,
        )
        self._samples = prometheus.Counter(
            "gatefold_samples",
            "Calls that were chosen as samples: written, dropped, failed.",
            ("result",),
            registry=registry,
        )
        self._searches = prometheus.Counter(
            "gatefold_base_path_searches",
            "How often the base paths were searched for versions.",
            registry=registry,
        )
        self.access_lines_lost = prometheus.Gauge(
            "gatefold_access_log_lines_lost",
            "Lines that the access log could not take.",
            registry=registry,
        )
        self.memory_bytes = prometheus.Gauge(
            "gatefold_request_memory_bytes",
            "Bytes of the requests that are held.",
            registry=registry,
        )
        self._shown: tuple[set[tuple[str, ...]], set[tuple[str, ...]]] = (set(), set())

    def observe_call(
        self, *, protocol: str, method: str, model: str, status: str, seconds: float
    ) -> None:
        """Counts one answered call.

        Args:
          protocol: "grpc" or "rest".
          method: "Predict", "GetModelStatus" …
          model: A model that exists, or "" (a caller's invention would make a series of its own).
          status: Name of the status code.
          seconds: From arrival to answer.
        """
        self._requests.labels(protocol, method, model, status).inc()
        if status == "OK":
            self._latency.labels(protocol, method, model).observe(seconds)

    def observe_batch(self, *, requests: int, rows: int, seconds: float) -> None:
        """Counts one run of a model."""
        self._batch_requests.observe(requests)
        self._batch_rows.observe(rows)
        self._run_seconds.observe(seconds)

    def observe_shadow(self, model: str, version: int, result: str) -> None:
        """Counts one call that a shadow version was to be asked too.

        Args:
          model: The model.
          version: The shadow's version.
          result: "agrees", "disagrees", "dropped" or "failed".
        """
        self._shadow.labels(model, str(version), result).inc()

    def observe_sample(self, result: str) -> None:
        """Counts one call that was chosen as a sample: "written", "dropped" or "failed"."""
        self._samples.labels(result).inc()

    def observe_search(self) -> None:
        """Counts one search of the base paths."""
        self._searches.inc()

    def observe_queue(self, seconds: float) -> None:
        """Counts one request's time in the queue."""
        self._queue_seconds.observe(seconds)

    def observe_versions(self, models: Registry) -> None:
        """Sets which versions serve."""
        serving: set[tuple[str, ...]] = set()
        broken: set[tuple[str, ...]] = set()
        for model in models.models():
            serving |= {(model.name, str(number)) for number in model.numbers()}
            broken.add((model.name,))
            count = sum(state.code != 0 for state in model.states().values())
            self._broken.labels(model.name).set(count)
        for labels in serving:
            self._versions.labels(*labels).set(1)
        # One by one, not all anew: a scrape in between would find a server without versions.
        for gone in self._shown[0] - serving:
            self._versions.remove(*gone)
        for gone in self._shown[1] - broken:
            self._broken.remove(*gone)
        self._shown = serving, broken
