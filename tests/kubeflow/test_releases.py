"""A compiled file runs on every release of Kubeflow Pipelines, and on none without its cures.

A pipeline of two small nodes goes through the compiler and the entry point, and is walked with what
each release does. Then one cure at a time is taken out of the file or of the command.
"""

import dataclasses
import json
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KUBEFLOW_TFX_CMD

from components.common.errors import UserError
from kubeflow import compiling
from kubeflow.deployment import Deployment
from tests.conftest import ROOT
from tests.kubeflow import releases, walker
from tests.kubeflow.releases import NEWEST, OLDEST, RELEASES
from tests.kubeflow.small_nodes import Reader, Writer

RETRYING = [one for one in RELEASES if one.no_window_is_zero]
DEPLOYMENT = Deployment(image="gatefold:test", pipeline_root="/root")


def small_pipeline(**nodes: str) -> tfx_pipeline.Pipeline:
    writer = Writer().with_id(nodes.get("writer", "Writer"))
    reader = Reader(writer.outputs["examples"]).with_id(nodes.get("reader", "Reader"))
    return tfx_pipeline.Pipeline("small", pipeline_root="/root", components=[writer, reader])


@pytest.fixture
def spec() -> dict:
    """A compiled pipeline, to be changed."""
    return compiling.compile_dag(small_pipeline(), DEPLOYMENT)[0]


@pytest.fixture
def walk(tmp_path):
    """Runs a specification on a release; the nodes are those of this checkout."""

    def start(command: list[str], folder: Path, environment: dict[str, str], log: Path) -> int:
        return walker.start_warm(command, folder, {**environment, "PYTHONPATH": str(ROOT)}, log)

    def walk(spec: dict, release: releases.Release, *, start=start) -> walker.Run:
        file = tmp_path / "small.yaml"
        file.write_text(yaml.safe_dump(spec))
        cluster = walker.Cluster(tmp_path / "pods", programs=tmp_path / "bin", secrets={})
        return cluster.run(file, pipeline_root=str(tmp_path / "root"), release=release, start=start)

    walk.start = start
    return walk


def tasks(spec: dict) -> dict[str, dict]:
    return spec["root"]["dag"]["tasks"]


@pytest.mark.parametrize("release", RELEASES, ids=lambda one: one.name)
def test_a_compiled_file_runs(walk, spec, release):
    run = walk(spec, release)
    assert run.executed == ["writer", "reader"]
    seen = json.loads(Path(run.output("reader", "report").uri, "seen.json").read_text())
    assert seen == {
        "text": "three",
        "splits": ["train", "test"],
        "tracks": 3,
        "outputs": ["report"],
        "mlflow_run": None,
    }


@pytest.mark.parametrize("release", [OLDEST, NEWEST], ids=lambda one: one.name)
def test_tfxs_own_entry_point_fails(walk, spec, release):
    """It cannot read `executor-logs`, and would stumble over untyped inputs next."""
    for executor in spec["deploymentSpec"]["executors"].values():
        executor["container"]["command"] = [*KUBEFLOW_TFX_CMD]
    with pytest.raises(walker.TaskFailedError, match=r"Could not import system\.Artifact"):
        walk(spec, release)


# Each takes one correction out of the entry point's module, in a program of its own.
WITHOUT = """
from absl import app
from kubeflow import entry_point
{change}
app.run(entry_point.main, flags_parser=entry_point._parse)
"""
TYPED_INPUTS = """
from kfp.pipeline_spec import pipeline_spec_pb2
corrected = entry_point.corrected
def untyped(invocation, inputs):
    result = corrected(invocation, inputs)
    result.inputs.CopyFrom(invocation.inputs)
    return result
entry_point.corrected = untyped
"""


