"""Code fingerprints: each node's cache key holds all code and libraries that compute its result."""

import importlib.metadata
import shutil

import pytest

from pipeline import fingerprint
from pipeline.config import DataConfig, PipelineConfig
from pipeline.pipeline import create_pipeline
from tests.conftest import ROOT

CONFIG = PipelineConfig(
    data=DataConfig("music"), output="out", models=("cnn", "ann", "ensemble"), trials=2
)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A copy of our code that a test may change."""
    shutil.copytree(ROOT / "components", tmp_path / "components")
    monkeypatch.setattr(fingerprint, "_ROOT", tmp_path)
    return tmp_path / "components"


def build():
    return create_pipeline(CONFIG, data_fingerprint="f", run_id="run").components


def fingerprints() -> dict[str, str]:
    return {node.id: node.exec_properties[fingerprint.PARAMETER] for node in build()}


def test_every_node_is_covered_and_every_own_node_by_its_own_code():
    nodes = build()
    assert all(node.exec_properties[fingerprint.PARAMETER] for node in nodes)
    assert all(fingerprint.entry_modules(node) for node in nodes)


@pytest.mark.parametrize(
    ("file", "redone"),
    [
        ("example_gen/counts.py", {"GtzanExampleGen"}),
        ("example_gen/report.html.jinja", {"GtzanExampleGen"}),
        ("audio/codec.py", {"GtzanExampleGen"}),
        ("example_validator/executor.py", {"StrictExampleValidator"}),
        ("evaluator/executor.py", {"Evaluator"}),
        ("model_selector/selection.py", {"ModelSelector"}),
        ("pusher/executor.py", {"Pusher"}),
        ("run_recorder/record.py", {"RunRecorder"}),
        ("statistics_gen/executor.py", {"StatisticsGen"}),
        ("transform/preprocessing.py", {"Transform"}),
        ("audio/spectral.py", {"Transform", "Trainer"}),
        ("trainer/settings.py", {"Trainer", "Tuner"}),
    ],
)
def test_a_changed_file_reaches_the_nodes_that_it_computes_for(source, file, redone):
    before = fingerprints()
    assert (source / file).is_file()
    with (source / file).open("a") as text:
        text.write("\n")
    after = fingerprints()
    changed = {node.partition("-")[0] for node in after if after[node] != before[node]}
    # Warmup requests are encoded by the codec, so Trainer is among those that use it.
    assert redone <= changed
    if file.partition("/")[0] not in ("audio", "trainer"):
        assert changed == redone


@pytest.mark.parametrize(
    ("file", "redone"),
    [
        ("trainer/models/cnn.py", {"Tuner-cnn", "Trainer-cnn", "Trainer-ensemble"}),
        ("trainer/models/ann.py", {"Tuner-ann", "Trainer-ann", "Trainer-ensemble"}),
        ("trainer/models/lstm.py", set()),  # not in this run
        ("trainer/release/ensemble.py", {"Trainer-ensemble"}),
        (
            "audio/features/descriptors.py",
            {"Transform-descriptors", "Tuner-ann", "Trainer-ann", "Trainer-ensemble", "Baseline"},
        ),
        (
            "audio/descriptors.py",
            {"Transform-descriptors", "Tuner-ann", "Trainer-ann", "Trainer-ensemble", "Baseline"},
        ),
        ("audio/features/music_mel.py", set()),
        # The lines by which a model and a feature are added.
        ("trainer/catalog.py", set()),
        ("audio/catalog.py", set()),
    ],
)
def test_a_changed_model_or_feature_redoes_its_own_branch_alone(source, file, redone):
    before = fingerprints()
    assert (source / file).is_file()
    with (source / file).open("a") as text:
        text.write("\n")
    after = fingerprints()
    assert {node for node in after if after[node] != before[node]} == redone


def test_a_new_version_of_a_library_reaches_every_node(monkeypatch):
    before = fingerprints()
    version = importlib.metadata.version
    for library in ("tensorflow-io", "librosa", "tensorflow-model-analysis"):
        monkeypatch.setattr(
            importlib.metadata,
            "version",
            lambda name, it=library: version(name) + "x" * (name == it),
        )
        after = fingerprints()
        assert all(after[node] != before[node] for node in after), library


def test_a_file_has_the_same_fingerprint_wherever_it_is_and_none_where_it_is_missing(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"weights")
    same = {fingerprint.file_fingerprint(str(tmp_path / name)) for name in ("one", "two")}
    assert len(same) == 1 and same != {""}
    assert fingerprint.file_fingerprint(str(tmp_path / "none")) == ""


def test_a_changed_variable_of_a_saved_model_is_another_body(tmp_path):
    folder = tmp_path / "network"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"one")
    before = fingerprint.weights_fingerprint(str(folder))
    assert before == fingerprint.weights_fingerprint(str(folder.rename(tmp_path / "moved")))
    (tmp_path / "moved" / "variables" / "variables.index").write_bytes(b"two")
    assert fingerprint.weights_fingerprint(str(tmp_path / "moved")) != before != ""
    assert fingerprint.weights_fingerprint("none") == ""
