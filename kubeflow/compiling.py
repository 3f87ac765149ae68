"""Compiles the pipeline to the file that Kubeflow Pipelines takes (schema 2.1.0).

TFX's compiler makes the specification. What it lacks is added here: resources, retries, which nodes
are never cached, the pipeline root, and a second YAML document with the nodes' environment.
"""

from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

from components.common import node_ids, storage
from components.common.errors import UserError
from components.trainer.component import Trainer, Tuner
from kubeflow.deployment import Deployment
from pipeline import genres
from pipeline.config import PipelineConfig
from pipeline.pipeline import create_pipeline

# Kubeflow replaces it with the id of the run when it starts a node.
RUN_ID = "{{$.pipeline_job_uuid}}"

_RUN_ID_PARAMETER = "run_id"
_BACKOFF_SECONDS = 60


def compile_to(file: str, config: PipelineConfig, deployment: Deployment) -> str:
    """Writes the compiled pipeline.

    Args:
      file: Where to write; its name ends in .yaml.
      config: The run.
      deployment: What the cluster gives to its nodes.

    Returns:
      A sentence about the file.

    Raises:
      UserError: The file cannot be written, or the genres cannot be found.
    """
    pipeline_spec, platform_spec = specification(_with_genres(config), deployment)
    try:
        with Path(file).open("w") as target:
            target.write(f"# Gatefold for Kubeflow Pipelines; image {deployment.image}\n")
            yaml.safe_dump_all([pipeline_spec, platform_spec], target, sort_keys=True)
    except OSError as error:
        raise UserError(f"--output: cannot write {file}: {error.strerror}") from error
    tasks = pipeline_spec["root"]["dag"]["tasks"]
    return f"{file}: {len(tasks)} nodes, image {deployment.image}"


def specification(
    config: PipelineConfig, deployment: Deployment
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compiles a run.

    Args:
      config: The run; its genres are known.
      deployment: What the cluster gives to its nodes.

    Returns:
      The PipelineSpec and the PlatformSpec, as YAML documents.

    Raises:
      UserError: `deployment` names resources for a node that does not exist.
    """
    dag = create_pipeline(config, data_fingerprint=None, run_id=RUN_ID)
    _check_names(dag, deployment)
    compiled = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        config=kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            default_image=deployment.image, use_pipeline_spec_2_1=True
        )
    ).run(dag, write_out=False)
    spec = compiled["pipelineSpec"]
    spec["defaultPipelineRoot"] = deployment.pipeline_root
    for task in spec["root"]["dag"]["tasks"].values():
        _complete_task(task, deployment)
    training = {node.id for node in dag.components if isinstance(node, Trainer | Tuner)}
    executors = spec["deploymentSpec"]["executors"]
    for name, component in spec["components"].items():
        container = executors[component["executorLabel"]]["container"]
        container["resources"] = _resources(name, deployment, accelerated=name in training)
    environments = {label: deployment.environment() for label in executors}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": environments}}}}
    return _normalised(spec), platform


def _with_genres(config: PipelineConfig) -> PipelineConfig:
    """Finds the genres of the data for `--genres auto`: labels are fixed when a run is compiled."""
    if config.data.genres:
        return config
    if storage.is_remote(config.data.folder):
        storage.open_object_stores(config.data.folder)
        return genres.resolve_remote(config)
    return genres.resolve_local(config)


def _check_names(dag: tfx_pipeline.Pipeline, deployment: Deployment) -> None:
    ids = {node.id for node in dag.components}
    invalid = [name for name in ids if not node_ids.VALID.fullmatch(name)]
    if invalid:
        raise ValueError(f"Kubeflow refuses these node ids: {invalid}")
    kinds = {name.partition("-")[0] for name in ids}
    unknown = sorted({*deployment.node_resources} - ids - kinds)
    if unknown:
        raise UserError(
            f"--node: this pipeline has no {', '.join(unknown)}; it has {', '.join(sorted(ids))}"
        )


def _complete_task(task: dict[str, Any], deployment: Deployment) -> None:
    parameters = task["inputs"].get("parameters", {})
    if _RUN_ID_PARAMETER in parameters:
        # The id differs in every run, so no result could be found; this says it for all readers.
        task.pop("cachingOptions", None)
    for parameter in parameters.values():
        source = parameter.get("taskOutputParameter")
        if source:
            # TFX 1.16 names the producer <id>_task here, and <id> where it defines the task.
            source["producerTask"] = source["producerTask"].removesuffix("_task")
    if deployment.retries:
        task["retryPolicy"] = {
            "maxRetryCount": deployment.retries,
            "backoffDuration": f"{_BACKOFF_SECONDS}s",
            "backoffFactor": 2,
        }


def _resources(node: str, deployment: Deployment, *, accelerated: bool) -> dict[str, Any]:
    resources = deployment.resources_of(node)
    made: dict[str, Any] = {
        "cpuRequest": resources.cpu,
        "cpuLimit": resources.cpu,
        "memoryRequest": resources.memory_gb,
        "memoryLimit": resources.memory_gb,
    }
    if accelerated and deployment.accelerator:
        made["accelerator"] = {
            "type": deployment.accelerator,
            "count": str(deployment.accelerators),
        }
    return made


def _normalised(spec: dict[str, Any]) -> dict[str, Any]:
    """The specification with every field known to Kubeflow's schema, as an error else."""
    deployment = json_format.ParseDict(
        spec["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig()
    )
    message = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    made: dict[str, Any] = json_format.MessageToDict(message)
    made["deploymentSpec"] = json_format.MessageToDict(deployment)
    return made