@pytest.mark.parametrize(
    ("change", "release", "failure"),
    [
        (TYPED_INPUTS, OLDEST, "AttributeError"),
        (TYPED_INPUTS, NEWEST, "ImportError|ModuleNotFoundError|ValueError"),
        ("entry_point.make_folders = lambda outputs: None", NEWEST, "unwritten to upload"),
    ],
)
def test_a_correction_that_is_missing_fails_the_run(walk, spec, tmp_path, change, release, failure):
    (tmp_path / "without.py").write_text(WITHOUT.format(change=change))
    for executor in spec["deploymentSpec"]["executors"].values():
        executor["container"]["command"] = ["python", "-m", "without"]

    def start(command, folder, environment, log):
        path = f"{tmp_path}:{ROOT}"
        return walker.start_warm(command, folder, {**environment, "PYTHONPATH": path}, log)

    with pytest.raises(walker.TaskFailedError, match=failure):
        walk(spec, release, start=start)


def test_a_capital_in_a_task_that_may_be_retried_is_refused(walk, spec):
    task = tasks(spec).pop("writer")
    task["taskInfo"]["name"] = "Writer"
    tasks(spec)["Writer"] = task
    reader = tasks(spec)["reader"]
    reader["dependentTasks"] = ["Writer"]
    reader["inputs"]["artifacts"]["examples"]["taskOutputArtifact"]["producerTask"] = "Writer"
    with pytest.raises(walker.TaskFailedError, match=r"refuses the pod .*-Writer-"):
        walk(spec, OLDEST)


class FailsOnce:
    """Starts commands; the first attempt of one task fails."""

    def __init__(self, task: str, start: walker.Start) -> None:
        self._task, self._start = task, start

    def __call__(self, command, folder, environment, log) -> int:
        if folder.parent.name == f"{self._task}-1":
            return 1
        return self._start(command, folder, environment, log)


@pytest.mark.parametrize("release", [OLDEST, NEWEST], ids=lambda one: one.name)
def test_a_node_that_fails_once_is_started_again(walk, spec, release):
    run = walk(spec, release, start=FailsOnce("reader", walk.start))
    assert run.executed == ["writer", "reader", "reader"]


def test_without_a_window_nothing_is_started_again(walk, spec):
    del tasks(spec)["reader"]["retryPolicy"]["backoffMaxDuration"]
    with pytest.raises(walker.TaskFailedError, match="ended with 1"):
        walk(spec, NEWEST, start=FailsOnce("reader", walk.start))


@pytest.mark.parametrize("release", RELEASES, ids=lambda one: one.name)
@pytest.mark.parametrize("hours", [0.01, 48])
def test_retries_are_as_many_as_were_asked_for(release, hours):
    deployment = dataclasses.replace(DEPLOYMENT, retries=2)
    spec, _ = compiling.compile_dag(small_pipeline(), deployment)
    for task in tasks(spec).values():
        started = releases.attempts(release, task["retryPolicy"], attempt_seconds=3600 * hours)
        assert started == 3


def test_two_names_that_differ_in_capitals_only_are_refused():
    with pytest.raises(UserError, match="same name: Node, node"):
        compiling.compile_dag(small_pipeline(writer="Node", reader="node"), DEPLOYMENT)


def test_the_file_is_what_kubeflows_own_schema_says(spec):
    message = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    deployment = json_format.ParseDict(
        json_format.MessageToDict(message.deployment_spec),
        pipeline_spec_pb2.PipelineDeploymentConfig(),
    )
    assert {"python"} == {one.container.command[0] for one in deployment.executors.values()}


def test_the_docs_show_these_releases():
    text = (ROOT / "docs" / "notes" / "kubeflow.md").read_text()
    _, _, section = text.partition("\n## Releases\n")
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in row] for row in rows]
    yes = {True: "yes", False: ""}
    shown = [[row[0], *row[1:]] for row in rows if row[0] in {one.name for one in RELEASES}]
    expected = [
        [
            one.name,
            "the whole schema" if one.whole_schema else "empty",
            yes[one.pods_named_after_tasks],
            yes[one.no_window_is_zero],
            "/s3/<bucket>/…" if one.metadata_in_bucket_path else "/tmp/kfp_outputs",
            yes[one.own_mlflow_run],
            "an error" if one.missing_output_fails else "a warning",
        ]
        for one in RELEASES
    ]
    assert shown == expected and len(header) == len(expected[0])
