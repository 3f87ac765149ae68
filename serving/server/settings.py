"""Settings of the server, made of its flags by `cli.py`."""

import dataclasses
import pathlib
import socket

MEBIBYTE = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class BatchingSettings:
    """How requests are held and run together.

    Attributes:
      max_batch_size: Most examples (rows, not requests) in one run of the model, and so in one
        request.
      max_batch_bytes: Most bytes of input in one run of several requests: they are copied into
        one array.
      batch_timeout_seconds: How long the oldest request waits for others to fill its batch. With 0
        a batch is whatever had arrived when the model became free.
      queue_length: Most requests that are held, from before their first byte is read to their
        answer; a further one is refused with UNAVAILABLE.
      batch_threads: Batches that run at the same time.
    """

    max_batch_size: int = 8
    max_batch_bytes: int = 64 * MEBIBYTE
    batch_timeout_seconds: float = 0.0
    queue_length: int = 128
    batch_threads: int = 1


@dataclasses.dataclass(frozen=True)
class TlsSettings:
    """PEM files of an encrypted server.

    Attributes:
      certificate: The server's certificate, followed by its chain.
      key: The certificate's private key.
      client_ca: Certificates of those who sign clients'; where given, a client must show one.
    """

    certificate: pathlib.Path
    key: pathlib.Path
    client_ca: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True)
class SamplingSettings:
    """Which requests are sampled for `python -m serving.monitor`.

    Attributes:
      share: Part of the calls, over 0 and up to 1.
      folder: Where samples are written.
      most_bytes: Most bytes of descriptions there, and as many of sounds.
      sound: Whether sounds are kept, too.
    """

    share: float
    folder: pathlib.Path
    most_bytes: int = 64 * MEBIBYTE
    sound: bool = False


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """All settings of one server process.

    Attributes:
      model_config: The models to serve: text of a `tensorflow.serving.ModelServerConfig`, the
        format of TF Serving's --model_config_file.
      host: Address to listen on, of IPv4 or IPv6.
      port: gRPC port; 0 takes a free one.
      rest_port: REST port; None serves no REST.
      metrics_port: Port of Prometheus metrics; None serves none of its own.
      poll_seconds: How often base paths are searched for new versions.
      max_message_bytes: Largest request, and largest input as an array.
      read_seconds: How long a request's bytes may take to arrive.
      grace_seconds: How long a stop waits for the requests that it holds.
      access_log: "-" for standard error, a path, or "" for none.
      trusted_proxies: Addresses whose X-Forwarded-For names the caller in the access log.
      intra_op_threads: TensorFlow's threads in one operation; 0 leaves it to TensorFlow.
      batching: How requests are held and run together.
      sampling: Which requests are sampled; None samples none.
      tls: Encryption; None serves plain text.
    """

    model_config: str
    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int | None = None
    metrics_port: int | None = None
    poll_seconds: float = 2.0
    max_message_bytes: int = 16 * MEBIBYTE
    read_seconds: float = 30.0
    grace_seconds: float = 30.0
    access_log: str = "-"
    trusted_proxies: tuple[str, ...] = ()
    intra_op_threads: int = 0
    batching: BatchingSettings = dataclasses.field(default_factory=BatchingSettings)
    sampling: SamplingSettings | None = None
    tls: TlsSettings | None = None

    @property
    def max_body_bytes(self) -> int:
        """Largest body over REST: base64 takes a third more than the same request over gRPC."""
        return self.max_message_bytes * 4 // 3 + 65_536

    @property
    def url_host(self) -> str:
        """`host` as it stands in an address: IPv6 in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens on an address of IPv4 or IPv6 ("::" takes both).

    Raises:
      OSError: The address or port is not available.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, dualstack_ipv6=host == "::")
    # Accepted connections inherit it: an answer does not wait for its headers' acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
