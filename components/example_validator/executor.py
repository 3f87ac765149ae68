"""StrictExampleValidator's executor: fails the node if the data has anomalies.

TFX's own executor writes anomalies to an artifact and lets the pipeline continue, so that models
are trained on broken data. This one fails after validating every split. TFX deletes the outputs of
a failed node, so the error carries all anomalies.
"""

from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.example_validator import executor as tfx_executor
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils

from components.common.errors import UserError
from components.common.prepared_executor import PreparedExecutor
from components.example_validator.statistics import judged_schema

PAGE_NAME = "anomalies.pbtxt"


class AnomalyError(UserError):
    """The data does not match the schema; the page holds the anomalies of every split."""

    def __init__(self, message: str, *, page: str):
        super().__init__(message, page=page, page_name=PAGE_NAME)


class Executor(PreparedExecutor, tfx_executor.Executor):
    """Validates statistics against the schema and raises on an anomaly."""

    def Do(  # noqa: N802 - TFX's own interface
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        """Validates every split.

        Args:
          input_dict: `statistics` and `schema`.
          output_dict: `anomalies`.
          exec_properties: As TFX's.

        Raises:
          AnomalyError: A split does not match the schema.
        """
        result = super().Do(input_dict, output_dict, exec_properties)
        artifact = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.ANOMALIES_KEY]
        )
        anomalies = {split: _read(artifact, split) for split in artifact.splits}
        lines = [
            f"  {split}: {line}"
            for split, split_anomalies in anomalies.items()
            for line in describe(split_anomalies)
        ]
        if lines:
            raise AnomalyError(
                "The data does not fit schemas/gtzan.pbtxt:\n"
                + "\n".join(lines)
                + "\nIngest holds every track to the same limits, so its report (tracks-….csv) "
                "shows which track this is; mend or remove it, or change the schema if that is "
                "wrong.",
                page="\n".join(
                    f"# {split}\n{text_format.MessageToString(split_anomalies, as_utf8=True)}"
                    for split, split_anomalies in anomalies.items()
                ),
            )
        # TFX writes a struct with each split's verdict, which Kubeflow hands on in another form.
        artifact.set_json_value_custom_property(
            tfx_executor.ARTIFACT_PROPERTY_BLESSED_KEY, tfx_executor.BLESSED_VALUE
        )
        return result

    def _Validate(  # noqa: N802 (the name that TFX calls)
        self, inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> anomalies_pb2.Anomalies:
        schema = judged_schema(inputs[standard_component_specs.SCHEMA_KEY])
        return super()._Validate({**inputs, standard_component_specs.SCHEMA_KEY: schema}, outputs)


def _read(artifact: types.Artifact, split: str) -> anomalies_pb2.Anomalies:
    uri = artifact_utils.get_split_uri([artifact], split)
    anomalies = anomalies_pb2.Anomalies()
    anomalies.ParseFromString(io_utils.read_bytes_file(f"{uri}/{tfx_executor.DEFAULT_FILE_NAME}"))
    return anomalies


def describe(anomalies: anomalies_pb2.Anomalies) -> list[str]:
    """Describes each anomaly in a line: the feature, what is wrong and by how much."""
    lines = [
        f"{name}: {info.description or info.short_description}"
        for name, info in sorted(anomalies.anomaly_info.items())
    ]
    if anomalies.HasField("dataset_anomaly_info"):
        lines.append(f"data set: {anomalies.dataset_anomaly_info.description}")
    return lines
