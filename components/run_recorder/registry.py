"""Versions of the registered model in MLflow, one of each candidate, and the alias `champion`.

MLflow keeps no history of aliases: what was in production when is in the serving folder's
`releases.jsonl`.
"""

from collections.abc import Mapping
from typing import Any

from components.common.published_report import PAGE_FILE
from components.common.storage import is_remote
from components.common.tracking import RUN_ID_TAG, PipelineRuns
from components.run_recorder.outcome import Outcome

CHAMPION = "champion"  # the version that is in production
CHECKSUM_TAG = "gatefold.checksum"
JUDGED_TAG = "gatefold.judged_in"
PRODUCTION_TAG = "gatefold.production_version"

REPORT_ARTIFACTS = "report"  # folder of the report among the artifacts of the pipeline's run
_UPLOADED = "model"
_LONGEST_TAG = 4000


def register(
    runs: PipelineRuns,
    name: str,
    judgement: Mapping[str, Any],
    outcome: Outcome,
    *,
    sources: Mapping[str, str],
    tags: Mapping[str, Any],
) -> None:
    """Makes every judged model a version, and moves `champion` to the one in production.

    A model whose files are a version already is no new one; its verdict is brought up to date. One
    whose files could not be read is none. `champion` goes to the chosen model once it is pushed,
    else to the model that was in production before, if it is a version.

    Args:
      runs: Of this run of the pipeline.
      name: Of the registered model.
      judgement: The gate's `report.json`.
      outcome: What the push came to.
      sources: URI of each model's release, by name.
      tags: Further tags of every version, such as the data.
    """
    client = runs.client
    _create_registered_model(client, name)
    versions = {}
    for model, judged in judgement["models"].items():
        if not judged["checksum"]:
            continue
        facts = {**tags, **_verdict(model, judged, runs.run_id)}
        facts = {key: str(value)[:_LONGEST_TAG] for key, value in facts.items()}
        version = _find(client, name, judged["checksum"])
        if version is None:
            version = _create(runs, name, model, sources[model], facts)
        else:
            for key, value in facts.items():
                client.set_model_version_tag(name, version.version, key, value)
            text = _description(runs, model, facts["gate"])
            client.update_model_version(name, version.version, text)
        versions[model] = version
    if outcome.pushed:
        champion = versions.get(outcome.chosen)
    else:
        champion = _find(client, name, judgement["production"].get("checksum"))
    if champion is None:
        return
    if outcome.pushed and outcome.version:
        client.set_model_version_tag(name, champion.version, PRODUCTION_TAG, outcome.version)
    client.set_registered_model_alias(name, CHAMPION, champion.version)


def _verdict(model: str, judged: Mapping[str, Any], run_id: str) -> dict[str, str]:
    validation = judged["validation"]
    figures = {f"validation_{name}": validation[name] for name in ("accuracy", "loss")}
    return {
        "model": model,
        CHECKSUM_TAG: judged["checksum"],
        JUDGED_TAG: run_id,
        "gate": "passed" if judged["blessed"] else "failed",
        "gate.failed": ", ".join(row["gate"] for row in judged["gates"] if not row["passed"]),
        **{key: f"{value:.6g}" for key, value in figures.items() if value is not None},
    }


def _description(runs: PipelineRuns, model: str, verdict: str) -> str:
    """Which run judged the version last, with a link that MLflow's page of the version shows."""
    report = runs.artifact_page(f"{REPORT_ARTIFACTS}/{PAGE_FILE}")
    return f"{model} of run {runs.run_id}, which {verdict} the gate: [release report]({report})"


def _create_registered_model(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _find(client: Any, name: str, checksum: str | None) -> Any | None:
    """The first version with these files; None without one."""
    if not checksum:
        return None
    found = client.search_model_versions(
        f"name = '{name}' and tags.`{CHECKSUM_TAG}` = '{checksum}'",
        order_by=["version_number ASC"],
        max_results=1,
    )
    return found[0] if found else None


def _create(runs: PipelineRuns, name: str, model: str, source: str, tags: Mapping[str, str]) -> Any:
    from mlflow.exceptions import MlflowException

    run = runs.branch_run(model)
    version = {
        "run_id": run,
        "tags": {RUN_ID_TAG: runs.run_id, **tags},
        "description": _description(runs, model, tags["gate"]),
    }
    try:
        return runs.client.create_model_version(name, source, **version)
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE" or is_remote(source):
            raise
    # A server takes no path on a disk that it may not share: it gets the files themselves.
    runs.client.log_artifacts(run, source, _UPLOADED)
    return runs.client.create_model_version(name, f"runs:/{run}/{_UPLOADED}", **version)
