"""Beam's engines: which arguments each gives Beam, and what is said when something is missing."""

import re
import stat

import pytest

from components.common.errors import UserError
from pipeline import beam_checks, options
from pipeline.beam_runners import BeamConfig
from pipeline.flink import jars, job_server
from tests.conftest import ROOT

DATAFLOW = [
    *("--beam-runner", "dataflow", "--data", "gs://b/music", "--output", "gs://b/out"),
    *("--dataflow-project", "p", "--dataflow-region", "r", "--dataflow-temp", "gs://b/tmp"),
    *("--dataflow-image", "registry/gatefold:1"),
]


def beam(*arguments: str) -> BeamConfig:
    return options.parse(arguments)[0].beam


def beam_options(config: BeamConfig) -> dict[str, object]:
    """The arguments as Beam itself reads them."""
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions(config.pipeline_args()).get_all_options()


def test_direct_is_one_process_unless_told_otherwise():
    assert beam_options(beam())["direct_running_mode"] == "in_memory"
    parallel = beam_options(beam("--beam-workers", "4"))
    assert (parallel["direct_running_mode"], parallel["direct_num_workers"]) == (
        "multi_processing",
        4,
    )


def test_flink_in_one_process_runs_our_code_in_the_stage_itself():
    config = beam("--beam-runner", "flink", "--beam-workers", "3")
    arguments = beam_options(config)
    assert config.needs_job_server
    assert arguments["runner"] == "PortableRunner"
    assert (arguments["environment_type"], arguments["parallelism"]) == ("LOOPBACK", 3)


def test_a_flink_cluster_has_python_workers_of_its_own():
    config = beam("--beam-runner", "flink", "--flink-master", "host:8081")
    arguments = beam_options(config)
    assert config.needs_job_server
    assert arguments["environment_type"] == "EXTERNAL"
    assert arguments["environment_config"] == "localhost:50000"


def test_a_job_server_that_runs_already_is_used():
    for runner in ("flink", "spark"):
        config = beam("--beam-runner", runner, "--job-endpoint", "host:8099")
        assert not config.needs_job_server
        assert beam_options(config)["job_endpoint"] == "host:8099"


def test_a_job_server_elsewhere_has_python_workers_of_its_own():
    """Workers there cannot call back into a stage's process here."""
    for endpoint, environment in (("localhost:8099", "LOOPBACK"), ("flink:8099", "EXTERNAL")):
        config = beam("--beam-runner", "flink", "--job-endpoint", endpoint)
        assert beam_options(config)["environment_type"] == environment


def test_spark_and_dataflow_get_what_their_flags_say():
    spark = beam_options(beam("--beam-runner", "spark", "--spark-master", "spark://h:7077"))
    assert spark["spark_master_url"] == "spark://h:7077"
    assert spark["environment_type"] == "EXTERNAL"
    dataflow = beam_options(beam(*DATAFLOW))
    assert (dataflow["project"], dataflow["region"]) == ("p", "r")
    assert dataflow["temp_location"] == "gs://b/tmp"
    assert dataflow["sdk_container_image"] == "registry/gatefold:1"


def test_an_argument_of_the_user_wins():
    config = beam("--beam-runner", "flink", "--beam-arg=--parallelism=7")
    assert beam_options(config)["parallelism"] == 7


def test_no_engine_makes_tfx_pack_itself_up_before_each_stage():
    from tfx.utils import dependency_utils

    for config in (beam(), beam("--beam-runner", "flink"), beam(*DATAFLOW)):
        arguments = config.pipeline_args()
        assert dependency_utils.make_beam_dependency_flags(arguments) == arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--flink-master", "host:8081"], "--flink-master is only used with --beam-runner flink"),
        (
            ["--job-endpoint", "h:1"],
            "--job-endpoint is only used with --beam-runner flink or spark",
        ),
        (["--beam-runner", "flink", "--flink-master", "http://h:1/"], "must be HOST:PORT"),
        (["--beam-runner", "flink", "--flink-master", "host"], "--flink-master must be HOST:PORT"),
        (["--beam-workers", "-1"], "--beam-workers must be"),
        (
            ["--beam-runner", "dataflow"],
            "--beam-runner dataflow needs --dataflow-project, --dataflow-region, "
            "--dataflow-temp, --dataflow-image",
        ),
        ([*DATAFLOW, "--output", "here"], "--output must be in an object store"),
        ([*DATAFLOW, "--dataflow-temp", "/tmp"], "--dataflow-temp must be a gs:// folder"),
    ],
)
def test_a_mistake_is_named_before_anything_starts(arguments, said):
    with pytest.raises(UserError, match=re.escape(said)):
        options.parse(arguments)


@pytest.mark.parametrize("runner", ["flink", "spark"])
def test_without_java_an_engine_says_what_to_install(monkeypatch, tmp_path, runner):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(
        UserError, match=rf"{runner} needs Java 11 or 17 .* apt-get install openjdk"
    ):
        beam_checks.check_reachable(BeamConfig(runner=runner))


def test_without_maven_flink_says_what_to_install_unless_the_jars_are_there(monkeypatch, tmp_path):
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\n")
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="needs Maven once"):
        beam_checks.check_reachable(BeamConfig(runner="flink"))
    jars.cache_folder().mkdir(parents=True)
    beam_checks.check_reachable(BeamConfig(runner="flink"))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            BeamConfig(runner="flink", flink_master="localhost:9", job_endpoint="localhost:9"),
            "--flink-master: no Flink cluster answers at http://localhost:9/overview",
        ),
        (
            BeamConfig(runner="spark", job_endpoint="localhost:9"),
            "--job-endpoint: no Beam job server answers at localhost:9",
        ),
        (
            BeamConfig(runner="spark", worker_pool="localhost:9"),
            "--beam-worker-pool: no Beam worker pool answers at localhost:9",
        ),
    ],
)
def test_what_does_not_answer_is_named(config, said):
    with pytest.raises(UserError, match=re.escape(said)):
        beam_checks.check_reachable(config)


def test_a_job_server_that_does_not_start_says_why(monkeypatch, tmp_path):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'this Java is too old'\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jars.cache_folder().mkdir(parents=True)
    with (
        pytest.raises(UserError, match=r"did not start .* this Java is too old"),
        job_server.job_server(tmp_path / "log"),
    ):
        pass


def test_the_job_server_is_of_the_version_of_beam():
    (beam_version,) = re.findall(
        r"^apache-beam==(\S+)", (ROOT / "requirements.txt").read_text(), re.M
    )
    assert f"<version>{beam_version.split()[0]}</version>" in jars.POM.read_text()
