"""Executors of Trainer and Tuner: TFX's, in a prepared process, tracked live in MLflow."""

import copy
import json
import tempfile
from typing import Any

from tfx.components.trainer import executor as tfx_trainer
from tfx.components.tuner import executor as tfx_tuner
from tfx.types import Artifact

from components.common import tracking
from components.common.prepared_executor import PreparedExecutor
from components.trainer import workers
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
    """Trains and exports one model.

    Of several workers (`TF_CONFIG`) only the chief writes to the outputs and to MLflow. The others
    do the same work and leave its result in a scratch folder, which is removed.
    """

    def Do(  # noqa: N802 (the name that TFX calls)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains; writes the outputs unless another worker is the chief."""
        all_workers = workers.workers()
        if all_workers is None or all_workers.chief:
            super().Do(input_dict, output_dict, exec_properties)
            return
        with tempfile.TemporaryDirectory(prefix="gatefold-worker-") as folder:
            scratch_outputs = copy.deepcopy(output_dict)
            for name, artifacts in scratch_outputs.items():
                for number, artifact in enumerate(artifacts):
                    artifact.uri = f"{folder}/{name}/{number}"
            PreparedExecutor.Do(self, input_dict, scratch_outputs, exec_properties)


class TunerExecutor(_Tracked, tfx_tuner.Executor):
    """Searches one model's settings."""
