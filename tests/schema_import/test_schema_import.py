"""The schema of a run: the template, the run's genres, ingest's limits."""

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from components.gtzan.limits import TrackLimits
from components.schema_import.component import SchemaImport
from components.schema_import.executor import Executor
from tests.conftest import SCHEMA_FILE

GENRES = ("Köln [live]", "R&B", "新 音")
LIMITS = TrackLimits(min_seconds=2.5, max_silent_fraction=0.8, min_rate_hz=11_025)


def written(folder, genres=GENRES, limits=LIMITS) -> schema_pb2.Schema:
    """The artifact of a node, by its own executor."""
    node = SchemaImport(schema_file=str(SCHEMA_FILE), genres=genres, limits=limits, fingerprint="f")
    artifact = standard_artifacts.Schema()
    artifact.uri = str(folder)
    Executor().Do({}, {"schema": [artifact]}, dict(node.exec_properties))
    return io_utils.SchemaReader().read(f"{folder}/schema.pbtxt")


def test_the_genres_are_the_run_s(tmp_path):
    (domain,) = written(tmp_path).string_domain
    assert (domain.name, tuple(domain.value)) == ("genre", GENRES)


def test_every_limit_is_a_range_of_its_feature(tmp_path):
    features = {feature.name: feature for feature in written(tmp_path).feature}
    duration = features["duration_seconds"].float_domain
    assert (duration.min, duration.max) == (2.5, 3600.0)
    rate = features["source_sample_rate_hz"].int_domain
    assert (rate.min, rate.max) == (11_025, LIMITS.max_rate_hz)
    assert features["silent_fraction"].float_domain.max == pytest.approx(0.8)
    assert features["peak"].float_domain.min == pytest.approx(LIMITS.min_peak)
    assert features["rms_db"].float_domain.min == LIMITS.min_rms_db
    assert features["clipped_fraction"].float_domain.max == LIMITS.max_clipped_fraction
    assert features["bandwidth_hz"].float_domain.max == LIMITS.max_rate_hz / 2


def test_all_else_is_the_template_s(tmp_path):
    template = text_format.Parse(SCHEMA_FILE.read_text(), schema_pb2.Schema())
    schema = written(tmp_path)
    assert [one.name for one in schema.feature] == [one.name for one in template.feature]
    for one, other in zip(schema.feature, template.feature, strict=True):
        assert (one.type, one.presence, one.shape) == (other.type, other.presence, other.shape)
        assert one.not_in_environment == other.not_in_environment
        assert one.float_domain.disallow_nan == other.float_domain.disallow_nan


def test_other_genres_and_limits_are_another_schema_for_the_cache():
    def properties(**changes):
        node = {"genres": GENRES, "limits": LIMITS, "schema_file": "s", "fingerprint": "f"}
        return SchemaImport(**{**node, **changes}).exec_properties

    assert properties() == properties()
    assert properties(genres=("a", "b")) != properties()
    assert properties(limits=TrackLimits()) != properties()
