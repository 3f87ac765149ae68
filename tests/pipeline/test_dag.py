"""The DAG: its nodes, its edges, and what each change would redo."""

import dataclasses
import json

import pytest
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec

from components.audio.settings import AudioSettings
from components.common import runtime
from pipeline.config import DataConfig, PipelineConfig
from pipeline.pipeline import create_pipeline

CONFIG = PipelineConfig(data=DataConfig("music"), output="out", models=("cnn",))


TRANSFORMS = {"Transform-log-mel", "Transform-descriptors"}
SOUNDS = {"TrainingCopies", "DeformedExamples"}  # nodes that write other versions of the tracks


def build(config: PipelineConfig = CONFIG, fingerprint: str = "f", run_id: str = "run"):
    return create_pipeline(config, data_fingerprint=fingerprint, run_id=run_id)


def edges(dag) -> set[tuple[str, str]]:
    return {(up.id, node.id) for node in dag.components for up in node.upstream_nodes}


def test_nodes_stand_in_the_order_of_the_data():
    assert [node.id for node in build().components] == [
        *("GtzanExampleGen", "SchemaImport", "StatisticsGen", "StrictExampleValidator"),
        *("DeformedExamples", "TrainingCopies"),
        *("Transform-descriptors", "Transform-log-mel", "Baseline"),
        *("Trainer-cnn", "Evaluator-cnn", "Predictions-cnn", "ServingCheck-cnn"),
        *("Gate", "ModelSelector", "ReleaseReport", "Pusher", "RunRecorder"),
    ]


def test_edges_are_those_of_the_design():
    found = edges(build())
    assert {edge for edge in found if edge[1] not in ("Gate", "ReleaseReport", "RunRecorder")} == {
        ("GtzanExampleGen", "StatisticsGen"),
        ("StatisticsGen", "StrictExampleValidator"),
        ("SchemaImport", "StrictExampleValidator"),
        *(
            (up, down)
            for up in ("TrainingCopies", "SchemaImport", "StrictExampleValidator")
            for down in ("Transform-log-mel", "Transform-descriptors")
        ),
        ("GtzanExampleGen", "TrainingCopies"),
        ("StrictExampleValidator", "TrainingCopies"),
        ("GtzanExampleGen", "DeformedExamples"),
        ("StrictExampleValidator", "DeformedExamples"),
        ("Transform-descriptors", "Baseline"),
        ("Transform-log-mel", "Trainer-cnn"),
        ("GtzanExampleGen", "Evaluator-cnn"),
        ("Trainer-cnn", "Evaluator-cnn"),
        *((up, "Predictions-cnn") for up in ("GtzanExampleGen", "DeformedExamples", "Trainer-cnn")),
        *((up, "ServingCheck-cnn") for up in ("GtzanExampleGen", "Predictions-cnn", "Trainer-cnn")),
        ("Trainer-cnn", "ModelSelector"),
        ("Gate", "ModelSelector"),
        ("ModelSelector", "Pusher"),
        ("GtzanExampleGen", "Pusher"),
        ("ReleaseReport", "Pusher"),
        ("StatisticsGen", "Pusher"),
    }


def test_a_release_says_what_its_networks_were_pretrained_on():
    config = dataclasses.replace(CONFIG, models=("cnn", "musicnn", "vgg16", "ensemble"))
    (pusher,) = (node for node in build(config).components if node.id == "Pusher")
    rows = json.loads(pusher.exec_properties["release"])["pretraining"]
    assert rows["cnn"] == [] and rows["musicnn"][0]["licence"] == "ISC"
    assert rows["ensemble"] == rows["musicnn"] + rows["vgg16"]
    assert [row["may_hold_test_tracks"] for row in rows["ensemble"]] == [True, False]


def test_without_copies_features_are_computed_of_the_tracks_themselves():
    found = edges(build(dataclasses.replace(CONFIG, copies=0)))
    assert ("GtzanExampleGen", "Transform-log-mel") in found
    assert not any("TrainingCopies" in edge for edge in found)


