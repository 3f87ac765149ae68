"""StatisticsGen, with the executor that prepares its process."""

from tfx import components as tfx_components
from tfx.dsl.components.base import executor_spec

from components.statistics_gen import executor


class StatisticsGen(tfx_components.StatisticsGen):
    """TFX's StatisticsGen (same inputs, outputs and parameters), in any process."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
