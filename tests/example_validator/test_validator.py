"""The validator's executor on real statistics: all splits, and what is left of a failed run."""

import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils

from components.example_validator.executor import AnomalyError, Executor
from components.gtzan.limits import TrackLimits
from components.schema_import.executor import complete
from tests.conftest import SCHEMA_FILE

GOOD = {
    "track_id": "köln.1",
    "genre": "köln",
    "duration_seconds": 30.0,
    "source_sample_rate_hz": 22_050,
    "peak": 0.5,
    "rms_db": -12.0,
    "silent_fraction": 0.0,
    "clipped_fraction": 0.0,
    "bandwidth_hz": 11_025.0,
    "content_hash": "0123456789abcdef",
}


@pytest.fixture
def validate(tmp_path):
    """Runs the executor on tracks by split."""
    pandas = pytest.importorskip("pandas")

    def run(**splits):
        statistics = standard_artifacts.ExampleStatistics()
        statistics.uri = str(tmp_path / "statistics")
        statistics.split_names = artifact_utils.encode_split_names(list(splits))
        for split, track in splits.items():
            found = tfdv.generate_statistics_from_dataframe(pandas.DataFrame([track] * 3), n_jobs=1)
            folder = tmp_path / "statistics" / f"Split-{split}"
            io_utils.write_bytes_file(str(folder / "FeatureStats.pb"), found.SerializeToString())
        schema = standard_artifacts.Schema()
        schema.uri = str(tmp_path / "schema")
        template = text_format.Parse(SCHEMA_FILE.read_text(), schema_pb2.Schema())
        whole = complete(template, genres=["köln", "r&b"], limits=TrackLimits())
        io_utils.write_string_file(f"{schema.uri}/schema.pbtxt", text_format.MessageToString(whole))
        anomalies = standard_artifacts.ExampleAnomalies()
        anomalies.uri = str(tmp_path / "anomalies")
        Executor().Do(
            {"statistics": [statistics], "schema": [schema]}, {"anomalies": [anomalies]}, {}
        )
        return anomalies

    return run


def test_good_tracks_pass_and_every_split_has_its_empty_anomalies(validate):
    anomalies = validate(train=GOOD, test=GOOD)
    assert anomalies.splits == ["train", "test"]
    written = kubeflow_v2_entrypoint_utils.to_runtime_artifact(anomalies, {})
    assert written.metadata["blessed"] == 1
    assert io_utils.read_bytes_file(f"{anomalies.uri}/Split-test/SchemaDiff.pb") is not None


def test_the_anomalies_of_all_splits_are_reported_and_travel_with_the_error(validate):
    with pytest.raises(AnomalyError) as error:
        validate(
            train={**GOOD, "silent_fraction": 0.99},
            validation=GOOD,
            test={**GOOD, "genre": "polka", "duration_seconds": 1.0},
        )
    text = str(error.value)
    assert "  train: silent_fraction: " in text
    assert "  test: genre: " in text and "polka" in text
    assert "  test: duration_seconds: " in text
    assert "validation:" not in text
    assert error.value.page_name == "anomalies.pbtxt"
    parts = error.value.page.split("# ")[1:]
    assert [part.split("\n")[0] for part in parts] == ["train", "validation", "test"]
    kept = text_format.Parse(parts[2].split("\n", 1)[1], anomalies_pb2.Anomalies())
    assert set(kept.anomaly_info) == {"genre", "duration_seconds"}
