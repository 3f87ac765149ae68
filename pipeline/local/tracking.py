"""MLflow as a run on this machine watches it: the nodes write, and a run that fails says so."""

import contextlib
import json
import subprocess
from pathlib import Path

from absl import logging

from components.common import tracking
from components.common.errors import UserError
from components.common.tracking import PipelineRuns
from pipeline import config_file
from pipeline.config import PipelineConfig
from pipeline.local import mlflow_store
from pipeline.local.stages import StageResult
from pipeline.run_parameters import run_parameters

_ROOT = Path(__file__).resolve().parents[2]
_STORE_TAG = "gatefold.metadata_store"


def open_run(config: PipelineConfig, data_fingerprint: str, run_id: str, store: str) -> None:
    """Opens MLflow's store and starts the pipeline's run; the nodes find it by the run's id.

    The run exists from the start, so that one that fails in ingest is in the store, too. Runs that
    were killed are marked as such.

    Args:
      config: The run.
      data_fingerprint: Of the data set.
      run_id: Of this run of the pipeline.
      store: Name of the metadata store, which no other run uses meanwhile.

    Raises:
      UserError: MLflow refuses the store, as one of another version of MLflow.
    """
    try:
        _open_run(config, data_fingerprint, run_id, store)
    except tracking.store_errors() as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"MLflow cannot use its store: {reason}") from error


def _open_run(config: PipelineConfig, data_fingerprint: str, run_id: str, store: str) -> None:
    if mlflow_store.tracking_uri(config) == mlflow_store.uri(config.local_folder):
        mlflow_store.create(config.local_folder)
        mlflow_store.follow(config.local_folder)
    runs = _runs(config, run_id)
    for killed in runs.still_running({_STORE_TAG: store}):
        _runs(config, killed).end("KILLED")
    runs.log_tags(runs.pipeline_run(), {_STORE_TAG: store})
    parameters = {**run_parameters(config), "data_fingerprint": data_fingerprint}
    runs.log_params(runs.pipeline_run(), parameters)
    _log_sources(runs, config, data_fingerprint)


def _log_sources(runs: PipelineRuns, config: PipelineConfig, data_fingerprint: str) -> None:
    """Adds the data set, the commit and the flags, where MLflow's own users look for them."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    run, folder = runs.pipeline_run(), config.data.folder
    source = json.dumps({"uri": folder})
    dataset = Dataset(Path(folder).name, data_fingerprint, "local", source)
    commit = _commit()
    flags = config.local_folder / config_file.FILE
    try:
        tags = [InputTag("mlflow.data.context", "training")]
        runs.client.log_inputs(run, [DatasetInput(dataset, tags)])
        if commit:
            runs.log_tags(run, {"mlflow.source.git.commit": commit})
        if flags.is_file():
            runs.client.log_artifact(run, str(flags))
    except tracking.store_errors() as error:
        logging.warning("MLflow lacks the sources of this run: %s", error)


def _commit() -> str:
    """The commit of the checkout that runs, or "" without one."""
    with contextlib.suppress(OSError):  # there is no git
        return subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=_ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()
    return ""


def fail_run(config: PipelineConfig, run_id: str) -> None:
    """Marks every MLflow run of a run that has not ended as failed, if the store is there."""
    try:
        _runs(config, run_id).end("FAILED")
    except tracking.store_errors() as error:
        logging.warning("MLflow does not know that this run failed: %s", error)


def _runs(config: PipelineConfig, run_id: str) -> PipelineRuns:
    uri = mlflow_store.tracking_uri(config)
    return PipelineRuns(uri, experiment=config.name, run_id=run_id)


def shortcomings(recorder: StageResult) -> list[str]:
    """Says in lines for people what MLflow lacks of a finished run, given RunRecorder's result."""
    (record,) = recorder.outputs["record"]
    lines = []
    if error := record.properties.get("error"):
        lines.append(f"MLflow has no complete record of this run: {error}")
    if missing := str(record.properties.get("missing", "")):
        lines.append("MLflow's store was not there all the time. It lacks:")
        lines += [f"  {line}" for line in missing.splitlines()]
    if unpublished := str(record.properties.get("unpublished", "")):
        lines.append(f"Not published: {unpublished}")
    return lines
