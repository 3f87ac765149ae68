"""StrictExampleValidator: TFX's ExampleValidator, failing on anomalies."""

from tfx.components import ExampleValidator
from tfx.dsl.components.base import executor_spec

from components.example_validator import executor


class StrictExampleValidator(ExampleValidator):
    """TFX's ExampleValidator (same inputs and outputs); an anomaly fails the node."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
