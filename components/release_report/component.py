"""ReleaseReport: the evidence for or against a release, for people and for machines."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.dsl.placeholder import placeholder
from tfx.types import BaseChannel, ComponentSpec

from components.audio.settings import AudioSettings
from components.common.artifacts import Report
from components.common.dynamic_spec import by_model, component_spec
from components.release_report import executor


class ReleaseReport(base_component.BaseComponent):
    """Writes the page, the JSON and the model card of a run, before anything is pushed.

    Output `report`, with `index.html` (one file that needs no network), `report.json` (the gate's
    judgement and what was chosen), `model_card.md` and the ingest report (`ingest.html`). What the
    push then came to is added where the report is published (`components.common.published_report`).
    """

    SPEC_CLASS = ComponentSpec  # replaced for each instance: its inputs depend on the models
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        judgement: BaseChannel,
        selection: BaseChannel,
        answers: Mapping[str, BaseChannel],
        model_runs: Mapping[str, BaseChannel],
        examples: BaseChannel,
        ingest_report: BaseChannel,
        facts: Mapping[str, Any],
        audio: AudioSettings,
        data_fingerprint: str | placeholder.Placeholder,
        flags: str = "",
    ):
        """Creates the node.

        Args:
          judgement: Gate's report.
          selection: ModelSelector's report.
          answers: By catalog name, each branch's answers for the test tracks.
          model_runs: By catalog name, what each branch was trained with.
          examples: Raw examples; the sound of the worst mistakes is read from the test split.
          ingest_report: GtzanExampleGen's report.
          facts: Of the run: data, split, seeds, code version.
          audio: Rate of the examples, lengths of clips and windows.
          data_fingerprint: Of the music, or the output of a `DataFingerprint`.
          flags: The file for `--config` that runs the same again; "" if there is none.
        """
        run = {
            "models": list(answers),
            "flags": flags,
            "facts": dict(facts),
            "audio": dataclasses.asdict(audio),
        }
        spec = component_spec(
            "ReleaseReportSpec",
            parameters={
                "run": json.dumps(run, sort_keys=True),
                "data_fingerprint": data_fingerprint,
            },
            inputs={
                "judgement": judgement,
                "selection": selection,
                "examples": examples,
                "ingest_report": ingest_report,
                **by_model(answers=answers, model_run=model_runs),
            },
            outputs={"report": Report},
        )
        self.SPEC_CLASS = type(spec)
        super().__init__(spec=spec)
