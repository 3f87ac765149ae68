"""Transform, with the executor that prepares its process."""

from tfx import components as tfx_components
from tfx.dsl.components.base import executor_spec

from components.transform import executor


class Transform(tfx_components.Transform):
    """TFX's Transform (same inputs, outputs and parameters), in any process."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
