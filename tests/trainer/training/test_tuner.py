"""The search over training settings, with KerasTuner's own oracle and a real MLflow store."""

import dataclasses

import mlflow
import pytest

from components.audio.features import feature
from components.audio.settings import AudioSettings
from components.gtzan.genres import GENRES
from components.trainer.catalog import recommended
from components.trainer.data import windows
from components.trainer.settings import AugmentationSettings, ModelSettings, tuned
from components.trainer.training import loop
from components.trainer.training.tuner import OBJECTIVE, SettingsTuner, search_space
from tests.trainer.conftest import coloured, described, save_body, tiny

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
    tuner = SettingsTuner("ann", settings, genres=GENRES, trials=TRIALS, directory=str(directory))
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
    best_settings = tuned(settings, winner.values)
    assert best_settings.learning_rate == winner.values["learning_rate"]
    assert best_settings.model.width == winner.values["width"]
    assert best_settings.epochs == settings.epochs


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
    assert tuned(settings, space.values) == settings


def test_the_strength_of_augmentation_scales_all_but_the_number_of_masks():
    settings = recommended("cnn")
    doubled = tuned(settings, {"augmentation": 2.0}).augmentation
    assert doubled.noise == 2.0 * settings.augmentation.noise
    assert doubled.frequency_masks == settings.augmentation.frequency_masks
    none = tuned(settings, {"augmentation": 0.0}).augmentation
    counts = {"frequency_masks": none.frequency_masks, "time_masks": none.time_masks}
    assert none == dataclasses.replace(AugmentationSettings(), **counts)


def test_what_is_switched_off_is_not_searched():
    settings = recommended("musicnn")
    model = dataclasses.replace(settings.model, head_l2=0.0)
    space = search_space(dataclasses.replace(settings, model=model))
    assert set(space.values) == {"head_learning_rate", "dropout"}
    off = AugmentationSettings(frequency_masks=3)
    space = search_space(dataclasses.replace(recommended("cnn"), augmentation=off))
    assert "augmentation" not in space.values


@pytest.mark.parametrize(
    ("augmentation", "strongest"),
    [
        (AugmentationSettings(noise=3.0), 2.0),
        (AugmentationSettings(time_stretch=0.45), 2.0),
        (AugmentationSettings(time_stretch=0.6), 1.5),
        (AugmentationSettings(time_stretch=0.9), 1.0),
        (AugmentationSettings(frequency_mask=0.55), 1.75),
        (AugmentationSettings(time_mask=0.8, time_stretch=0.6), 1.25),
    ],
)
def test_no_strength_leaves_what_its_setting_may_be(augmentation, strongest):
    settings = dataclasses.replace(recommended("cnn"), augmentation=augmentation)
    (searched_for,) = (
        parameter for parameter in search_space(settings).space if parameter.name == "augmentation"
    )
    assert searched_for.max_value == strongest
    tuned(settings, {"augmentation": strongest})


@pytest.mark.parametrize("seed", [0, 5])
def test_the_same_seed_searches_the_same_even_if_it_is_zero(seed, tmp_path):
    settings = tiny("ann", seed=seed)
    seeds = {
        SettingsTuner(
            "ann", settings, genres=GENRES, trials=2, directory=str(tmp_path / name)
        ).oracle.seed
        for name in "ab"
    }
    assert len(seeds) == 1 and None not in seeds


def test_a_frozen_body_is_asked_once_for_all_trials(tmp_path, monkeypatch):
    """In a search without an MLflow run, too."""
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    name = "musicnn"
    reads = feature("music_mel", AudioSettings(clip_seconds=6))
    settings = tiny(
        name,
        head_epochs=2,
        model=ModelSettings(weights=save_body(name, tmp_path, reads), fine_tune=False),
    )
    splits = coloured(reads, 8), coloured(reads, 4, seed=1)

    asked = []

    def counted(tracks):
        asked.append(tracks.count)
        return evaluation_windows(tracks)

    evaluation_windows = windows.evaluation_windows
    monkeypatch.setattr(windows, "evaluation_windows", counted)
    tuner = SettingsTuner(
        name, settings, genres=GENRES, trials=2, directory=str(tmp_path / "search")
    )
    tuner.search(training=splits[0], validation=splits[1])
    assert len(tuner.oracle.trials) == 2
    assert asked == [8, 4]

    # And each trial is what training it by itself would have given.
    by_itself = loop.train(name, *splits, settings=settings, genres=GENRES)
    assert len(asked) == 4
    first = tuner.oracle.trials[tuner.oracle.start_order[0]].metrics
    for figure in ("val_track_accuracy", "val_track_loss"):
        (observed,) = first.get_history(figure)
        assert observed.value == [pytest.approx(by_itself.history[figure][by_itself.best_epoch])]


def test_an_unknown_hyperparameter_is_named():
    with pytest.raises(ValueError, match="momentum"):
        tuned(recommended("cnn"), {"momentum": 0.9})
