"""Settings of the server, made of its flags by `cli.py`."""

import dataclasses
import pathlib
import socket

MEBIBYTE = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """All settings of one server process. The command line's flags of these names describe them.

    Attributes:
      model_config: The models to serve: text of a `tensorflow.serving.ModelServerConfig`.
      rest_port: None serves no REST.
      sample_requests: Part of the calls that is sampled; 0 samples none.
    """

    model_config: str
    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int | None = None
    poll_seconds: float = 2.0
    max_message_mib: int = 16
    read_seconds: float = 30.0
    grace_seconds: float = 30.0
    max_batch_size: int = 8
    queue_length: int = 128
    sample_requests: float = 0.0
    sample_folder: pathlib.Path | None = None
    sample_mib: int = 64
    tls_certificate: pathlib.Path | None = None
    tls_key: pathlib.Path | None = None
    tls_client_ca: pathlib.Path | None = None

    @property
    def max_message_bytes(self) -> int:
        """Largest request over gRPC, and largest input as an array."""
        return self.max_message_mib * MEBIBYTE

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
