"""Trainer and Tuner, with the executors that prepare their process and track it."""

from tfx import components as tfx_components
from tfx.dsl.components.base import executor_spec

from components.trainer import executor


class Trainer(tfx_components.Trainer):
    """TFX's Trainer (same inputs, outputs and parameters), in any process."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.TrainerExecutor)


class Tuner(tfx_components.Tuner):
    """TFX's Tuner (same inputs, outputs and parameters), in any process."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.TunerExecutor)
