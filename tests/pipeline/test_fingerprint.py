"""Code fingerprints: each node's cache key holds all code and libraries that compute its result."""

import importlib.metadata
import shutil

import pytest

from pipeline import fingerprint, run_parameters
from pipeline.config import DataConfig, PipelineConfig
from pipeline.pipeline import create_pipeline
from tests.conftest import ROOT

CONFIG = PipelineConfig(
    data=DataConfig("music"), output="out", models=("cnn", "ann", "ensemble"), trials=2
)

READ_DESCRIPTORS = {"Tuner-ann", "Trainer-ann", "Trainer-ensemble", "Baseline"}


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


def redone_by_a_change_of(source, file: str) -> set[str]:
    """Ids of the nodes whose fingerprint a change of a file changes."""
    before = fingerprints()
    assert (source / file).is_file()
    with (source / file).open("a") as text:
        text.write("\n")
    return {node for node, digest in fingerprints().items() if digest != before[node]}


@pytest.mark.parametrize(
    ("file", "redone"),
    [
        ("example_gen/counts.py", {"GtzanExampleGen"}),
        ("example_gen/report.html.jinja", {"GtzanExampleGen"}),
        ("example_validator/executor.py", {"StrictExampleValidator"}),
        ("evaluator/executor.py", {f"Evaluator-{name}" for name in CONFIG.models}),
        ("pusher/executor.py", {"Pusher"}),
        ("transform/preprocessing.py", {"Transform-descriptors", "Transform-log-mel"}),
        ("trainer/models/cnn.py", {"Tuner-cnn", "Trainer-cnn", "Trainer-ensemble"}),
        ("trainer/models/lstm.py", set()),  # not in this run
        ("trainer/release/ensemble.py", {"Trainer-ensemble"}),
        ("audio/features/descriptors.py", {*READ_DESCRIPTORS, "Transform-descriptors"}),
        ("audio/descriptors.py", {*READ_DESCRIPTORS, "Transform-descriptors"}),
        ("audio/features/music_mel.py", set()),
        # The lines by which a model and a feature are added.
        ("trainer/catalog.py", set()),
        ("audio/catalog.py", set()),
    ],
)
def test_a_changed_file_redoes_the_nodes_that_it_computes_for(source, file, redone):
    assert redone_by_a_change_of(source, file) == redone


@pytest.mark.parametrize(
    ("file", "kinds"),
    [
        ("audio/codec.py", {"GtzanExampleGen", "Trainer"}),  # which encodes warmup requests
        ("audio/spectral.py", {"Transform", "Trainer"}),
        ("trainer/settings.py", {"Trainer", "Tuner"}),
    ],
)
def test_what_many_nodes_share_redoes_them_all(source, file, kinds):
    assert kinds <= {node.partition("-")[0] for node in redone_by_a_change_of(source, file)}


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
    same = {fingerprint.content_fingerprint(str(tmp_path / name)) for name in ("one", "two")}
    assert len(same) == 1 and same != {""}
    assert fingerprint.content_fingerprint(str(tmp_path / "none")) == ""


def test_a_changed_variable_of_a_saved_model_is_another_body(tmp_path):
    folder = tmp_path / "network"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"one")
    before = fingerprint.content_fingerprint(str(folder))
    assert before == fingerprint.content_fingerprint(str(folder.rename(tmp_path / "moved")))
    (tmp_path / "moved" / "variables" / "variables.index").write_bytes(b"two")
    assert fingerprint.content_fingerprint(str(tmp_path / "moved")) != before != ""
    assert fingerprint.content_fingerprint("none") == ""


def test_without_git_the_version_is_a_hash_of_the_source(source, monkeypatch):
    """As in a container, which has no repository."""
    monkeypatch.setattr(run_parameters, "_ROOT", source.parent)
    before = run_parameters.code_version()
    assert len(before) == 16
    with (source / "pusher" / "executor.py").open("a") as text:
        text.write("\n")
    assert run_parameters.code_version() != before
