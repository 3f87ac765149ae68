"""The server's command line. It answers --help and mistakes without TensorFlow."""

import argparse
import ctypes
import dataclasses
import os
import pathlib
import signal
import ssl
import sys
import warnings
from collections.abc import Callable, Sequence

from components.common.command_line import Parser
from components.common.errors import UserError
from serving.server.settings import ServerSettings, listening_socket

_M_ARENA_MAX = -8  # of glibc's malloc.h
_EPILOG = """\
The port speaks TF Serving's gRPC API (Predict, GetModelMetadata, GetModelStatus) with health
checking and reflection; the REST port speaks its REST API and has Prometheus metrics. New versions
under the base path are loaded, warmed and swapped in while the server runs. For a machine or a
network that you trust; a configuration of nginx for others is in serving/proxy.

Exit codes: 0 stopped, 2 it cannot serve.
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
_mebibytes = _number(int, 1, 2047, "a number from 1 to 2047")  # gRPC counts bytes in 32 bits
_seconds = _number(float, 0.1, 1e9, "a number from 0.1 up")
_share = _number(float, 1e-12, 1, "a number over 0 and up to 1")
_port = _number(int, 0, 65535, "a port")


def _rest_port(text: str) -> int | None:
    return None if text == "off" else _port(text)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the server's flags."""
    parser = Parser(
        prog="gatefold serve",
        description="Serve pushed models over TF Serving's own gRPC and REST calls.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path = pathlib.Path

    model = parser.add_argument_group("what to serve").add_argument
    base = (
        "folder of version folders (local, gs:// or s3://): output/serving/genre; loading a "
        "SavedModel runs its code: name folders that you trust only"
    )
    model("--model-base-path", metavar="DIR", help=base)
    model("--model-name", default="genre", metavar="NAME", help="(default: genre)")
    config = "TF Serving's models.config, in place of the two flags above: several models, labels, "
    config += "which versions are loaded"
    model("--model-config-file", type=path, metavar="FILE", help=config)
    poll = "how often to look for new versions (default: 2)"
    model("--poll-seconds", type=_seconds, default=2.0, metavar="S", help=poll)

    network = parser.add_argument_group("where to listen").add_argument
    network("--host", default="127.0.0.1", help="(default: 127.0.0.1, this machine)")
    network("--port", type=_port, default=8500, help="gRPC; 0 takes a free one (default: 8500)")
    rest = "or off (default: 8501)"
    network("--rest-port", type=_rest_port, default=8501, metavar="PORT", help=rest)
    network("--tls-certificate", type=path, metavar="PEM", help="serve TLS")
    network("--tls-key", type=path, metavar="PEM", help="its private key")
    network("--tls-client-ca", type=path, metavar="PEM", help="ask clients for a certificate")

    load = parser.add_argument_group("how much to take on").add_argument
    rows = "clips in one run of the model, and in one request (default: 8)"
    load("--max-batch-size", type=_positive, default=8, metavar="N", help=rows)
    held = "requests that are held; others get UNAVAILABLE (default: 128)"
    load("--queue-length", type=_positive, default=128, metavar="N", help=held)
    size = "largest request; over REST a third more, for base64 (default: 16: six minutes as WAV)"
    load("--max-message-mib", type=_mebibytes, default=16, metavar="MIB", help=size)
    arrival = "how long a request may take to arrive (default: 30)"
    load("--read-seconds", type=_seconds, default=30.0, metavar="S", help=arrival)
    grace = "on SIGTERM, time to finish what is held (default: 30)"
    load("--grace-seconds", type=_seconds, default=30.0, metavar="S", help=grace)

    sampling = parser.add_argument_group("samples for gatefold monitor").add_argument
    share = "describe this part of the requests: 0.1 for one in ten (default: none)"
    sampling("--sample-requests", type=_share, default=0.0, metavar="SHARE", help=share)
    folder = "local folder that the descriptions are written to, as JSON lines"
    sampling("--sample-folder", type=path, metavar="DIR", help=folder)
    bound = "most that the descriptions take; the oldest go (default: 64)"
    sampling("--sample-mib", type=_positive, default=64, metavar="MIB", help=bound)
    return parser


def _model_config(parsed: argparse.Namespace) -> str:
    base_path = parsed.model_base_path
    if parsed.model_config_file is not None:
        if base_path is not None:
            raise UserError("--model-base-path and --model-config-file exclude each other")
        try:
            return str(parsed.model_config_file.read_text(encoding="utf-8"))
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
    return (
        f"model_config_list {{ config {{ name: {_quote(parsed.model_name)} "
        f"base_path: {_quote(base_path)} }} }}"
    )


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _check_flags(parsed: argparse.Namespace) -> None:
    for flag in ("tls_certificate", "tls_key", "tls_client_ca"):
        file = getattr(parsed, flag)
        if file is not None and not file.is_file():
            raise UserError(f"--{flag.replace('_', '-')} is no file. Received: {str(file)!r}")
    tls = {bool(parsed.tls_certificate), bool(parsed.tls_key)}
    if len(tls) > 1 or (parsed.tls_client_ca and False in tls):
        raise UserError("TLS needs both --tls-certificate and --tls-key")
    try:
        if parsed.tls_key:
            chain = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            chain.load_cert_chain(parsed.tls_certificate, parsed.tls_key, password=lambda: "")
        if parsed.tls_client_ca:
            ssl.create_default_context(cafile=parsed.tls_client_ca)
    except (OSError, ValueError) as error:
        raise UserError(
            "--tls-certificate, --tls-key (its own, not encrypted) and --tls-client-ca must be PEM "
            f"files: {error}"
        ) from error
    if bool(parsed.sample_requests) != bool(parsed.sample_folder):
        raise UserError("samples need both --sample-requests SHARE and --sample-folder DIR")
    if ":/" in str(parsed.sample_folder):  # a path folds the slashes of s3://
        raise UserError(
            f"--sample-folder must be a local folder. Received: {str(parsed.sample_folder)!r}"
        )


def parse(arguments: Sequence[str] | None = None) -> ServerSettings:
    """The settings that the command line asks for.

    Raises:
      UserError: The flags contradict each other or name what is not there.
    """
    parsed = build_parser().parse_args(arguments)
    _check_flags(parsed)
    names = {field.name for field in dataclasses.fields(ServerSettings)}
    values = {name: value for name, value in vars(parsed).items() if name in names}
    return ServerSettings(model_config=_model_config(parsed), **values)


def _check_ports(settings: ServerSettings) -> None:
    """Finds a taken port before TensorFlow is loaded, which takes its time.

    Raises:
      UserError: Naming the flag.
    """
    if settings.port and settings.port == settings.rest_port:
        raise UserError(f"--port and --rest-port must differ. Received: {settings.port} for both")
    for flag, port in {"--port": settings.port, "--rest-port": settings.rest_port}.items():
        try:
            listening_socket(settings.host, port or 0).close()
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
