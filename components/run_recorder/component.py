"""RunRecorder: the record of a run in MLflow, its models' versions, and its published report."""

import json
from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.dsl.placeholder import placeholder
from tfx.types import BaseChannel, ComponentSpec

from components.common.artifacts import Report
from components.common.dynamic_spec import by_model, component_spec
from components.run_recorder import executor


class RunRecorder(base_component.BaseComponent):
    """Writes MLflow's runs: one of the pipeline, and one below it for each branch.

    It also makes every candidate a version of MLflow's registered model, with the gate's verdict,
    and publishes the release report with what the push came to.

    It has the run's id and so is never cached: branches that come from the cache are in the record
    too. What a Trainer or Tuner tracked live is completed, not repeated. A store that is down fails
    no run.

    Output `record`, with the custom properties `missing` (what MLflow lacks, one line each),
    `error` (why there is no complete record, or ""), `outcome` (what happened to production, in one
    sentence) and `unpublished` (why the report is not published, or "").
    """

    SPEC_CLASS = ComponentSpec  # replaced for each instance: its inputs depend on the models
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        models: Mapping[str, BaseChannel],
        model_runs: Mapping[str, BaseChannel],
        evaluations: Mapping[str, BaseChannel],
        tuner_results: Mapping[str, BaseChannel],
        selection: BaseChannel,
        pushed_model: BaseChannel,
        judgement: BaseChannel,
        report: BaseChannel,
        genres: tuple[str, ...],
        parameters: Mapping[str, Any],
        tags: Mapping[str, Any],
        experiment: str,
        tracking_uri: str,
        data_fingerprint: str | placeholder.Placeholder,
        run_id: str,
        registered_model: str,
        report_folder: str,
    ):
        """Creates the node.

        Args:
          models: By catalog name, each branch's `Model` channel.
          model_runs: The same names, `ModelRun` channels.
          evaluations: The same names, `ModelEvaluation` channels.
          tuner_results: Names of the models that were searched, `TunerResults` channels.
          selection: ModelSelector's report.
          pushed_model: Pusher's output.
          judgement: Gate's report.
          report: ReleaseReport's.
          genres: Names in label order.
          parameters: MLflow parameters of every run.
          tags: MLflow tags of every branch.
          experiment: MLflow's experiment.
          tracking_uri: MLflow's store; "" for what the environment names (MLFLOW_TRACKING_URI).
          data_fingerprint: Of the music, or the output of a `DataFingerprint`; an MLflow parameter
            of every run.
          run_id: Of this run of the pipeline.
          registered_model: Name of MLflow's registered model.
          report_folder: Where the report is published.
        """
        run = {
            "models": list(models),
            "genres": list(genres),
            "parameters": dict(parameters),
            "tags": dict(tags),
        }
        spec = component_spec(
            "RunRecorderSpec",
            parameters={
                "run": json.dumps(run, sort_keys=True),
                "experiment": experiment,
                "tracking_uri": tracking_uri,
                "data_fingerprint": data_fingerprint,
                "run_id": run_id,
                "registered_model": registered_model,
                "report_folder": report_folder,
            },
            inputs={
                "selection": selection,
                "pushed_model": pushed_model,
                "judgement": judgement,
                "report": report,
                **by_model(
                    model=models,
                    model_run=model_runs,
                    evaluation=evaluations,
                    tuner_results=tuner_results,
                ),
            },
            outputs={"record": Report},
        )
        self.SPEC_CLASS = type(spec)
        super().__init__(spec=spec)
