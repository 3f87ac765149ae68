"""The compiled file keeps the rules of Kubeflow Pipelines, and holds nothing of this machine."""

import dataclasses

import pytest
import yaml
from kfp.client import client as kfp_client

from components.common.errors import UserError
from components.common.node_ids import VALID
from kubeflow import compiling, pictures
from kubeflow.deployment import MLFLOW_KEYS, OBJECT_STORE_KEYS, Deployment, Resources
from pipeline.config import DataConfig, PipelineConfig
from pipeline.fingerprint import PARAMETER
from tests.conftest import ROOT
from tests.kubeflow import releases

CONFIG = PipelineConfig(
    data=DataConfig("s3://bucket/genres"),
    output="s3://bucket/gatefold",
    models=("cnn", "lstm", "ensemble"),
    trials=2,
)
DEPLOYMENT = Deployment(
    image="registry/gatefold@sha256:0",
    pipeline_root="s3://bucket/gatefold",
    node_resources={"Trainer": Resources(8, 32), "Trainer-lstm": Resources(4, 16)},
    accelerator="nvidia.com/gpu",
    object_store_secret="keys",
    mlflow_secret="mlflow",
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    target = tmp_path_factory.mktemp("compiled") / "genre.yaml"
    compiling.compile_to(str(target), CONFIG, DEPLOYMENT)
    return target


@pytest.fixture(scope="module")
def documents(file):
    return list(yaml.safe_load_all(file.read_text()))


@pytest.fixture(scope="module")
def spec(documents):
    return documents[0]


@pytest.fixture(scope="module")
def tasks(spec):
    return spec["root"]["dag"]["tasks"]


def component(spec, task: str):
    return spec["components"][spec["root"]["dag"]["tasks"][task]["componentRef"]["name"]]


def container(spec, task: str):
    executor = component(spec, task)["executorLabel"]
    return spec["deploymentSpec"]["executors"][executor]["container"]


def test_kubeflows_own_client_reads_the_file(file, spec):
    document = kfp_client._extract_pipeline_yaml(str(file))
    assert document.pipeline_spec.schema_version == spec["schemaVersion"] == "2.1.0"
    assert document.platform_spec.platforms["kubernetes"].deployment_spec.executors


def test_every_node_is_a_container_with_an_id_that_argo_takes(spec, tasks):
    assert all(VALID.fullmatch(name) for name in tasks)
    for executor in spec["deploymentSpec"]["executors"].values():
        assert set(executor) == {"container"}  # no resolver, no importer
        assert "lifecycle" not in executor["container"]  # no driver, which would never run
        assert executor["container"]["image"] == DEPLOYMENT.image


def test_every_input_comes_from_a_task_that_is_waited_for(spec, tasks):
    for name, task in tasks.items():
        inputs = task["inputs"]
        sources = [one["taskOutputArtifact"] for one in inputs.get("artifacts", {}).values()]
        sources += [
            one["taskOutputParameter"]
            for one in inputs.get("parameters", {}).values()
            if "taskOutputParameter" in one
        ]
        for source in sources:
            assert source["producerTask"] in task["dependentTasks"], name
            outputs = component(spec, source["producerTask"])["outputDefinitions"]
            key = source.get("outputArtifactKey") or source["outputParameterKey"]
            assert key in {**outputs.get("artifacts", {}), **outputs.get("parameters", {})}


def test_the_music_is_looked_at_in_every_run(tasks):
    ingest = tasks["gtzanexamplegen"]["inputs"]["parameters"]["data_fingerprint"]
    assert ingest["taskOutputParameter"]["producerTask"] == "datafingerprint"
    always = {name for name, task in tasks.items() if "cachingOptions" not in task}
    with_run_id = {
        name
        for name, task in tasks.items()
        if task["inputs"]["parameters"].get("run_id")
        == {"runtimeValue": {"constant": compiling.RUN_ID}}
    }
    assert always == with_run_id >= {"datafingerprint", "pusher", "runrecorder"}
    assert "gtzanexamplegen" not in always


def test_a_run_needs_no_parameters(spec):
    """Kubeflow would ask for each one whenever a run is created."""
    assert "inputDefinitions" not in spec["root"]
    assert spec["defaultPipelineRoot"] == DEPLOYMENT.pipeline_root


def test_another_epoch_is_another_cache_key_of_every_node(spec):
    other, _ = compiling.specification(dataclasses.replace(CONFIG, cache_epoch="2"), DEPLOYMENT)

    def keys(compiled) -> dict[str, dict]:
        tasks = compiled["root"]["dag"]["tasks"]
        return {name: task["inputs"]["parameters"][PARAMETER] for name, task in tasks.items()}

    assert all(keys(other)[name] != key for name, key in keys(spec).items())


def test_nothing_of_this_machine_is_in_the_file(file):
    text = file.read_text()
    assert str(ROOT) not in text
    assert "metadata.db" not in text and "sqlite" not in text


def test_the_file_names_secrets_and_holds_none(documents, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:very-secret@mlflow")
    again = tmp_path / "again.yaml"
    compiling.compile_to(str(again), CONFIG, DEPLOYMENT)
    assert "very-secret" not in again.read_text()
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(documents[0]["deploymentSpec"]["executors"])
    for environment in executors.values():
        named = {
            secret["secretName"]: {key["envVar"] for key in secret["keyToEnv"]}
            for secret in environment["secretAsEnv"]
        }
        assert named == {"keys": {*OBJECT_STORE_KEYS}, "mlflow": {*MLFLOW_KEYS}}
        (field,) = environment["fieldPathAsEnv"]
        assert field["name"] == "GATEFOLD_RUN_ID"


@pytest.mark.parametrize("release", releases.RELEASES, ids=lambda one: one.name)
def test_every_name_retry_output_and_variable_is_legal(documents, spec, tasks, release):
    environments = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for name, task in tasks.items():
        assert task["taskInfo"]["name"] == name
        pod = releases.pod_name(release, name, retried=True)
        assert releases.POD_NAME.fullmatch(pod)
        assert releases.attempts(release, task["retryPolicy"], attempt_seconds=86_400) == 3
        outputs = component(spec, name)["outputDefinitions"]["artifacts"]
        shown = {key for key, output in outputs.items() if "schemaTitle" in output["artifactType"]}
        assert shown <= pictures.PICTURES.keys()
        assert all(outputs[key]["artifactType"]["instanceSchema"] for key in outputs.keys() - shown)
        environment = environments[component(spec, name)["executorLabel"]]
        assert set(environment) == {"secretAsEnv", "fieldPathAsEnv"}
        # `optional` is unknown before 2.15, and an unknown field makes the file unreadable.
        assert all(set(one) == {"secretName", "keyToEnv"} for one in environment["secretAsEnv"])


def test_resources_and_retries_stand_at_every_node(spec, tasks):
    memory = {name: container(spec, name)["resources"]["memoryLimit"] for name in tasks}
    assert (memory["trainer-cnn"], memory["trainer-lstm"], memory["pusher"]) == (32, 16, 8)
    accelerated = {name for name in tasks if "accelerator" in container(spec, name)["resources"]}
    assert accelerated == {"tuner-cnn", "tuner-lstm", "trainer-cnn", "trainer-lstm"}
    assert all(task["retryPolicy"]["maxRetryCount"] == 2 for task in tasks.values())


def test_resources_for_a_node_that_is_not_there_are_a_mistake():
    other = dataclasses.replace(DEPLOYMENT, node_resources={"Transform-mel": Resources()})
    with pytest.raises(UserError, match=r"--node: this pipeline has no Transform-mel; it has "):
        compiling.specification(CONFIG, other)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UserError, match="--output: cannot write"):
        compiling.compile_to(str(tmp_path / "no" / "genre.yaml"), CONFIG, DEPLOYMENT)
