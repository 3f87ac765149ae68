"""Executors of Trainer and Tuner: TFX's, in a prepared process, tracked live in MLflow."""

import json
from typing import Any

from tfx.components.trainer import executor as tfx_trainer
from tfx.components.tuner import executor as tfx_tuner
from tfx.types import Artifact

from components.common import tracking
from components.common.prepared_executor import PreparedExecutor
from components.trainer.training.live_metrics import live_run


class _Tracked(PreparedExecutor):
    """Opens the branch's MLflow run, and notes in the outputs which run executed it."""

    def Do(  # noqa: N802 (the name that TFX calls)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        config = json.loads(exec_properties["custom_config"])
        with live_run(self._context, config.get("branch", config["model"])):
            super().Do(input_dict, output_dict, exec_properties)
        tracking.note_run(output_dict, self._context)


class TrainerExecutor(_Tracked, tfx_trainer.GenericExecutor):
    """Trains and exports one model."""


class TunerExecutor(_Tracked, tfx_tuner.Executor):
    """Searches one model's settings."""
