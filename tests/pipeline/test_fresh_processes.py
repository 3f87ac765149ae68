"""Every executor works in a fresh process that knows nothing but what the executor is given.

Each node of a small run is started as Kubeflow Pipelines starts it: TFX's container entry point in
a process of its own, which has imported libraries but nothing of ours, in an empty folder, with an
empty environment, its inputs, outputs and parameters as JSON. Its inputs are what the nodes before
it wrote, so the chain ends in a pushed model and a complete record in MLflow.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

import mlflow
import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.orchestration.kubeflow.v2 import compiler_utils

from components.audio.settings import AudioSettings
from components.common import releases
from components.gate.settings import from_dict
from pipeline.config import DataConfig, PipelineConfig
from pipeline.pipeline import create_pipeline
from tests.conftest import ROOT
from tests.example_gen.conftest import write_music
from tests.permissive_gate import PERMISSIVE
from tests.warm import WarmProcess

MODELS = ("ann", "lstm", "ensemble")
NODES = (
    "GtzanExampleGen",
    "SchemaImport",
    "StatisticsGen",
    "StrictExampleValidator",
    "DeformedExamples",
    "Transform-descriptors",
    "Transform-mfcc",
    "Baseline",
    *(
        f"{node}-{model}"
        for model in MODELS
        for node in ("Trainer", "Evaluator", "Predictions", "ServingCheck")
    ),
    "Gate",
    "ModelSelector",
    "ReleaseReport",
    "Pusher",
    "RunRecorder",
)
TRACKS_PER_GENRE = 3
RUN = "20260101-000000-abcdef"


class Ended(NamedTuple):
    """An executor's process that has ended."""

    returncode: int
    stdout: str


class Chain:
    """Runs nodes, each in a process of its own, after those that they depend on."""

    def __init__(self, config: PipelineConfig, folder: Path) -> None:
        self.store = f"sqlite:///{folder}/mlflow.db"
        dag = create_pipeline(config, data_fingerprint="data", run_id=RUN, tracking_uri=self.store)
        self.nodes = {node.id: node for node in dag.components}
        self._beam_arguments = config.beam.pipeline_args()
        self._folder = folder
        self._artifacts: dict[tuple[str, str], pipeline_spec_pb2.RuntimeArtifact] = {}
        self._done: dict[str, Ended] = {}

    def run(self, name: str) -> Ended:
        if name not in self._done:
            for upstream in self.nodes[name].upstream_nodes:
                assert self.run(upstream.id).returncode == 0
            self._done[name] = self._run(name)
        return self._done[name]

    def _run(self, name: str) -> Ended:
        node = self.nodes[name]
        place = self._folder / "artifacts" / name
        invocation = self._invocation(name, place)
        empty = self._folder / "work" / name
        empty.mkdir(parents=True)
        process = WarmProcess(
            "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
            [
                *("--executor_class_path", node.executor_spec.class_path),
                "--json_serialized_invocation_args",
                json_format.MessageToJson(invocation),
                *(self._beam_arguments if isinstance(node.executor_spec, BeamExecutorSpec) else ()),
            ],
            cwd=empty,
            env={"PATH": os.environ["PATH"], "HOME": str(empty), "PYTHONPATH": str(ROOT)},
        )
        screen, _ = process.communicate(timeout=300)
        if process.returncode == 0:
            self._keep_outputs(name, invocation)
        return Ended(process.returncode, screen)

    def _invocation(self, name: str, place: Path) -> pipeline_spec_pb2.ExecutorInput:
        node = self.nodes[name]
        invocation = pipeline_spec_pb2.ExecutorInput()
        for key, channel in node.inputs.items():
            source = self._artifacts[channel.producer_component_id, channel.output_key]
            invocation.inputs.artifacts[key].artifacts.append(source)
        for key, value in node.exec_properties.items():
            if value is not None:
                kind = {int: "int_value", float: "double_value"}.get(type(value), "string_value")
                setattr(invocation.inputs.parameters[key], kind, value)
        for key, channel in node.outputs.items():
            artifact = invocation.outputs.artifacts[key].artifacts.add(
                name=f"{name}/{key}", uri=f"{place}/{key}"
            )
            artifact.type.instance_schema = compiler_utils.get_artifact_schema(channel.type)
        invocation.outputs.output_file = f"{place}/executor_output.json"
        return invocation

    def _keep_outputs(self, name: str, invocation: pipeline_spec_pb2.ExecutorInput) -> None:
        """Hands on the artifacts with the properties that the executor set."""
        written = pipeline_spec_pb2.ExecutorOutput()
        json_format.Parse(Path(invocation.outputs.output_file).read_text(), written)
        for key, artifacts in invocation.outputs.artifacts.items():
            (artifact,) = artifacts.artifacts
            artifact.metadata.CopyFrom(written.artifacts[key].artifacts[0].metadata)
            self._artifacts[name, key] = artifact

    def output(self, name: str, key: str) -> pipeline_spec_pb2.RuntimeArtifact:
        return self._artifacts[name, key]


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Chain:
    folder = tmp_path_factory.mktemp("chain")
    config = PipelineConfig(
        data=DataConfig(str(write_music(folder / "music", per_genre=TRACKS_PER_GENRE))),
        output=str(folder / "output"),
        models=MODELS,
        epochs=1,
        overrides=(("windows_per_track", 1),),
        audio=AudioSettings(clip_seconds=4),
        gate=from_dict(yaml.safe_load(PERMISSIVE)),
    )
    return Chain(config, folder)


