"""Checks that Beam's engine has what it needs, in one sentence and before the first stage."""

import urllib.error
import urllib.request
from collections.abc import Sequence

from components.common.errors import UserError
from components.common.storage import is_remote
from pipeline.beam_runners import DEFAULT_WORKER_POOL, FLAGS, BeamConfig, is_here
from pipeline.flink import jars, job_server


def check(beam: BeamConfig, *, data: str, output: str) -> None:
    """Checks that an engine has what it needs, as far as the flags tell.

    Args:
      beam: The engine.
      data: Folder of the music.
      output: Folder of all outputs.

    Raises:
      UserError: A flag is missing, malformed, or of another engine.
    """
    for field, (flag, runners) in FLAGS.items():
        value = getattr(beam, field)
        if value and beam.runner not in runners:
            raise UserError(
                f"{flag} is only used with --beam-runner {' or '.join(runners)}. "
                f"Received: --beam-runner {beam.runner}"
            )
        if value and field in ("flink_master", "job_endpoint", "worker_pool"):
            _check_address(flag, value)
    if beam.workers < 0:
        raise UserError(f"--beam-workers must be 0 or more. Received: {beam.workers}")
    if beam.runner == "dataflow":
        _check_dataflow(beam, data=data, output=output)


def _check_address(flag: str, value: str) -> None:
    host, _, port = value.rpartition(":")
    if not host or "/" in host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise UserError(f"{flag} must be HOST:PORT. Received: {value}")


def _check_dataflow(beam: BeamConfig, *, data: str, output: str) -> None:
    lacking = [
        flag
        for field, (flag, _) in FLAGS.items()
        if field.startswith("dataflow_")
        and not getattr(beam, field)
        and not _has(beam.args, _DATAFLOW_ARGS[field])
    ]
    if lacking:
        raise UserError(f"--beam-runner dataflow needs {', '.join(lacking)}")
    if beam.dataflow_temp and not beam.dataflow_temp.startswith("gs://"):
        raise UserError(f"--dataflow-temp must be a gs:// folder. Received: {beam.dataflow_temp}")
    for flag, place in (("--data", data), ("--output", output)):
        if not is_remote(place):
            raise UserError(
                f"--beam-runner dataflow: {flag} must be in an object store, as its workers cannot "
                f"read this machine's disk. Received: {place}"
            )


_DATAFLOW_ARGS = {
    "dataflow_project": ("--project",),
    "dataflow_region": ("--region",),
    "dataflow_temp": ("--temp_location",),
    "dataflow_image": ("--sdk_container_image", "--worker_harness_container_image"),
}


def _has(args: Sequence[str], names: Sequence[str]) -> bool:
    return any(arg.partition("=")[0] in names for arg in args)


def check_reachable(beam: BeamConfig) -> None:
    """Checks what this machine has and reaches; called once, before the first stage.

    Raises:
      UserError: Java or Maven is missing, or a cluster, job server or worker pool does not answer.
    """
    if beam.needs_job_server:
        jars.java()
        jars.check_maven()
    if beam.runner == "spark" and not beam.job_endpoint:
        jars.java("spark")
    if beam.flink_master:
        _check_flink(beam.flink_master)
    if beam.job_endpoint and not job_server.answers(beam.job_endpoint):
        raise UserError(f"--job-endpoint: no Beam job server answers at {beam.job_endpoint}")
    if beam.on_cluster:
        pool = beam.worker_pool or DEFAULT_WORKER_POOL
        engine = beam.flink_master or beam.job_endpoint or beam.spark_master
        # An engine elsewhere means its own machines by localhost, and this one need not reach them.
        if is_here(pool) and (is_here(engine) or not engine) and not job_server.answers(pool):
            raise UserError(
                f"--beam-worker-pool: no Beam worker pool answers at {pool}; start one with "
                f"python -m apache_beam.runners.worker.worker_pool_main "
                f"--service_port={pool.rpartition(':')[2]}"
            )


def check_without_local_runner(beam: BeamConfig) -> None:
    """Checks that an engine works where no process of ours runs beside the stages: on Kubeflow.

    Raises:
      UserError: There is nobody to start a job server.
    """
    if beam.needs_job_server:
        raise UserError(
            f"--beam-runner {beam.runner} needs --job-endpoint HOST:PORT, a Beam job server that "
            "the stages reach; only local_runner.py starts one"
        )


def _check_flink(master: str) -> None:
    try:
        with urllib.request.urlopen(f"http://{master}/overview", timeout=5) as answer:
            answer.read()
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"--flink-master: no Flink cluster answers at http://{master}/overview ({reason})"
        ) from error
