"""Parses the command line of `gatefold kubeflow`, without importing TensorFlow."""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path

from components.common.command_line import VerdictParser
from components.common.errors import UserError
from components.common.storage import is_remote
from kubeflow.deployment import Deployment, Resources
from pipeline import options as pipeline_options
from pipeline.config import PipelineConfig
from pipeline.options import Option, add_options

# A registry and a path, then a tag, a digest, or both.
_IMAGE = re.compile(r"[\w.-]+(:\d+)?(/[\w.-]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?", re.ASCII)
HOST_VARIABLE = "KF_PIPELINES_ENDPOINT"

_EPILOG = """\
exit codes: 0 done; 1 it could not be done; 130 it was interrupted

examples:
  gatefold kubeflow compile --image registry/gatefold:1.0 \\
      --pipeline-root s3://bucket/gatefold --data s3://bucket/genres --output genre.yaml
  gatefold kubeflow run genre.yaml --host http://localhost:8888
  gatefold kubeflow schedule genre.yaml --cron "0 3 * * 1" --host http://localhost:8888
  gatefold kubeflow clean --pipeline-root s3://bucket/gatefold --keep-runs 4 --dry-run
"""


_CLUSTER = (
    Option("--image IMAGE", str, "container image of the nodes, best by digest", required=True),
    Option(
        "--pipeline-root URI",
        str,
        "s3:// or gs:// folder of all that runs make; models are pushed to URI/serving/genre",
        required=True,
    ),
    Option("--data URI", str, "folder of genre folders (s3:// or gs://)", required=True),
    Option("--resources CORES,GB", "2,8", "cores and memory of every node"),
    Option(
        "--node NODE=CORES,GB",
        (),
        "of one node or kind of nodes, as Transform-log-mel=4,16 or Trainer=8,32 (repeatable)",
    ),
    Option(
        "--accelerator TYPE[=N]", "", "for nodes that train, as nvidia.com/gpu or nvidia.com/gpu=2"
    ),
    Option("--retries N", 2, "how often a failed node starts again"),
    Option(
        "--object-store-secret NAME",
        "gatefold-object-store",
        "Kubernetes secret with the keys of s3://",
    ),
    Option(
        "--mlflow-secret NAME",
        "gatefold-mlflow",
        'Kubernetes secret with MLflow\'s address; "" for no tracking',
    ),
    Option(
        "--notice-secret NAME",
        "",
        "Kubernetes secret with the URL to which a line about the end of each run is posted "
        "(default: none; needs Kubeflow Pipelines 2.14)",
    ),
    Option("--no-cluster", False, "allow paths of this disk, to walk the file without a cluster"),
    Option("--cache-epoch TEXT", "", "with another text, nothing is taken from the cache"),
)
_FILE = (
    Option("--name NAME", "", "of the run or schedule"),
    Option("--experiment NAME", "gatefold", "that it belongs to"),
)
_CRON = Option(
    "--cron EXPRESSION",
    str,
    'minute, hour, day, month, weekday, in UTC: "0 3 * * 1" is Mondays at three',
    required=True,
)
_CLEAN = (
    Option("--pipeline-root URI", str, "as it was given to compile", required=True),
    Option(
        "--keep-runs N",
        int,
        "how many complete runs to keep; those in production are kept, too",
        required=True,
    ),
    Option("--dry-run", False, "list what would be removed, and remove nothing"),
)
_API = (
    Option("--namespace NAME", str, "of the user, where several users share Kubeflow"),
    Option("--token-file FILE", "", "file with the bearer token of the API"),
)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads the command line; `command` is the name of the command.

    Args:
      arguments: The arguments, without the program's name.

    Raises:
      SystemExit: Help was requested, or argparse refused an argument (with status 1).
    """
    return build_parser().parse_args(arguments)


def build_parser() -> VerdictParser:
    """The parser of `gatefold kubeflow`."""
    parser = VerdictParser(
        prog="gatefold kubeflow",
        description="Gatefold on Kubeflow Pipelines.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    compiling = commands.add_parser("compile", help="write the file that Kubeflow runs")
    cluster = compiling.add_argument_group("cluster")
    add_options(cluster, _CLUSTER)
    cluster.add_argument(
        "--output", dest="file", default="gatefold.yaml", metavar="FILE", help="%(default)s"
    )
    pipeline_options.add_shared_options(compiling)
    run = commands.add_parser("run", help="run a compiled file once")
    schedule = commands.add_parser("schedule", help="run a compiled file again and again")
    for command in (run, schedule):
        command.add_argument("file", metavar="FILE", help="a file that compile wrote")
        add_options(command, _FILE)
    add_options(schedule, [_CRON])
    status = commands.add_parser("status", help="show runs and schedules, or one run's nodes")
    status.add_argument("run", nargs="?", default="", metavar="RUN", help="id of a run")
    stop = commands.add_parser("stop", help="stop a run, or end a schedule")
    stop.add_argument("id", metavar="ID", help="id of a run or a schedule, as status shows it")
    clean = commands.add_parser("clean", help="remove artifacts that no kept run needs")
    add_options(clean, _CLEAN)
    for command in (run, schedule, status, stop, clean):
        command.add_argument(
            "--host",
            default=os.environ.get(HOST_VARIABLE, ""),
            metavar="URL",
            help=f"Kubeflow Pipelines' API (default: {HOST_VARIABLE})",
        )
        add_options(command, _API)
    return parser


def compile_settings(options: argparse.Namespace) -> tuple[PipelineConfig, Deployment]:
    """Makes the settings of a run and of its cluster from the options of `compile`.

    Raises:
      UserError: A value is invalid; its text names the flag.
    """
    pipeline_options.check_places(options)
    root = pipeline_root(options)
    if not _IMAGE.fullmatch(options.image):
        raise UserError(
            "--image must be NAME:TAG or NAME@sha256: with the 64 digits that the registry shows. "
            f"Received: {options.image}"
        )
    if not is_remote(root) and not options.no_cluster:
        raise UserError(
            "--pipeline-root must be s3://BUCKET/FOLDER or gs://BUCKET/FOLDER, as containers do "
            f"not see this disk. Received: {root}"
        )
    if not options.no_cluster:
        for name in ("data", "split_lists", "artists"):
            place = getattr(options, name)
            if place and not is_remote(place):
                raise UserError(
                    f"--{name.replace('_', '-')} must be in an object store, as containers do not "
                    f"see this disk. Received: {place}"
                )
        if Path(options.weights).is_file():
            raise UserError(
                "--weights must be imagenet or none, as containers do not see this disk. "
                f"Received: {options.weights}"
            )
    if options.infra_validator:
        raise UserError(
            "--infra-validator: TFX's InfraValidator does not run on Kubeflow Pipelines"
        )
    if not options.file.endswith((".yaml", ".yml")):
        raise UserError(f"--output must be a .yaml file. Received: {options.file}")
    if options.retries < 0:
        raise UserError(f"--retries must be 0 or more. Received: {options.retries}")
    options.output = root
    config = pipeline_options.shared_config(options, folder=options.data)
    beam = config.beam
    if beam.needs_job_server or (beam.runner == "spark" and not beam.job_endpoint):
        raise UserError(
            f"--beam-runner {beam.runner} needs --job-endpoint HOST:PORT: on Kubeflow nobody "
            "starts a job server (kubeflow/manifests/flink.yaml has one for Flink)"
        )
    accelerator, count = _accelerator(options.accelerator)
    deployment = Deployment(
        image=options.image,
        pipeline_root=root,
        resources=_resources(options.resources, flag="--resources"),
        node_resources=dict(map(_node_resources, options.node)),
        accelerator=accelerator,
        accelerators=count,
        retries=options.retries,
        object_store_secret=options.object_store_secret if root.startswith("s3://") else "",
        mlflow_secret=options.mlflow_secret,
        notice_secret=options.notice_secret,
    )
    return config, deployment


def pipeline_root(options: argparse.Namespace) -> str:
    """The value of `--pipeline-root`.

    Raises:
      UserError: It is neither in an object store nor an absolute path.
    """
    root: str = options.pipeline_root.rstrip("/")
    if not is_remote(root) and not Path(root).is_absolute():
        raise UserError(
            "--pipeline-root must be s3://BUCKET/FOLDER or gs://BUCKET/FOLDER (or, to walk the "
            f"file without a cluster, an absolute path). Received: {options.pipeline_root}"
        )
    return root


def _resources(text: str, *, flag: str) -> Resources:
    cores, _, memory = text.partition(",")
    try:
        resources = Resources(float(cores), float(memory))
    except ValueError:
        resources = Resources(0, 0)
    if not (0 < resources.cpu < float("inf") and 0 < resources.memory_gb < float("inf")):
        raise UserError(f"{flag} expects CORES,GB, as 4,16. Received: {text!r}")
    return resources


def _node_resources(text: str) -> tuple[str, Resources]:
    node, _, resources = text.partition("=")
    return node, _resources(resources, flag=f"--node {node}")


def _accelerator(text: str) -> tuple[str, int]:
    accelerator, _, count = text.partition("=")
    if count and not (count.isdecimal() and int(count) > 0):
        raise UserError(f"--accelerator expects TYPE or TYPE=N. Received: {text!r}")
    return accelerator, int(count or 1)