def test_these_are_all_nodes_of_a_run(chain):
    assert set(chain.nodes) == set(NODES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NODES)
def test_an_executor_works_in_a_process_of_its_own(chain, name):
    process = chain.run(name)
    assert process.returncode == 0, process.stdout[-4000:]
    # TFMA has no thresholds, so it blesses nothing: the gate judges.
    unwritten = {"blessing"} if name.startswith("Evaluator-") else set()
    for key in chain.nodes[name].outputs.keys() - unwritten:
        assert list(Path(chain.output(name, key).uri).iterdir())


@pytest.mark.slow
def test_the_chain_ends_in_a_pushed_model(chain):
    chain.run("Pusher")
    serving = chain.nodes["Pusher"].exec_properties["base_directory"]
    (version,) = releases.versions(serving)
    release = releases.read_release(f"{serving}/{version}")
    assert release["model"] in MODELS and release["run_id"] == RUN
    assert sum(release["tracks"].values()) == 10 * TRACKS_PER_GENRE
    assert chain.output("Pusher", "pushed_model").metadata["pushed"] == 1


@pytest.mark.slow
def test_the_chain_leaves_the_record_that_a_local_run_leaves(chain):
    chain.run("RunRecorder")
    client = mlflow.MlflowClient(chain.store)
    experiment = client.get_experiment_by_name("gatefold")
    runs = {
        run.info.run_name.split()[0]: run for run in client.search_runs([experiment.experiment_id])
    }
    assert set(runs) == {"pipeline", *MODELS}
    parent = runs.pop("pipeline")
    assert parent.data.tags["gatefold.run_id"] == RUN
    assert parent.data.tags["pushed_to"].startswith(
        chain.nodes["Pusher"].exec_properties["base_directory"]
    )
    for model, run in runs.items():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.status == "FINISHED"
        assert "test_track_accuracy_low" in run.data.metrics
        pictures = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert pictures == {"confusion_matrix.png", "reliability.png"}
        curve = client.get_metric_history(run.info.run_id, "loss")
        assert bool(curve) == (model != "ensemble")
    record = json.loads(Path(chain.output("RunRecorder", "record").uri, "record.json").read_text())
    assert (record["run_id"], record["error"]) == (RUN, "")
