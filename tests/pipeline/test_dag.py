"""The DAG: its nodes, its edges, and what each change would redo."""

import dataclasses

import pytest

from components.audio.settings import AudioSettings
from pipeline.config import DataConfig, PipelineConfig
from pipeline.pipeline import create_pipeline

CONFIG = PipelineConfig(data=DataConfig("music"), output="out", models=("cnn",))


def build(config: PipelineConfig = CONFIG, fingerprint: str = "f"):
    return create_pipeline(config, data_fingerprint=fingerprint)


def edges(dag) -> set[tuple[str, str]]:
    return {(up.id, node.id) for node in dag.components for up in node.upstream_nodes}


def test_nodes_stand_in_the_order_of_the_data():
    assert [node.id for node in build().components] == [
        "GtzanExampleGen",
        "SchemaImport",
        "StatisticsGen",
        "StrictExampleValidator",
        "Transform-log_mel",
        "Trainer-cnn",
        "Evaluator-cnn",
        "ModelSelector",
        "Pusher",
    ]


def test_edges_are_those_of_the_design():
    assert edges(build()) == {
        ("GtzanExampleGen", "StatisticsGen"),
        ("StatisticsGen", "StrictExampleValidator"),
        ("SchemaImport", "StrictExampleValidator"),
        ("GtzanExampleGen", "Transform-log_mel"),
        ("SchemaImport", "Transform-log_mel"),
        ("StrictExampleValidator", "Transform-log_mel"),
        ("Transform-log_mel", "Trainer-cnn"),
        ("GtzanExampleGen", "Evaluator-cnn"),
        ("Trainer-cnn", "Evaluator-cnn"),
        ("Trainer-cnn", "ModelSelector"),
        ("Evaluator-cnn", "ModelSelector"),
        ("ModelSelector", "Pusher"),
    }


def test_each_model_is_a_branch_and_the_ensemble_takes_the_others():
    models = ("cnn", "lstm", "ensemble")
    found = edges(build(dataclasses.replace(CONFIG, models=models)))
    assert {up for up, down in found if down == "Trainer-ensemble"} == {
        "Transform-log_mel",
        "Transform-mfcc",
        "Trainer-cnn",
        "Trainer-lstm",
    }
    for model in models:
        assert (f"Trainer-{model}", f"Evaluator-{model}") in found
        assert (f"Evaluator-{model}", "ModelSelector") in found


def test_a_search_feeds_its_trainer_and_nothing_else_changes():
    models = ("cnn", "lstm", "ensemble")
    config = dataclasses.replace(CONFIG, models=models)
    searched = dataclasses.replace(config, trials=3)
    plain, found = edges(build(config)), edges(build(searched))
    assert found - plain == {
        *(("Transform-log_mel", "Tuner-cnn"), ("Tuner-cnn", "Trainer-cnn")),
        *(("Transform-mfcc", "Tuner-lstm"), ("Tuner-lstm", "Trainer-lstm")),
    }
    assert plain < found
    assert changed(build(searched), build(dataclasses.replace(searched, trials=4))) == {
        "Tuner-cnn",
        "Tuner-lstm",
    }


def test_other_content_at_the_same_place_is_another_start(tmp_path):
    weights = tmp_path / "body.weights.h5"
    config = dataclasses.replace(CONFIG, models=("vgg16",), weights=str(weights))
    weights.write_bytes(b"one")
    before = build(config)
    weights.write_bytes(b"other")
    assert changed(before, build(config)) == {"Trainer-vgg16"}


def test_another_model_leaves_the_other_branches_and_their_features_as_they_are():
    one, both = build(), build(dataclasses.replace(CONFIG, models=("cnn", "lstm")))
    assert changed(one, both) == {
        *("Transform-mfcc", "Trainer-lstm", "Evaluator-lstm"),
        "ModelSelector",  # has one more to choose from
    }


def test_statistics_come_from_the_training_split_only():
    (transform,) = (node for node in build().components if node.id == "Transform-log_mel")
    assert '"analyze": [\n    "train"\n  ]' in transform.exec_properties["splits_config"]


def changed(before, after) -> set[str]:
    """Ids of the nodes whose own parameters differ, which is what TFX's cache looks at."""
    parameters = {node.id: node.exec_properties for node in before.components}
    return {node.id for node in after.components if parameters.get(node.id) != node.exec_properties}


@pytest.mark.parametrize(
    ("config", "fingerprint", "redone"),
    [
        (CONFIG, "f", set()),
        (CONFIG, "other", {"GtzanExampleGen"}),
        # Trainer is told the settings too; it follows Transform anyway.
        (
            dataclasses.replace(CONFIG, audio=AudioSettings(mel_bins=64)),
            "f",
            {"Transform-log_mel", "Trainer-cnn"},
        ),
        (dataclasses.replace(CONFIG, epochs=1), "f", {"Trainer-cnn"}),
        (
            dataclasses.replace(CONFIG, gate=dataclasses.replace(CONFIG.gate, min_accuracy=0.9)),
            "f",
            {"Evaluator-cnn"},
        ),
        (dataclasses.replace(CONFIG, seed=1), "f", {"GtzanExampleGen", "Trainer-cnn"}),
    ],
)
def test_a_change_reaches_only_the_nodes_that_it_is_about(config, fingerprint, redone):
    assert changed(build(), build(config, fingerprint)) == redone


def test_changed_feature_code_reaches_transform_and_nothing_before(monkeypatch):
    before = build()
    from pipeline import fingerprint

    monkeypatch.setattr(fingerprint, "feature_fingerprint", lambda: "new")
    assert changed(before, build()) == {"Transform-log_mel"}
