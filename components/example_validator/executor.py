"""ExampleValidator whose anomalies stop the run.

TFX's own writes them to an artifact and lets the pipeline go on, so that a broken data set
would train a model first. Here a run ends at the first split that has one, with its text.
"""

from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.components.example_validator import executor as tfx_executor
from tfx.types import standard_component_specs

from components.errors import UserError
from components.example_validator.statistics import judged_schema


class Executor(tfx_executor.Executor):
    """Validates statistics against the schema and raises on an anomaly."""

    def _Validate(  # noqa: N802 (the name that TFX calls)
        self, inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> anomalies_pb2.Anomalies:
        schema = judged_schema(inputs[standard_component_specs.SCHEMA_KEY])
        anomalies = super()._Validate(
            {**inputs, standard_component_specs.SCHEMA_KEY: schema}, outputs
        )
        found = describe(anomalies)
        if found:
            raise UserError(
                "The data does not fit schemas/gtzan.pbtxt:\n"
                + "\n".join(f"  {line}" for line in found)
                + "\nMend or remove these tracks, or change the schema if it is wrong."
            )
        return anomalies


def describe(anomalies: anomalies_pb2.Anomalies) -> list[str]:
    """One line for each anomaly: the feature, what is wrong and by how much."""
    lines = [
        f"{name}: {info.description or info.short_description}"
        for name, info in sorted(anomalies.anomaly_info.items())
    ]
    if anomalies.HasField("dataset_anomaly_info"):
        lines.append(f"data set: {anomalies.dataset_anomaly_info.description}")
    return lines