def test_the_gate_sees_everything_that_is_known_of_a_model_and_blesses_it():
    found = edges(build())
    assert {up for up, down in found if down == "Gate"} == {
        "GtzanExampleGen",
        "Baseline",
        *(f"{node}-cnn" for node in ("Trainer", "Evaluator", "Predictions", "ServingCheck")),
    }
    (selector,) = (node for node in build().components if node.id == "ModelSelector")
    assert selector.inputs["blessing_cnn"].producer_component_id == "Gate"
    assert {up for up, down in found if down == "ReleaseReport"} >= {"Gate", "ModelSelector"}
    assert {up for up, down in found if down == "RunRecorder"} >= {"Gate", "Pusher"}


def test_infra_validator_is_a_node_a_model_and_evidence_where_it_is_chosen():
    config = dataclasses.replace(CONFIG, models=("cnn", "lstm"), infra_validator="docker")
    assert edges(build(config)) - edges(build(dataclasses.replace(config, infra_validator=""))) == {
        edge
        for model in ("cnn", "lstm")
        for edge in (
            (f"Trainer-{model}", f"InfraValidator-{model}"),
            ("GtzanExampleGen", f"InfraValidator-{model}"),
            (f"InfraValidator-{model}", "Gate"),
        )
    }


def test_each_model_and_each_seed_is_a_branch_and_the_ensemble_takes_the_others():
    dag = build(dataclasses.replace(CONFIG, models=("cnn", "cnn-2", "lstm", "ensemble")))
    found = edges(dag)
    assert {up for up, down in found if down == "Trainer-ensemble"} == {
        *("Transform-log-mel", "Transform-mfcc", "Trainer-cnn", "Trainer-cnn-2", "Trainer-lstm")
    }
    for model in ("cnn", "cnn-2", "lstm", "ensemble"):
        assert {(f"Trainer-{model}", f"Evaluator-{model}"), (f"Evaluator-{model}", "Gate")} < found
    first, second = (
        json.loads(node.exec_properties["custom_config"])
        for node in dag.components
        if node.id in ("Trainer-cnn", "Trainer-cnn-2")
    )
    assert (second["model"], second["branch"]) == ("cnn", "cnn-2")
    assert second["training"] == {**first["training"], "seed": first["training"]["seed"] + 1}
    assert second["code"] == first["code"]


def test_a_search_feeds_its_trainer_and_nothing_else_changes():
    models = ("cnn", "lstm", "ensemble")
    config = dataclasses.replace(CONFIG, models=models)
    searched = dataclasses.replace(config, trials=3)
    plain, found = edges(build(config)), edges(build(searched))
    assert plain < found
    assert found - plain == {
        edge
        for model, feature in (("cnn", "log-mel"), ("lstm", "mfcc"))
        for edge in (
            (f"Transform-{feature}", f"Tuner-{model}"),
            (f"Tuner-{model}", f"Trainer-{model}"),
            (f"Tuner-{model}", "RunRecorder"),
        )
    }
    more = dataclasses.replace(searched, trials=4)
    assert changed(build(searched), build(more)) == {"Tuner-cnn", "Tuner-lstm"}


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
        *("Predictions-lstm", "ServingCheck-lstm"),
        *("Gate", "ModelSelector", "Pusher"),  # have one more to judge, or to push
    }


def test_statistics_come_from_the_training_split_only():
    (transform,) = (node for node in build().components if node.id == "Transform-log-mel")
    assert '"analyze": [\n    "train"\n  ]' in transform.exec_properties["splits_config"]


def changed(before, after) -> set[str]:
    """Ids of the nodes whose own parameters differ, which is what TFX's cache looks at.

    RunRecorder and ReleaseReport, which hold the run's whole configuration and follow what is never
    cached, are left out.
    """
    parameters = {node.id: node.exec_properties for node in before.components}
    return {
        node.id for node in after.components if parameters.get(node.id) != node.exec_properties
    } - {"RunRecorder", "ReleaseReport"}


