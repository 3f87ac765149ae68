"""SchemaImport's executor: fills in the genres and limits of a run."""

import json
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import types
from tfx.components.schema_gen.executor import DEFAULT_FILE_NAME
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.common import runtime
from components.common.resources import installed_file
from components.gtzan.limits import TrackLimits

GENRE_DOMAIN = "genre"


class Executor(base_executor.BaseExecutor):
    """Writes the Schema artifact."""

    def Do(  # noqa: N802 - TFX's own interface
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Reads the template, fills it in and writes `schema.pbtxt`.

        Args:
          input_dict: Empty.
          output_dict: `schema`.
          exec_properties: `schema_file`, `genres` as a JSON list and `limits` as JSON.
        """
        runtime.prepare(input_dict, output_dict, exec_properties)
        template = io_utils.SchemaReader().read(str(installed_file(exec_properties["schema_file"])))
        schema = complete(
            template,
            genres=json.loads(exec_properties["genres"]),
            limits=TrackLimits.from_json(exec_properties["limits"]),
        )
        uri = artifact_utils.get_single_uri(output_dict["schema"])
        text = text_format.MessageToString(schema, as_utf8=True)
        io_utils.write_string_file(f"{uri}/{DEFAULT_FILE_NAME}", text)


def complete(
    template: schema_pb2.Schema, *, genres: list[str], limits: TrackLimits
) -> schema_pb2.Schema:
    """Makes the schema of a run.

    Args:
      template: The curated schema: domains of limited numbers have no bounds yet, and the domain
        `genre` has no values.
      genres: Values of the domain `genre`.
      limits: Limits that ingest applies to each track.

    Returns:
      A schema that accepts exactly the tracks that ingest accepts.

    Raises:
      KeyError: The template lacks a feature that has a limit.
    """
    schema = schema_pb2.Schema()
    schema.CopyFrom(template)
    features = {feature.name: feature for feature in schema.feature}
    for name, (least, most) in bounds(limits).items():
        domain = features[name].float_domain
        domain.min, domain.max = least, most
    rate = features["source_sample_rate_hz"].int_domain
    rate.min, rate.max = limits.min_rate_hz, limits.max_rate_hz
    (names,) = (domain for domain in schema.string_domain if domain.name == GENRE_DOMAIN)
    del names.value[:]
    names.value.extend(genres)
    return schema


def bounds(limits: TrackLimits) -> dict[str, tuple[float, float]]:
    """The range of each float feature."""
    return {
        "duration_seconds": (limits.min_seconds, limits.max_seconds),
        "peak": (limits.min_peak, 1.0),
        "rms_db": (limits.min_rms_db, 0.0),
        "silent_fraction": (0.0, limits.max_silent_fraction),
        "clipped_fraction": (0.0, limits.max_clipped_fraction),
        "bandwidth_hz": (0.0, limits.max_rate_hz / 2),
    }
