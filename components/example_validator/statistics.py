"""Leaves the audio out of the statistics.

Statistics of a feature that takes a megabyte per track cost more time than ingest and tell nothing:
levels and lengths are features of their own. The schema therefore excludes `audio` from the
environment `STATISTICS`.
"""

from pathlib import Path

import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

ENVIRONMENT = "STATISTICS"


def statistics_options(schema_file: Path) -> tfdv.StatsOptions:
    """Options for StatisticsGen: statistics of the judged features only.

    Args:
      schema_file: The curated schema, in text format.
    """
    schema = judged_schema(text_format.Parse(schema_file.read_text(), schema_pb2.Schema()))
    return tfdv.StatsOptions(feature_allowlist=[feature.name for feature in schema.feature])


def judged_schema(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """The schema without the features that are not in the environment `STATISTICS`.

    TFX's ExampleValidator does not pass an environment to TFDV.
    """
    judged = schema_pb2.Schema()
    judged.CopyFrom(schema)
    del judged.feature[:]
    judged.feature.extend(
        feature for feature in schema.feature if ENVIRONMENT not in feature.not_in_environment
    )
    return judged