@pytest.mark.parametrize(
    ("config", "fingerprint", "redone"),
    [
        (CONFIG, "f", set()),
        (CONFIG, "other", {"GtzanExampleGen"}),
        # Trainer is told the settings too; it follows Transform anyway.
        (
            dataclasses.replace(CONFIG, audio=AudioSettings(mel_bins=64)),
            "f",
            {*TRANSFORMS, "Trainer-cnn"},
        ),
        (
            dataclasses.replace(CONFIG, audio=AudioSettings(clips_per_track=2)),
            "f",
            {"GtzanExampleGen", *SOUNDS, *TRANSFORMS, "Trainer-cnn"},
        ),
        (dataclasses.replace(CONFIG, copies=1), "f", {"TrainingCopies", "Gate", "Pusher"}),
        (dataclasses.replace(CONFIG, release="not-worse"), "f", {"Pusher"}),
        (dataclasses.replace(CONFIG, epochs=1), "f", {"Trainer-cnn"}),
        (
            dataclasses.replace(CONFIG, gate=dataclasses.replace(CONFIG.gate, min_accuracy=0.9)),
            "f",
            {"Gate"},
        ),
        # The budget is one of the served model's checks, too.
        (
            dataclasses.replace(CONFIG, gate=dataclasses.replace(CONFIG.gate, max_memory_mib=99)),
            "f",
            {"ServingCheck-cnn", "Gate"},
        ),
        (dataclasses.replace(CONFIG, replace_incompatible=True), "f", {"Gate"}),
        # The shortest track is one window, in ingest and in the schema alike.
        (
            dataclasses.replace(CONFIG, audio=AudioSettings(window_seconds=4.0)),
            "f",
            {"GtzanExampleGen", "SchemaImport", *SOUNDS, *TRANSFORMS, "Trainer-cnn"},
        ),
        # A release says both seeds.
        (dataclasses.replace(CONFIG, seed=1), "f", {"Trainer-cnn", "Gate", "Pusher"}),
        (
            dataclasses.replace(CONFIG, data=DataConfig("music", split_seed=1)),
            "f",
            {"GtzanExampleGen", "Gate", "Pusher"},
        ),
        (
            dataclasses.replace(CONFIG, data=DataConfig("music", duplicates="drop")),
            "f",
            {"GtzanExampleGen"},
        ),
    ],
)
def test_a_change_reaches_only_the_nodes_that_it_is_about(config, fingerprint, redone):
    assert changed(build(), build(config, fingerprint)) == redone


def test_gate_pusher_and_recorder_alone_have_the_run_s_id():
    one, another = ({node.id: node for node in build(run_id=name).components} for name in "ab")
    always = {name for name in one if one[name].exec_properties != another[name].exec_properties}
    assert always == {"Gate", "Pusher", "RunRecorder"}


def test_every_executor_prepares_its_process_before_anything_else(monkeypatch):
    """Sentinels for arguments: whatever else an executor did with them would fail otherwise."""

    class PreparedError(Exception):
        pass

    def prepare(*arguments):
        assert arguments == ({}, {}, {"custom_config": '{"model": "cnn"}'})
        raise PreparedError

    monkeypatch.setattr(runtime, "prepare", prepare)
    models = ("cnn", "lstm", "ensemble")
    for node in build(dataclasses.replace(CONFIG, models=models, trials=2)).components:
        executor = node.executor_spec.executor_class()
        with pytest.raises(PreparedError):
            executor.Do({}, {}, {"custom_config": '{"model": "cnn"}'})


def test_beam_nodes_take_the_arguments_of_beam():
    beam = {
        node.id.partition("-")[0]
        for node in build().components
        if isinstance(node.executor_spec, BeamExecutorSpec)
    }
    assert beam == {*("GtzanExampleGen", "StatisticsGen", *SOUNDS, "Transform", "Evaluator")}
