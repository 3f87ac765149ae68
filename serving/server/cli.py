"""The server's command line. It answers --help and mistakes without TensorFlow."""

import argparse
import ctypes
import os
import pathlib
import signal
import sys
import warnings
from collections.abc import Sequence

from components.common.errors import UserError
from serving.server.settings import (
    MEBIBYTE,
    BatchingSettings,
    SamplingSettings,
    ServerSettings,
    TlsSettings,
    listening_socket,
)

_M_ARENA_MAX = -8  # of glibc's malloc.h
_EPILOG = """\
The port speaks TF Serving's gRPC API (PredictionService, ModelService) with health checking and
reflection; the REST port speaks its REST API. New versions under the base path are loaded, warmed
and swapped in while the server runs. Details: docs/serving.md.
"""


def _port(text: str) -> int | None:
    if text == "off":
        return None
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port or 'off'. Received: {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 up. Received: {text!r}")
    return int(text)


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"expected a number from 0 up. Received: {text!r}")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(
            f"expected a number over 0 and up to 1. Received: {text!r}"
        )
    return value


def _label(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not number.isdigit():
        raise argparse.ArgumentTypeError(f"expected NAME=VERSION. Received: {text!r}")
    return name, int(number)


def _versions(text: str) -> str:
    """The policy in TF Serving's text format."""
    if text == "all":
        return "all {}"
    kind, _, count = text.partition(":")
    if kind == "latest" and (not count or (count.isdigit() and int(count) > 0)):
        return f"latest {{ num_versions: {count or 1} }}"
    if text and all(part.isdigit() for part in text.split(",")):
        return "specific { " + " ".join(f"versions: {part}" for part in text.split(",")) + " }"
    raise argparse.ArgumentTypeError(
        f"expected latest, latest:N, all, or numbers with commas. Received: {text!r}"
    )


def build_parser() -> argparse.ArgumentParser:
    """The parser of the server's flags."""
    batching = BatchingSettings()
    parser = argparse.ArgumentParser(
        prog="python -m serving.server",
        description="Serve pushed models over TF Serving's own gRPC and REST calls.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model = parser.add_argument_group("what to serve")
    model.add_argument(
        "--model-base-path",
        metavar="DIR",
        help="folder of version folders (local, gs:// or s3://): output/serving/genre",
    )
    model.add_argument("--model-name", default="genre", metavar="NAME", help="(default: genre)")
    model.add_argument(
        "--versions",
        type=_versions,
        default="latest",
        metavar="POLICY",
        help="latest, latest:N, all, or numbers with commas (default: latest)",
    )
    model.add_argument(
        "--label",
        type=_label,
        action="append",
        default=[],
        metavar="NAME=VERSION",
        help="a name for a version (stable=3); repeatable",
    )
    model.add_argument(
        "--model-config-file",
        type=pathlib.Path,
        metavar="FILE",
        help="several models: TF Serving's models.config, in place of the flags above",
    )
    model.add_argument(
        "--allow-reload",
        action="store_true",
        help="let callers change what is served (HandleReloadConfigRequest)",
    )
    model.add_argument(
        "--poll-seconds",
        type=_not_negative,
        default=2.0,
        metavar="S",
        help="how often to look for new versions (default: 2)",
    )
    network = parser.add_argument_group("where to listen")
    network.add_argument("--host", default="127.0.0.1", help="(default: 127.0.0.1, this machine)")
    network.add_argument(
        "--port", type=_port, default=8500, help="gRPC; 0 takes a free one (default: 8500)"
    )
    network.add_argument(
        "--rest-port", type=_port, default=8501, metavar="PORT", help="or off (default: 8501)"
    )
    network.add_argument(
        "--metrics-port",
        type=_port,
        default=None,
        metavar="PORT",
        help="Prometheus metrics of their own port (default: on the REST port only)",
    )
    network.add_argument("--tls-certificate", type=pathlib.Path, metavar="PEM", help="serve TLS")
    network.add_argument("--tls-key", type=pathlib.Path, metavar="PEM", help="its private key")
    network.add_argument(
        "--tls-client-ca", type=pathlib.Path, metavar="PEM", help="ask clients for a certificate"
    )
    network.add_argument(
        "--trusted-proxies",
        default="",
        metavar="IP,IP",
        help="believe X-Forwarded-For of these addresses (default: of none)",
    )
    load = parser.add_argument_group("how much to take on")
    load.add_argument(
        "--max-batch-size",
        type=_positive,
        default=batching.max_batch_size,
        metavar="N",
        help=f"clips in one run of the model (default: {batching.max_batch_size})",
    )
    load.add_argument(
        "--batch-timeout-ms",
        type=_not_negative,
        default=batching.batch_timeout_seconds * 1000,
        metavar="MS",
        help="longest wait for a batch to fill; 0 takes what is there (default: 0)",
    )
    load.add_argument(
        "--batch-threads",
        type=_positive,
        default=batching.batch_threads,
        metavar="N",
        help=f"batches that run at the same time (default: {batching.batch_threads})",
    )
    load.add_argument(
        "--queue-length",
        type=_positive,
        default=batching.queue_length,
        metavar="N",
        help="requests that may wait; more are refused with UNAVAILABLE "
        f"(default: {batching.queue_length})",
    )
    load.add_argument(
        "--max-message-mib",
        type=_positive,
        default=64,
        metavar="MIB",
        help="largest request (default: 64: 25 minutes of sound as WAV)",
    )
    load.add_argument(
        "--memory-mib",
        type=_positive,
        default=1024,
        metavar="MIB",
        help="all requests that are held, together; more are refused with RESOURCE_EXHAUSTED "
        "(default: 1024)",
    )
    load.add_argument(
        "--read-seconds",
        type=_not_negative,
        default=30.0,
        metavar="S",
        help="how long a request may take to arrive (default: 30)",
    )
    load.add_argument(
        "--intra-op-threads",
        type=_positive,
        default=0,
        metavar="N",
        help="TensorFlow's threads (default: one a core)",
    )
    load.add_argument(
        "--grace-seconds",
        type=_not_negative,
        default=30.0,
        metavar="S",
        help="on SIGTERM, time to finish what is held (default: 30)",
    )
    parser.add_argument(
        "--access-log",
        default="-",
        metavar="FILE",
        help="JSON lines, one a call: a file, - for standard error (default), or off",
    )
    parser.add_argument(
        "--shadow-log",
        default="-",
        metavar="FILE",
        help="JSON lines, one a disagreement with the shadow version, at most 10 MiB and as much "
        "before: a file, - for standard error (default), or off",
    )
    sampling = parser.add_argument_group("samples for python -m serving.monitor")
    sampling.add_argument(
        "--sample-requests",
        type=_share,
        metavar="SHARE",
        help="describe this part of the requests: 0.1 for one in ten (default: none)",
    )
    sampling.add_argument(
        "--sample-folder",
        type=pathlib.Path,
        metavar="DIR",
        help="local folder that the descriptions are written to, as JSON lines",
    )
    sampling.add_argument(
        "--sample-mib",
        type=_positive,
        default=64,
        metavar="MIB",
        help="most that the descriptions take, and as much the sounds; the oldest go (default: 64)",
    )
    sampling.add_argument(
        "--sample-sound", action="store_true", help="keep the sampled sound, too (30 s of each)"
    )
    return parser


def _model_config(arguments: argparse.Namespace) -> str:
    if arguments.model_config_file is not None:
        if arguments.model_base_path is not None:
            raise UserError("--model-base-path and --model-config-file exclude each other")
        try:
            return str(arguments.model_config_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeError) as error:
            raise UserError(f"--model-config-file cannot be read: {error}") from error
    base_path = arguments.model_base_path
    if base_path is None:
        raise UserError(
            "nothing to serve: give --model-base-path output/serving/genre "
            "(`make run` pushes a model there)"
        )
    if "://" not in base_path:
        if not pathlib.Path(base_path).is_dir():
            raise UserError(
                f"--model-base-path is no folder: `make run` pushes a model there first. "
                f"Received: {base_path!r}"
            )
        base_path = str(pathlib.Path(base_path).resolve())
    policy = arguments.versions if "{" in arguments.versions else _versions(arguments.versions)
    labels = "".join(
        f"version_labels {{ key: {_quote(name)} value: {number} }}\n"
        for name, number in arguments.label
    )
    return (
        f"model_config_list {{ config {{\nname: {_quote(arguments.model_name)}\n"
        f"base_path: {_quote(base_path)}\nmodel_platform: 'tensorflow'\n"
        f"model_version_policy {{ {policy} }}\n{labels}}} }}"
    )


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _sampling(arguments: argparse.Namespace) -> SamplingSettings | None:
    share, folder = arguments.sample_requests, arguments.sample_folder
    if (share is None) != (folder is None):
        raise UserError("samples need both --sample-requests SHARE and --sample-folder DIR")
    if share is None:
        if arguments.sample_sound:
            raise UserError("--sample-sound needs --sample-requests SHARE and --sample-folder DIR")
        return None
    if ":/" in str(folder):  # a path folds the slashes of s3://
        raise UserError(f"--sample-folder must be a local folder. Received: {str(folder)!r}")
    return SamplingSettings(share, folder, arguments.sample_mib * MEBIBYTE, arguments.sample_sound)


def _tls(arguments: argparse.Namespace) -> TlsSettings | None:
    files = {
        "--tls-certificate": arguments.tls_certificate,
        "--tls-key": arguments.tls_key,
        "--tls-client-ca": arguments.tls_client_ca,
    }
    for flag, path in files.items():
        if path is not None and not path.is_file():
            raise UserError(f"{flag} is no file. Received: {str(path)!r}")
    if arguments.tls_certificate and arguments.tls_key:
        return TlsSettings(arguments.tls_certificate, arguments.tls_key, arguments.tls_client_ca)
    if any(files.values()):
        raise UserError("TLS needs both --tls-certificate and --tls-key")
    return None


def parse(arguments: Sequence[str] | None = None) -> ServerSettings:
    """The settings that the command line asks for.

    Raises:
      UserError: The flags contradict each other or name what is not there.
    """
    parsed = build_parser().parse_args(arguments)
    if parsed.port is None:
        raise UserError("--port cannot be off: gRPC is what is served")
    return ServerSettings(
        model_config=_model_config(parsed),
        host=parsed.host,
        port=parsed.port,
        rest_port=parsed.rest_port,
        metrics_port=parsed.metrics_port,
        poll_seconds=max(parsed.poll_seconds, 0.1),
        max_message_bytes=parsed.max_message_mib * MEBIBYTE,
        memory_bytes=parsed.memory_mib * MEBIBYTE,
        read_seconds=max(parsed.read_seconds, 0.1),
        grace_seconds=parsed.grace_seconds,
        access_log="" if parsed.access_log == "off" else parsed.access_log,
        shadow_log="" if parsed.shadow_log == "off" else parsed.shadow_log,
        trusted_proxies=tuple(filter(None, parsed.trusted_proxies.replace(" ", "").split(","))),
        allow_reload=parsed.allow_reload,
        intra_op_threads=parsed.intra_op_threads,
        batching=BatchingSettings(
            max_batch_size=parsed.max_batch_size,
            batch_timeout_seconds=parsed.batch_timeout_ms / 1000,
            queue_length=parsed.queue_length,
            batch_threads=parsed.batch_threads,
        ),
        sampling=_sampling(parsed),
        tls=_tls(parsed),
    )


def _check_ports(settings: ServerSettings) -> None:
    """Finds a taken port before TensorFlow is loaded, which takes its time.

    Raises:
      UserError: Naming the flag.
    """
    ports = {
        "--port": settings.port,
        "--rest-port": settings.rest_port,
        "--metrics-port": settings.metrics_port,
    }
    for flag, port in ports.items():
        if not port:  # off, or any that is free
            continue
        try:
            listening_socket(settings.host, port).close()
        except OSError as error:
            raise UserError(
                f"{flag} {port} on {settings.host} cannot be had: {error.strerror}"
            ) from error


def _keep_few_arenas() -> None:
    """Lets threads share memory that was freed, instead of each keeping its own: glibc's arenas."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries do without
    if mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_M_ARENA_MAX, 2)


def _end_at_once(number: int, frame: object) -> None:
    os.write(2, b"Stopped.\n")
    os._exit(0)  # nothing is served yet, and an import cannot be unwound


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until it is told to stop. Returns the exit code."""
    try:
        settings = parse(arguments)
        _check_ports(settings)
        signal.signal(signal.SIGTERM, _end_at_once)  # until the server handles it
        print("Loading TensorFlow …", file=sys.stderr, flush=True)
        _keep_few_arenas()
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
        warnings.simplefilter("ignore")
        from serving.server import running

        return running.serve(settings)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
