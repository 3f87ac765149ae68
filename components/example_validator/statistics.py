"""Which features are judged by their statistics: all but the sound itself.

Counting the values of a feature that is a megabyte a track takes longer than ingesting it, and
says nothing: what can be judged of the sound is in features of its own. The schema leaves it out of
the environment `STATISTICS`.
"""

from pathlib import Path

import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

ENVIRONMENT = "STATISTICS"


def statistics_options(schema_file: Path) -> tfdv.StatsOptions:
    """Options for StatisticsGen that count the judged features only.

    Args:
      schema_file: The curated schema, in text format.
    """
    schema = judged_schema(text_format.Parse(schema_file.read_text(), schema_pb2.Schema()))
    return tfdv.StatsOptions(feature_allowlist=[feature.name for feature in schema.feature])


def judged_schema(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """The schema without the features that are not in the environment `STATISTICS`.

    TFX's ExampleValidator does not hand an environment on to TFDV.
    """
    judged = schema_pb2.Schema()
    judged.CopyFrom(schema)
    del judged.feature[:]
    judged.feature.extend(
        feature for feature in schema.feature if ENVIRONMENT not in feature.not_in_environment
    )
    return judged
