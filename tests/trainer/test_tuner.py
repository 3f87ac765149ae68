"""The search over training settings, with KerasTuner's own oracle and a real MLflow store."""

import dataclasses

import mlflow
import pytest

from components.trainer.settings import AugmentationSettings, recommended
from components.trainer.tuner import OBJECTIVE, SettingsTuner, apply, search_space, tuned
from tests.trainer.conftest import coloured, described, tiny

TRIALS = 3


@pytest.fixture
def parent_run(tmp_path, monkeypatch) -> tuple[mlflow.MlflowClient, str, str]:
    """A run in a store of its own that the environment names, as the local runner does."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("search")
    run_id = client.create_run(experiment, run_name="ann").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    yield client, experiment, run_id
    mlflow.set_tracking_uri(None)


def searched(settings, directory) -> SettingsTuner:
    reads = described("ann")
    tuner = SettingsTuner("ann", settings, reads, trials=TRIALS, directory=str(directory))
    tuner.search(training=coloured(reads, 8), validation=coloured(reads, 8, seed=1))
    return tuner


def test_trials_are_child_runs_and_the_best_one_becomes_the_trainers_settings(parent_run, tmp_path):
    client, experiment, run_id = parent_run
    settings = tiny("ann", epochs=2)
    tuner = searched(settings, tmp_path / "search")
    children = client.search_runs(
        [experiment], f"tags.`mlflow.parentRunId` = '{run_id}'", order_by=["attributes.start_time"]
    )
    assert [run.info.run_name for run in children] == [
        f"ann-trial-{number}" for number in range(1, TRIALS + 1)
    ]
    assert {run.info.status for run in children} == {"FINISHED"}
    # The first trial is what would have been trained without a search.
    assert float(children[0].data.params["learning_rate"]) == settings.learning_rate
    scores = [run.data.metrics[f"best_{OBJECTIVE}"] for run in children]
    best = max(scores)
    winner = tuner.get_best_hyperparameters()[0]
    assert tuner.oracle.get_best_trials(1)[0].score == best
    curve = client.get_metric_history(children[0].info.run_id, "loss")
    assert [point.step for point in curve] == [1, 2]
    found = tuned(settings, winner.get_config())
    assert found.learning_rate == winner.values["learning_rate"]
    assert found.model.width == winner.values["width"]
    assert found.epochs == settings.epochs


def test_without_an_mlflow_run_a_search_tells_nobody(monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    tuner = searched(tiny("ann"), tmp_path)
    assert len(tuner.oracle.trials) == TRIALS


@pytest.mark.parametrize(
    ("name", "searched_for"),
    [
        ("cnn", {"learning_rate", "width", "dropout", "augmentation"}),
        ("musicnn", {"head_learning_rate", "head_l2", "dropout"}),
        (
            "vgg16",
            {
                *("head_learning_rate", "head_l2", "dropout"),
                *("fine_tune_learning_rate", "augmentation"),
            },
        ),
    ],
)
def test_what_is_searched_depends_on_how_a_model_is_trained(name, searched_for):
    settings = recommended(name)
    space = search_space(settings)
    assert set(space.values) == searched_for
    assert apply(settings, space.values) == settings


def test_the_strength_of_augmentation_scales_all_but_the_number_of_masks():
    settings = recommended("cnn")
    doubled = apply(settings, {"augmentation": 2.0}).augmentation
    assert doubled.noise == 2.0 * settings.augmentation.noise
    assert doubled.frequency_masks == settings.augmentation.frequency_masks
    none = apply(settings, {"augmentation": 0.0}).augmentation
    counts = {"frequency_masks": none.frequency_masks, "time_masks": none.time_masks}
    assert none == dataclasses.replace(AugmentationSettings(), **counts)


def test_an_unknown_hyperparameter_is_named():
    with pytest.raises(ValueError, match="Received: 'momentum'"):
        apply(recommended("cnn"), {"momentum": 0.9})
