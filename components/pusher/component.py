"""Pusher: makes the chosen model the newest version in the serving folder."""

import json
from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, Channel, ComponentSpec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.common.artifacts import Report
from components.pusher import executor


class PusherSpec(ComponentSpec):
    """Inputs, outputs and parameters of `Pusher`."""

    PARAMETERS = {
        "base_directory": ExecutionParameter(type=str),
        "release": ExecutionParameter(type=str),
        "code": ExecutionParameter(type=str),
        "rule": ExecutionParameter(type=str),
        "run_id": ExecutionParameter(type=str),
    }
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "selection": ChannelParameter(type=Report),
        "ingest_report": ChannelParameter(type=Report),
        "report": ChannelParameter(type=Report),
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
    }
    OUTPUTS = {"pushed_model": ChannelParameter(type=standard_artifacts.PushedModel)}


class Pusher(base_component.BaseComponent):
    """Pushes a blessed model to the serving folder, unless it is the newest version there already.

    TFX's own Pusher is cached like any node, and then reports a push without looking at the serving
    folder. This one always runs, because its `run_id` differs in every run. It compares the newest
    version with the chosen model and pushes only if they differ, if no rollback withdrew this
    model, and if production is still the version that the gate compared it with. Every push is a
    line of the release log (docs/explanation/releases.md).

    Output `pushed_model`, with the custom properties `pushed` (1 if the model is in production),
    `written` (1 if this run wrote it), `pushed_destination` and `pushed_version`; `reason` if a
    blessed model was not pushed, and `kept` (1) if it is no better than production.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        model: BaseChannel,
        model_blessing: BaseChannel,
        selection: BaseChannel,
        ingest_report: BaseChannel,
        report: BaseChannel,
        statistics: BaseChannel,
        base_directory: str,
        release: Mapping[str, Any],
        code: Mapping[str, str],
        rule: str,
        run_id: str,
    ):
        """Creates the node.

        Args:
          model: The chosen model.
          model_blessing: Whether it may be pushed.
          selection: ModelSelector's report: the model's name and figures.
          ingest_report: GtzanExampleGen's report: numbers of tracks, and the training tracks.
          report: ReleaseReport's report: the evidence that the version will hold.
          statistics: StatisticsGen's statistics; the version keeps those of the training split,
            with which `python -m serving.monitor` compares what is served.
          base_directory: The serving folder; a path, gs:// or s3://.
          release: Facts about the data for `release.json`.
          code: Fingerprint of each model's code, by the model's name.
          rule: Of `worth.RULES`: whether a candidate that is as good as production replaces it.
          run_id: Id of this run of the pipeline.
        """
        super().__init__(
            spec=PusherSpec(
                model=model,
                model_blessing=model_blessing,
                selection=selection,
                ingest_report=ingest_report,
                report=report,
                statistics=statistics,
                base_directory=base_directory,
                release=json.dumps(release, sort_keys=True),
                code=json.dumps(code, sort_keys=True),
                rule=rule,
                run_id=run_id,
                pushed_model=Channel(type=standard_artifacts.PushedModel),
            )
        )
