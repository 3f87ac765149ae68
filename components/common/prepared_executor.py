"""A base of executors that inherit `Do` from TFX."""

from typing import Any

from tfx.dsl.components.base import base_executor

from components.common import runtime


class PreparedExecutor(base_executor.BaseExecutor):
    """Prepares the process, then runs the executor that stands behind it in the bases.

    Written as `class Executor(PreparedExecutor, tfx_executor.Executor)`.
    """

    def Do(  # noqa: N802 (the name that TFX calls)
        self, input_dict: Any, output_dict: Any, exec_properties: dict[str, Any]
    ) -> Any:
        """Calls `runtime.prepare`, then the next base's `Do` with the same arguments."""
        runtime.prepare(input_dict, output_dict, exec_properties)
        return super().Do(input_dict, output_dict, exec_properties)
