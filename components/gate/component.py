"""Gate: judges every model of a run, and compares it with the one in production."""

import json
from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, ComponentSpec, standard_artifacts

from components.common.artifacts import Report
from components.common.dynamic_spec import by_model, component_spec
from components.gate import executor, settings
from components.gate.settings import GateSettings


class Gate(base_component.BaseComponent):
    """Decides which models may be released, and writes down why.

    It has the run's id and so is never cached: what is in production is asked in every run. All
    that takes long comes from nodes before it, which are cached; production alone is asked here, if
    it is no model of this run.

    Outputs: `blessing_<model>` for each model, and `judgement`, a `Report` with `report.json`:
    every gate's figure, interval, threshold and verdict.
    """

    SPEC_CLASS = ComponentSpec  # replaced for each instance: its inputs depend on the models
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        models: Mapping[str, BaseChannel],
        model_runs: Mapping[str, BaseChannel],
        evaluations: Mapping[str, BaseChannel],
        answers: Mapping[str, BaseChannel],
        serving_checks: Mapping[str, BaseChannel],
        infra_blessings: Mapping[str, BaseChannel],
        infra_validations: Mapping[str, BaseChannel],
        baseline_answers: BaseChannel,
        ingest_report: BaseChannel,
        examples: BaseChannel,
        gate: GateSettings,
        base_directory: str,
        release: Mapping[str, Any],
        replace_incompatible: bool,
        run_id: str,
    ):
        """Creates the node.

        Args:
          models: `Model` channel of each branch, by the model's name in the catalog.
          model_runs: `ModelRun` channels, which hold validation predictions, by the same names.
          evaluations: `ModelEvaluation` channels, by the same names.
          answers: Predictions' reports, by the same names.
          serving_checks: ServingCheck's reports, by the same names.
          infra_blessings: Its `InfraBlessing` channels, by the same names.
          infra_validations: `InfraBlessing` channels of TFX's InfraValidator, by the same names;
            empty where it does not run.
          baseline_answers: Baseline's report.
          ingest_report: GtzanExampleGen's report: numbers of tracks.
          examples: The raw examples, to ask production about the test split.
          gate: The thresholds.
          base_directory: The serving folder; a path, gs:// or s3://.
          release: Facts about the data, with the genres in label order, as for Pusher.
          replace_incompatible: Whether a model in production that cannot be compared with, because
            its genres or signatures differ or it cannot be read, may be replaced.
          run_id: Id of this run of the pipeline.
        """
        spec = component_spec(
            "GateSpec",
            parameters={
                "models": json.dumps(list(models)),
                "settings": json.dumps(settings.as_dict(gate), sort_keys=True),
                "base_directory": base_directory,
                "release": json.dumps(release, sort_keys=True),
                "replace_incompatible": int(replace_incompatible),
                "run_id": run_id,
            },
            inputs={
                "baseline_answers": baseline_answers,
                "ingest_report": ingest_report,
                "examples": examples,
                **by_model(
                    model=models,
                    model_run=model_runs,
                    evaluation=evaluations,
                    answers=answers,
                    serving_check=serving_checks,
                    infra_blessing=infra_blessings,
                    infra_validation=infra_validations,
                ),
            },
            outputs={
                **{f"blessing_{name}": standard_artifacts.ModelBlessing for name in models},
                "judgement": Report,
            },
        )
        self.SPEC_CLASS = type(spec)
        super().__init__(spec=spec)
