"""The server's command line. It answers --help and mistakes without TensorFlow."""

import argparse
import ctypes
import os
import pathlib
import signal
import sys
import warnings
from collections.abc import Callable, Sequence

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
The port speaks TF Serving's gRPC API (Predict, GetModelMetadata, GetModelStatus) with health
checking and reflection; the REST port speaks its REST API. New versions under the base path are
loaded, warmed and swapped in while the server runs. For a machine or a network that you trust; a
configuration of nginx for others is in serving/proxy. Details: docs/serving.md.
"""


def _number(kind: Callable[[str], float], low: float, high: float, what: str) -> Callable:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:  # nor NaN
            raise argparse.ArgumentTypeError(f"expected {what}. Received: {text!r}")
        return value

    return parse


_positive = _number(int, 1, 2**31, "a number from 1 up")
_not_negative = _number(float, 0, 1e9, "a number from 0 up")
_share = _number(float, 1e-12, 1, "a number over 0 and up to 1")
_port_number = _number(int, 0, 65535, "a port or 'off'")


def _port(text: str) -> int | None:
    return None if text == "off" else _port_number(text)


def _label(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"expected NAME=VERSION. Received: {text!r}")
    return name, int(number)


def _versions(text: str) -> str:
    """The policy in TF Serving's text format."""
    if text == "all":
        return "all {}"
    kind, _, count = text.partition(":")
    if kind == "latest" and (not count or (count.isdecimal() and int(count) > 0)):
        return f"latest {{ num_versions: {count or 1} }}"
    if text and all(part.isdecimal() for part in text.split(",")):
        return "specific { " + " ".join(f"versions: {part}" for part in text.split(",")) + " }"
    raise argparse.ArgumentTypeError(
        f"expected latest, latest:N, all, or numbers with commas. Received: {text!r}"
    )


def build_parser() -> argparse.ArgumentParser:
    """The parser of the server's flags."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.server",
        description="Serve pushed models over TF Serving's own gRPC and REST calls.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    batching = BatchingSettings()
    path, positive, seconds = pathlib.Path, _positive, _not_negative

    model = parser.add_argument_group("what to serve").add_argument
    base = (
        "folder of version folders (local, gs:// or s3://): output/serving/genre; loading a "
        "SavedModel runs its code: name folders that you trust only"
    )
    model("--model-base-path", metavar="DIR", help=base)
    model("--model-name", default="genre", metavar="NAME", help="(default: genre)")
    policy = "latest, latest:N, all, or numbers with commas (default: latest)"
    model("--versions", type=_versions, default="latest", metavar="POLICY", help=policy)
    label = "a name for a version (stable=3); repeatable"
    model("--label", type=_label, action="append", default=[], metavar="NAME=VERSION", help=label)
    config = "several models: TF Serving's models.config, in place of the flags above"
    model("--model-config-file", type=path, metavar="FILE", help=config)
    poll = "how often to look for new versions (default: 2)"
    model("--poll-seconds", type=seconds, default=2.0, metavar="S", help=poll)

    network = parser.add_argument_group("where to listen").add_argument
    network("--host", default="127.0.0.1", help="(default: 127.0.0.1, this machine)")
    network("--port", type=_port, default=8500, help="gRPC; 0 takes a free one (default: 8500)")
    rest = "or off (default: 8501)"
    network("--rest-port", type=_port, default=8501, metavar="PORT", help=rest)
    metrics = "Prometheus metrics on a port of their own (default: on the REST port only)"
    network("--metrics-port", type=_port, metavar="PORT", help=metrics)
    network("--tls-certificate", type=path, metavar="PEM", help="serve TLS")
    network("--tls-key", type=path, metavar="PEM", help="its private key")
    network("--tls-client-ca", type=path, metavar="PEM", help="ask clients for a certificate")
    proxies = "believe X-Forwarded-For of these addresses (default: of none)"
    network("--trusted-proxies", default="", metavar="IP,IP", help=proxies)

    load = parser.add_argument_group("how much to take on").add_argument
    rows = f"clips in one run of the model (default: {batching.max_batch_size})"
    load("--max-batch-size", type=positive, default=batching.max_batch_size, metavar="N", help=rows)
    wait = "longest wait for a batch to fill; 0 takes what is there (default: 0)"
    load("--batch-timeout-ms", type=seconds, default=0.0, metavar="MS", help=wait)
    runs = f"batches that run at the same time (default: {batching.batch_threads})"
    load("--batch-threads", type=positive, default=batching.batch_threads, metavar="N", help=runs)
    held = f"requests that are held; others get UNAVAILABLE (default: {batching.queue_length})"
    load("--queue-length", type=positive, default=batching.queue_length, metavar="N", help=held)
    size = "largest request; over REST a third more, for base64 (default: 16: six minutes as WAV)"
    load("--max-message-mib", type=positive, default=16, metavar="MIB", help=size)
    arrival = "how long a request may take to arrive (default: 30)"
    load("--read-seconds", type=seconds, default=30.0, metavar="S", help=arrival)
    threads = "TensorFlow's threads (default: one a core)"
    load("--intra-op-threads", type=positive, default=0, metavar="N", help=threads)
    grace = "on SIGTERM, time to finish what is held (default: 30)"
    load("--grace-seconds", type=seconds, default=30.0, metavar="S", help=grace)

    log = "JSON lines, one a call: a file, - for standard error (default), or off"
    parser.add_argument("--access-log", default="-", metavar="FILE", help=log)
    sampling = parser.add_argument_group("samples for python -m serving.monitor").add_argument
    share = "describe this part of the requests: 0.1 for one in ten (default: none)"
    sampling("--sample-requests", type=_share, metavar="SHARE", help=share)
    folder = "local folder that the descriptions are written to, as JSON lines"
    sampling("--sample-folder", type=path, metavar="DIR", help=folder)
    bound = "most that the descriptions take, and as much the sounds; the oldest go (default: 64)"
    sampling("--sample-mib", type=positive, default=64, metavar="MIB", help=bound)
    sound = "keep the sampled sound, too (30 s of each)"
    sampling("--sample-sound", action="store_true", help=sound)
    return parser


def _model_config(arguments: argparse.Namespace) -> str:
    base_path = arguments.model_base_path
    if arguments.model_config_file is not None:
        if base_path is not None:
            raise UserError("--model-base-path and --model-config-file exclude each other")
        try:
            return str(arguments.model_config_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeError) as error:
            raise UserError(f"--model-config-file cannot be read: {error}") from error
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
    if (share is None) != (folder is None) or (arguments.sample_sound and share is None):
        raise UserError("samples need both --sample-requests SHARE and --sample-folder DIR")
    if share is None:
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
        return TlsSettings(*files.values())
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
        read_seconds=max(parsed.read_seconds, 0.1),
        grace_seconds=parsed.grace_seconds,
        access_log="" if parsed.access_log == "off" else parsed.access_log,
        trusted_proxies=tuple(filter(None, parsed.trusted_proxies.replace(" ", "").split(","))),
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
                f"Could not bind to {settings.host}, {flag} {port}: {error.strerror}"
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
