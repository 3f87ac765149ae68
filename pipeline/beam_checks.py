"""Checks that Beam's engine has what it needs, in one sentence and before the first stage."""

import urllib.error
import urllib.request

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
    given = {arg.partition("=")[0] for arg in beam.args}
    lacking = []
    for field, flag in FLAGS.items():
        value = getattr(beam, field)
        if value and beam.runner not in flag.engines:
            raise UserError(
                f"{flag.name} is only used with --beam-runner {' or '.join(flag.engines)}. "
                f"Received: --beam-runner {beam.runner}"
            )
        if value and flag.metavar == "HOST:PORT":
            _check_address(flag.name, value)
        if flag.beam_arguments and not value and not given.intersection(flag.beam_arguments):
            lacking.append(flag.name)
    if beam.runner != "dataflow":
        return
    if lacking:
        raise UserError(f"--beam-runner dataflow needs {', '.join(lacking)}")
    if beam.dataflow_temp and not beam.dataflow_temp.startswith("gs://"):
        raise UserError(f"--dataflow-temp must be a gs:// folder. Received: {beam.dataflow_temp}")
    for name, folder in (("--data", data), ("--output", output)):
        if not is_remote(folder):
            raise UserError(
                f"--beam-runner dataflow: {name} must be in an object store, as its workers cannot "
                f"read this machine's disk. Received: {folder}"
            )


def _check_address(flag: str, value: str) -> None:
    host, _, port = value.rpartition(":")
    if not host or "/" in host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise UserError(f"{flag} must be HOST:PORT. Received: {value}")


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


def _check_flink(master: str) -> None:
    try:
        with urllib.request.urlopen(f"http://{master}/overview", timeout=5) as answer:
            answer.read()
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"--flink-master: no Flink cluster answers at http://{master}/overview ({reason})"
        ) from error
