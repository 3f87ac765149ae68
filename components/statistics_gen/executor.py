"""StatisticsGen's executor, which prepares its process itself."""

from tfx.components.statistics_gen import executor as tfx_executor

from components.common.prepared_executor import PreparedExecutor


class Executor(PreparedExecutor, tfx_executor.Executor):
    """TFX's executor in a prepared process."""
