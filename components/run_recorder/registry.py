"""Versions of the registered model in MLflow, one of each candidate, and their aliases.

MLflow keeps no history of aliases: what was in production when is in the serving folder's
`releases.jsonl`.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from components.common.storage import is_remote
from components.common.tracking import RUN_ID_TAG, PipelineRuns
from components.run_recorder.outcome import Outcome

CHAMPION = "champion"  # the version that is in production
CHALLENGER = "challenger"  # the best refused one
CHECKSUM_TAG = "gatefold.checksum"
JUDGED_TAG = "gatefold.judged_in"
PRODUCTION_TAG = "gatefold.production_version"

_UPLOADED = "model"
_LONGEST_TAG = 4000


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A judged model.

    Attributes:
      model: Its name.
      source: URI of its release.
      checksum: Of its files; "" where they could not be read.
      blessed: Whether the gate lets it into production.
      failed: The gates that it failed.
      accuracy: On the validation split; None if unknown.
      loss: On the validation split; None if unknown.
    """

    model: str
    source: str
    checksum: str
    blessed: bool
    failed: tuple[str, ...] = ()
    accuracy: float | None = None
    loss: float | None = None

    @property
    def identity(self) -> str:
        """What makes it one version: its files, or its place if they could not be read."""
        return self.checksum or self.source


def from_judgement(judgement: Mapping[str, Any], sources: Mapping[str, str]) -> list[Candidate]:
    """Reads the candidates of a judgement.

    Args:
      judgement: The gate's `report.json`.
      sources: URI of each model's release, by name.
    """
    candidates = []
    for model, judged in judgement["models"].items():
        validation = judged.get("validation") or {}
        failed = [gate["gate"] for gate in judged.get("gates") or [] if not gate.get("passed")]
        candidates.append(
            Candidate(
                model=model,
                source=sources[model],
                checksum=judged.get("checksum") or "",
                blessed=bool(judged.get("blessed")),
                failed=tuple(failed),
                accuracy=validation.get("accuracy"),
                loss=validation.get("loss"),
            )
        )
    return candidates


def register(
    runs: PipelineRuns,
    name: str,
    candidates: Sequence[Candidate],
    outcome: Outcome,
    *,
    production: str = "",
    tags: Mapping[str, Any],
) -> None:
    """Makes every candidate a version, and moves the aliases to where they belong.

    A candidate whose files are a version already is no new one; its verdict is brought up to date.
    `champion` goes to the version that is in production: the chosen one once it is pushed, else the
    one that was there before, if it is known. `challenger` goes to this run's best refused
    candidate by validation, and stays where it is if none was refused.

    Args:
      runs: Of this run of the pipeline.
      name: Of the registered model.
      candidates: All that were judged.
      outcome: What the push came to.
      production: Checksum of the model that was in production before, or "".
      tags: Further tags of every version, such as the data.
    """
    client = runs.client
    _create_registered_model(client, name)
    known = _versions_by_identity(client, name)
    for candidate in candidates:
        facts = {**tags, **_verdict(candidate, runs.run_id)}
        if candidate.identity in known:
            _update_tags(client, name, known[candidate.identity], facts)
        else:
            created = _create_version(runs, name, candidate, {RUN_ID_TAG: runs.run_id, **facts})
            known[candidate.identity] = created
    numbers = {identity: str(version.version) for identity, version in known.items()}
    by_model = {candidate.model: numbers[candidate.identity] for candidate in candidates}
    champion = by_model.get(outcome.chosen) if outcome.pushed else numbers.get(production)
    if champion and outcome.pushed and outcome.version:
        client.set_model_version_tag(name, champion, PRODUCTION_TAG, outcome.version)
    _move_aliases(client, name, champion, candidates, by_model)


def _verdict(candidate: Candidate, run_id: str) -> dict[str, str]:
    figures = {"validation_accuracy": candidate.accuracy, "validation_loss": candidate.loss}
    return {
        "model": candidate.model,
        CHECKSUM_TAG: candidate.checksum,
        JUDGED_TAG: run_id,
        "gate": "passed" if candidate.blessed else "failed",
        "gate.failed": ", ".join(candidate.failed),
        **{key: f"{value:.6g}" for key, value in figures.items() if value is not None},
    }


def _move_aliases(
    client: Any,
    name: str,
    champion: str | None,
    candidates: Sequence[Candidate],
    by_model: Mapping[str, str],
) -> None:
    aliases = {
        alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()
    }
    champion = champion or aliases.get(CHAMPION)
    if champion and aliases.get(CHAMPION) != champion:
        client.set_registered_model_alias(name, CHAMPION, champion)
    # What is in production challenges nobody, even if a stricter gate refuses it now.
    refused = [
        candidate
        for candidate in candidates
        if not candidate.blessed and by_model[candidate.model] != champion
    ]
    if refused:
        challenger = by_model[max(refused, key=_by_validation).model]
        if aliases.get(CHALLENGER) != challenger:
            client.set_registered_model_alias(name, CHALLENGER, challenger)
    elif champion and aliases.get(CHALLENGER) == champion:
        client.delete_registered_model_alias(name, CHALLENGER)


def _by_validation(candidate: Candidate) -> tuple[float, float]:
    accuracy = -math.inf if candidate.accuracy is None else candidate.accuracy
    return accuracy, -math.inf if candidate.loss is None else -candidate.loss


def _create_registered_model(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _versions_by_identity(client: Any, name: str) -> dict[str, Any]:
    """The versions that are there, by checksum or, without one, by source; the first of equals."""
    found: dict[str, Any] = {}
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        for version in page:
            identity = version.tags.get(CHECKSUM_TAG) or version.source
            if identity not in found or int(version.version) < int(found[identity].version):
                found[identity] = version
        token = page.token
        if not token:
            return found


def _update_tags(client: Any, name: str, version: Any, tags: Mapping[str, Any]) -> None:
    for key, value in tags.items():
        text = str(value)[:_LONGEST_TAG]
        if version.tags.get(key) != text:
            client.set_model_version_tag(name, version.version, key, text)


def _create_version(
    runs: PipelineRuns, name: str, candidate: Candidate, tags: Mapping[str, Any]
) -> Any:
    from mlflow.exceptions import MlflowException

    run = runs.branch_run(candidate.model)
    verdict = "passed the gate" if candidate.blessed else "failed the gate"
    version = {
        "run_id": run,
        "tags": {key: str(value)[:_LONGEST_TAG] for key, value in tags.items()},
        "description": f"{candidate.model} of run {runs.run_id}, which {verdict}",
    }
    try:
        return runs.client.create_model_version(name, candidate.source, **version)
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE" or is_remote(candidate.source):
            raise
    # A server takes no path on a disk that it may not share: it gets the files themselves.
    runs.client.log_artifacts(run, candidate.source, _UPLOADED)
    return runs.client.create_model_version(name, f"runs:/{run}/{_UPLOADED}", **version)
