"""What the server can be told, as its flags tell it."""

import dataclasses
import pathlib

MEBIBYTE = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class BatchingSettings:
    """How requests are run together.

    Attributes:
      max_batch_size: Most examples (rows, not requests) in one run of the model. A single request
        may hold more and then runs alone.
      batch_timeout_seconds: How long the oldest request waits for others to fill its batch. With 0
        a batch is whatever had arrived when the model became free, which costs a lone request
        nothing.
      queue_length: Most requests that wait; a further one is refused with RESOURCE_EXHAUSTED.
      queue_bytes: Most bytes of input that wait, refused likewise.
      batch_threads: Batches that run at the same time.
    """

    max_batch_size: int = 8
    batch_timeout_seconds: float = 0.0
    queue_length: int = 128
    queue_bytes: int = 512 * MEBIBYTE
    batch_threads: int = 1


@dataclasses.dataclass(frozen=True)
class TlsSettings:
    """PEM files of an encrypted server.

    Attributes:
      certificate: The server's certificate, followed by its chain.
      key: The certificate's private key.
      client_ca: Certificates of who signs clients'; where given, a client must show one.
    """

    certificate: pathlib.Path
    key: pathlib.Path
    client_ca: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """All settings of one server process.

    Attributes:
      model_config: The models to serve: text of a `tensorflow.serving.ModelServerConfig`, the
        format of TF Serving's --model_config_file.
      host: Address to listen on; loopback unless told otherwise.
      port: gRPC port; 0 takes a free one.
      rest_port: REST port; None serves no REST.
      metrics_port: Port of Prometheus metrics; None serves none of its own.
      poll_seconds: How often base paths are searched for new versions.
      max_message_bytes: Largest request, gRPC or REST, that is answered; gRPC breaks off at twice
        as much.
      grace_seconds: How long a stop waits for the requests that it holds.
      access_log: "-" for standard error, a path, or "" for none.
      intra_op_threads: TensorFlow's threads in one operation; 0 leaves it to TensorFlow.
      batching: How requests are run together.
      tls: Encryption; None serves plain text.
    """

    model_config: str
    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int | None = None
    metrics_port: int | None = None
    poll_seconds: float = 2.0
    max_message_bytes: int = 64 * MEBIBYTE
    grace_seconds: float = 30.0
    access_log: str = "-"
    intra_op_threads: int = 0
    batching: BatchingSettings = dataclasses.field(default_factory=BatchingSettings)
    tls: TlsSettings | None = None

    @property
    def max_concurrent_calls(self) -> int:
        """Most calls held at once: a full queue, the batches that run and some for look-ups.

        With twice `max_message_bytes` it bounds what messages can take of memory.
        """
        batching = self.batching
        return batching.queue_length + batching.batch_threads * batching.max_batch_size + 64
