"""The module that TFX's Tuner runs: a search over a model's training settings with KerasTuner.

The first trial has the settings that would be used without a search, so that the winner is never
worse than they are on the validation split.
"""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import tensorflow_transform as tft
from keras_tuner.engine.trial import Trial, TrialStatus
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from components.audio.settings import AudioSettings
from components.common import progress
from components.trainer.data.tracks import Tracks, read_tracks
from components.trainer.models import entry
from components.trainer.settings import (
    AUGMENTATION,
    LARGEST_SEED,
    NO_WEIGHTS,
    AugmentationSettings,
    TrainingSettings,
    scaled,
    tuned,
)
from components.trainer.training.body_outputs import with_body_outputs
from components.trainer.training.live_metrics import LiveMetrics, child_run
from components.trainer.training.loop import train

OBJECTIVE = "val_track_accuracy"

_STRENGTH_STEP = 0.25
_STRENGTHS = (1.0, 1.25, 1.5, 1.75, 2.0)  # upper ends of the range for scaling augmentation


def search_space(settings: TrainingSettings) -> keras_tuner.HyperParameters:
    """The search space around `settings`, which are the default of every hyperparameter.

    For a network trained from scratch: learning rate, width, dropout and strength of the
    augmentation. For a head on a frozen body: learning rate, dropout and penalty; if the body is
    fine-tuned, its learning rate and the augmentation as well. A strength of 0 stays 0, and none
    exceeds the limit of its setting.
    """
    space = keras_tuner.HyperParameters()

    def around(name: str, value: float, factor: float) -> None:
        space.Float(name, value / factor, value * factor, sampling="log", default=value)

    model = settings.model
    space.Choice("dropout", sorted({0.0, 0.15, 0.3, 0.5, model.dropout}), default=model.dropout)
    if model.weights == NO_WEIGHTS:
        around("learning_rate", settings.learning_rate, 4.0)
        widths = sorted({0.5 * model.width, model.width, 1.5 * model.width})
        space.Choice("width", widths, default=model.width)
    else:
        around("head_learning_rate", settings.head_learning_rate, 4.0)
        if model.head_l2:
            around("head_l2", model.head_l2, 8.0)
        if model.fine_tune:
            around("fine_tune_learning_rate", settings.fine_tune_learning_rate, 4.0)
    augmentation = settings.augmentation
    if not model.frozen and augmentation != scaled(augmentation, 0.0):
        space.Float(AUGMENTATION, 0.0, _strongest(augmentation), step=_STRENGTH_STEP, default=1.0)
    return space


def _strongest(augmentation: AugmentationSettings) -> float:
    """The largest of `_STRENGTHS` with which every setting is within its limit."""
    for strength in reversed(_STRENGTHS):
        with contextlib.suppress(ValueError):
            scaled(augmentation, strength)
            return strength
    return 1.0


class RecommendedFirst(keras_tuner.oracles.BayesianOptimizationOracle):
    """Bayesian optimisation whose first trial is the default of every hyperparameter."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The values of the next trial; KerasTuner calls this."""
        if self.trials:
            return super().populate_space(trial_id)
        defaults = {parameter.name: parameter.default for parameter in self.hyperparameters.space}
        return {"status": TrialStatus.RUNNING, "values": defaults}


class SettingsTuner(keras_tuner.Tuner):
    """Trains a model in each trial, as the Trainer would, and records its validation score."""

    def __init__(
        self,
        model_name: str,
        settings: TrainingSettings,
        *,
        genres: Sequence[str],
        trials: int,
        directory: str,
        branch: str = "",
    ) -> None:
        """Sets up a search.

        Args:
          model_name: Its name in the catalog.
          settings: The settings around which to search.
          genres: Names in label order.
          trials: Number of trials.
          directory: Folder for KerasTuner's state.
          branch: The branch of the run, for the names of its trials; the model's name by default.
        """
        self._model_name = model_name
        self._branch = branch or model_name
        self._settings = settings
        self._genres = tuple(genres)
        self._trials = trials
        self._done = 0
        oracle = RecommendedFirst(
            objective=keras_tuner.Objective(OBJECTIVE, "max"),
            max_trials=trials,
            num_initial_points=max(2, trials // 3),
            hyperparameters=search_space(settings),
            allow_new_entries=False,
            tune_new_entries=False,
            seed=settings.seed or LARGEST_SEED,  # KerasTuner takes 0 for no seed
        )
        super().__init__(oracle=oracle, directory=directory, project_name=model_name)

    def search(self, *, training: Tracks, validation: Tracks) -> None:
        """Runs all trials; outputs of a frozen body are computed once and shared."""
        with tempfile.TemporaryDirectory(prefix="gatefold-outputs-") as folder:
            training, validation = with_body_outputs(
                self._model_name,
                (training, validation),
                settings=self._settings,
                genres=self._genres,
                folder=Path(folder),
            )
            super().search(training=training, validation=validation)

    def run_trial(self, trial: Trial, *, training: Tracks, validation: Tracks) -> dict[str, float]:
        """Trains with the trial's settings; returns the validation figures of the best epoch."""
        values = dict(trial.hyperparameters.values)
        with child_run(f"{self._branch}-trial-{self._done + 1}", values) as run:
            result = train(
                self._model_name,
                training,
                validation,
                settings=tuned(self._settings, values),
                genres=self._genres,
                callbacks=[LiveMetrics(run)],
            )
            figures = {
                name: by_epoch[result.best_epoch]
                for name, by_epoch in result.history.items()
                if name.startswith("val_")
            }
            run.log({f"best_{name}": value for name, value in figures.items()})
        keras.backend.clear_session()
        self._done += 1
        activity = f"trials, last one's validation {figures[OBJECTIVE]:.2f}"
        progress.report(activity, self._done, self._trials)
        return figures


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Sets up the search for one model.

    Args:
      fn_args: TFX's arguments. `custom_config` holds `model`, `branch`, `audio`, `training`,
        `genres` and `trials`.
    """
    config = fn_args.custom_config
    feature = entry(config["model"]).feature_entry.describe(AudioSettings(**config["audio"]))
    transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
    tuner = SettingsTuner(
        config["model"],
        TrainingSettings(**config["training"]),
        genres=config["genres"],
        trials=config["trials"],
        directory=tempfile.mkdtemp(prefix="tuner-"),
        branch=config.get("branch", ""),
    )
    return TunerFnResult(
        tuner=tuner,
        fit_kwargs={
            "training": read_tracks(fn_args.train_files, transform_output, feature),
            "validation": read_tracks(fn_args.eval_files, transform_output, feature),
        },
    )
