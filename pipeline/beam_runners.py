"""Beam's engines: what each needs, and the arguments that Beam is given for it."""

import dataclasses
from typing import Any

BEAM_RUNNERS = ("direct", "flink", "spark", "dataflow")
# Where the runner of the pipeline puts the address of the job server that it has started. Its port
# is another in each run, and TFX's cache looks at Beam's arguments, so they name the variable.
JOB_ENDPOINT = "GATEFOLD_JOB_ENDPOINT"
DEFAULT_WORKER_POOL = "localhost:50000"

# Workers have our code and TFX installed. Without a word on it TFX packs itself up before every
# Beam stage (1.6 s of CPU); naming an image stops that, and only Dataflow, which is given a real
# one, starts it.
_NOTHING_TO_STAGE = "--sdk_container_image=installed"

# The fields of `BeamConfig` that one engine alone reads, and their flags.
FLAGS = {
    "flink_master": ("--flink-master", ("flink",)),
    "spark_master": ("--spark-master", ("spark",)),
    "job_endpoint": ("--job-endpoint", ("flink", "spark")),
    "worker_pool": ("--beam-worker-pool", ("flink", "spark")),
    "dataflow_project": ("--dataflow-project", ("dataflow",)),
    "dataflow_region": ("--dataflow-region", ("dataflow",)),
    "dataflow_temp": ("--dataflow-temp", ("dataflow",)),
    "dataflow_image": ("--dataflow-image", ("dataflow",)),
}


@dataclasses.dataclass(frozen=True)
class BeamConfig:
    """The engine of the Beam stages.

    Attributes:
      runner: One of `BEAM_RUNNERS`.
      workers: Processes of the direct runner, or parallelism (task slots) of Flink and Spark, or
        most workers of Dataflow; 0 for one process, or what the engine takes by itself.
      flink_master: `host:port` of a Flink cluster's REST service; "" for Flink inside the job
        server.
      spark_master: URL of a Spark cluster; "" for Spark inside the job server.
      job_endpoint: `host:port` of a Beam job server that runs already; "" to start one.
      worker_pool: `host:port`, as the engine's machines see it, of Beam's Python workers
        (`apache_beam.runners.worker.worker_pool_main`); "" for the process that runs the stage,
        or on a cluster for `DEFAULT_WORKER_POOL`.
      dataflow_project: Google Cloud project.
      dataflow_region: Region of the workers.
      dataflow_temp: gs:// folder for Dataflow's temporary files.
      dataflow_image: Container image of the workers, with this package installed.
      args: Arguments for Beam that win over all others.
    """

    runner: str = "direct"
    workers: int = 0
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
        build = {
            "direct": self._direct,
            "flink": self._flink,
            "spark": self._spark,
            "dataflow": self._dataflow,
        }[self.runner]
        return [_NOTHING_TO_STAGE, *build(), *self.args]

    def _direct(self) -> list[str]:
        if self.workers <= 1:
            return ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
        return [
            "--runner=DirectRunner",
            "--direct_running_mode=multi_processing",
            f"--direct_num_workers={self.workers}",
        ]

    def _flink(self) -> list[str]:
        endpoint = self.job_endpoint or f"${JOB_ENDPOINT}"
        return [
            "--runner=PortableRunner",
            f"--job_endpoint={endpoint}",
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
        most = [f"--max_num_workers={self.workers}"] if self.workers else []
        return [
            "--runner=DataflowRunner",
            f"--project={self.dataflow_project}",
            f"--region={self.dataflow_region}",
            f"--temp_location={self.dataflow_temp}",
            f"--sdk_container_image={self.dataflow_image}",
            # The image has everything: nothing is installed when a worker starts.
            "--sdk_location=container",
            "--experiments=use_runner_v2",
            *most,
        ]


def is_here(address: str) -> bool:
    """Tells whether an address, `host:port` or a spark:// URL, is of this machine."""
    host = address.removeprefix("spark://").rpartition(":")[0]
    return host in ("localhost", "127.0.0.1", "[::1]")


def add_flags(where: Any) -> None:
    """Adds the engines' flags to an argument group.

    Args:
      where: What `ArgumentParser.add_argument_group` returned.
    """
    where.add_argument(
        "--beam-runner", choices=BEAM_RUNNERS, default="direct", help="default: %(default)s"
    )
    where.add_argument(
        "--beam-workers",
        type=int,
        default=0,
        metavar="N",
        help="processes of direct, parallelism of flink and spark, most workers of dataflow "
        "(default: 1, or what dataflow decides)",
    )
    for flag, metavar, text in (
        ("--flink-master", "HOST:PORT", "a Flink cluster (without it Flink runs in one process)"),
        ("--spark-master", "URL", "a Spark cluster, spark://HOST:PORT (without it local)"),
        ("--job-endpoint", "HOST:PORT", "a Beam job server that runs already, of Flink or Spark"),
        (
            "--beam-worker-pool",
            "HOST:PORT",
            "Beam's Python workers, as the machines of Flink or Spark see them (default on a "
            f"cluster: {DEFAULT_WORKER_POOL})",
        ),
        ("--dataflow-project", "NAME", "Google Cloud project"),
        ("--dataflow-region", "NAME", "such as europe-west1"),
        ("--dataflow-temp", "gs://…", "folder for Dataflow's temporary files"),
        ("--dataflow-image", "IMAGE", "the workers' container, with this package in it"),
    ):
        where.add_argument(flag, default="", metavar=metavar, help=text)
    where.add_argument(
        "--beam-arg",
        action="append",
        default=[],
        metavar="ARG",
        help="an argument for Beam that wins over the others, as --beam-arg=--max_parallelism=8 "
        "(may be repeated)",
    )


def from_options(options: Any) -> BeamConfig:
    """The engine that the flags of `add_flags` name.

    Args:
      options: What the parser returned.
    """
    values = {
        field: getattr(options, flag[2:].replace("-", "_")) for field, (flag, _) in FLAGS.items()
    }
    return BeamConfig(
        runner=options.beam_runner,
        workers=options.beam_workers,
        args=tuple(options.beam_arg),
        **values,
    )
