"""Beam's engines: their flags, and the arguments that Beam is given for each."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field
from pydantic.dataclasses import dataclass

from components.common.settings_errors import CONFIG

BEAM_RUNNERS = ("direct", "flink", "spark", "dataflow")
# Where the runner of the pipeline puts the address of the job server that it has started. Its port
# is another in each run, and TFX's cache looks at Beam's arguments, so they name the variable.
JOB_ENDPOINT = "GATEFOLD_JOB_ENDPOINT"
DEFAULT_WORKER_POOL = "localhost:50000"

# Workers have our code and TFX installed. Otherwise TFX builds its own package before every Beam
# stage (1.6 s of CPU); naming an image stops that, and only Dataflow, which is given a real one,
# starts it.
_NOTHING_TO_STAGE = "--sdk_container_image=installed"


class Flag(NamedTuple):
    """A flag that only some engines read.

    Attributes:
      name: As it is typed.
      engines: Those of `BEAM_RUNNERS` that read it.
      metavar: What stands for its value in the help.
      help: What it means.
      beam_arguments: Arguments of Beam that may replace a flag that its engine needs.
    """

    name: str
    engines: tuple[str, ...]
    metavar: str
    help: str
    beam_arguments: tuple[str, ...] = ()


_FLINK, _SPARK, _DATAFLOW = ("flink",), ("spark",), ("dataflow",)
_ADDRESS = "HOST:PORT"
_IMAGES = ("--sdk_container_image", "--worker_harness_container_image")

# By field of `BeamConfig`.
FLAGS = {
    "flink_master": Flag("--flink-master", _FLINK, _ADDRESS, "a Flink cluster (else embedded)"),
    "spark_master": Flag("--spark-master", _SPARK, "URL", "spark://HOST:PORT (else local)"),
    "job_endpoint": Flag(
        "--job-endpoint", _FLINK + _SPARK, _ADDRESS, "a Beam job server that runs already"
    ),
    "worker_pool": Flag(
        "--beam-worker-pool",
        _FLINK + _SPARK,
        _ADDRESS,
        "Beam's Python workers, as the machines of Flink or Spark see them (default on a "
        f"cluster: {DEFAULT_WORKER_POOL})",
    ),
    "dataflow_project": Flag(
        "--dataflow-project", _DATAFLOW, "NAME", "Google Cloud project", ("--project",)
    ),
    "dataflow_region": Flag(
        "--dataflow-region", _DATAFLOW, "NAME", "such as europe-west1", ("--region",)
    ),
    "dataflow_temp": Flag(
        "--dataflow-temp", _DATAFLOW, "gs://…", "folder for temporary files", ("--temp_location",)
    ),
    "dataflow_image": Flag(
        "--dataflow-image",
        _DATAFLOW,
        "IMAGE",
        "the workers' container, this package in it",
        _IMAGES,
    ),
}


@dataclass(frozen=True, config=CONFIG)
class BeamConfig:
    """The engine of the Beam stages; `FLAGS` says what the fields from `flink_master` on are.

    Attributes:
      runner: One of `BEAM_RUNNERS`.
      workers: Processes of the direct runner, or parallelism (task slots) of Flink and Spark, or
        most workers of Dataflow; 0 for one process, or what the engine takes by itself.
      args: Arguments for Beam that win over all others.
    """

    runner: Literal["direct", "flink", "spark", "dataflow"] = "direct"
    workers: Annotated[int, Field(ge=0)] = 0
    flink_master: str = ""
    spark_master: str = ""
    job_endpoint: str = ""
    worker_pool: str = ""
    dataflow_project: str = ""
    dataflow_region: str = ""
    dataflow_temp: str = ""
    dataflow_image: str = ""
    args: tuple[str, ...] = ()

    @property
    def on_cluster(self) -> bool:
        """Whether Flink or Spark runs in processes of its own, on other machines perhaps."""
        elsewhere = self.job_endpoint and not is_here(self.job_endpoint)
        return bool(self.flink_master or self.spark_master or self.worker_pool or elsewhere)

    @property
    def needs_job_server(self) -> bool:
        """Whether the runner of the pipeline starts a job server before the first stage."""
        named = any(arg.partition("=")[0] in ("--job_endpoint", "--runner") for arg in self.args)
        return self.runner == "flink" and not self.job_endpoint and not named

    def pipeline_args(self) -> list[str]:
        """Beam's command-line arguments; of several equal ones the last wins.

        `$GATEFOLD_JOB_ENDPOINT` stands for the address of a job server that is not known yet.
        """
        return [_NOTHING_TO_STAGE, *getattr(self, f"_{self.runner}")(), *self.args]

    def _direct(self) -> list[str]:
        if self.workers <= 1:
            return ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
        return [
            "--runner=DirectRunner",
            "--direct_running_mode=multi_processing",
            f"--direct_num_workers={self.workers}",
        ]

    def _flink(self) -> list[str]:
        return [
            "--runner=PortableRunner",
            f"--job_endpoint={self.job_endpoint or f'${JOB_ENDPOINT}'}",
            *self._environment(),
            f"--parallelism={self.workers or 1}",
        ]

    def _spark(self) -> list[str]:
        if self.job_endpoint:
            chosen = ["--runner=PortableRunner", f"--job_endpoint={self.job_endpoint}"]
        else:
            master = self.spark_master or f"local[{self.workers or 1}]"
            chosen = ["--runner=SparkRunner", "--spark_version=3", f"--spark_master_url={master}"]
        return [*chosen, *self._environment()]

    def _environment(self) -> list[str]:
        """Where Python code runs: in the stage's own process, or in a pool beside the engine."""
        if not self.on_cluster:
            return ["--environment_type=LOOPBACK"]
        pool = self.worker_pool or DEFAULT_WORKER_POOL
        return ["--environment_type=EXTERNAL", f"--environment_config={pool}"]

    def _dataflow(self) -> list[str]:
        return [
            "--runner=DataflowRunner",
            f"--project={self.dataflow_project}",
            f"--region={self.dataflow_region}",
            f"--temp_location={self.dataflow_temp}",
            f"--sdk_container_image={self.dataflow_image}",
            # The image has everything: nothing is installed when a worker starts.
            "--sdk_location=container",
            "--experiments=use_runner_v2",
            *([f"--max_num_workers={self.workers}"] if self.workers else []),
        ]


def is_here(address: str) -> bool:
    """Tells whether an address, `host:port` or a spark:// URL, is of this machine."""
    host = address.removeprefix("spark://").rpartition(":")[0]
    return host in ("localhost", "127.0.0.1", "[::1]")
