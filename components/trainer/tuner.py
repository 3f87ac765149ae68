"""What TFX's Tuner runs for every model: a search over its training settings with KerasTuner.

The first trial has the settings that the run would have had without a search, so that what wins is
never worse on the validation split than they are.
"""

import dataclasses
import tempfile
from collections.abc import Mapping
from typing import Any

import keras
import keras_tuner
import tensorflow_transform as tft
from keras_tuner.engine.trial import Trial, TrialStatus
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from components import progress
from components.audio.features import Feature, feature
from components.audio.settings import AudioSettings
from components.gtzan.genres import GENRES
from components.trainer.catalog import CATALOG
from components.trainer.examples import read_tracks
from components.trainer.live_metrics import LiveMetrics, child_run
from components.trainer.settings import (
    LARGEST_SEED,
    NO_WEIGHTS,
    AugmentationSettings,
    TrainingSettings,
    from_dict,
)
from components.trainer.training import train, with_body_outputs
from components.trainer.windows import Tracks

OBJECTIVE = "val_track_accuracy"

# Hyperparameters have the names of settings, but for this one, which scales all strengths at once.
_AUGMENTATION = "augmentation"
_RATES = ("learning_rate", "head_learning_rate", "fine_tune_learning_rate")
_OF_MODEL = ("width", "dropout", "head_l2")
_COUNTS = ("frequency_masks", "time_masks")

_STRENGTH_STEP = 0.25
_STRENGTHS = (1.0, 1.25, 1.5, 1.75, 2.0)  # the most that augmentation may be multiplied by


def search_space(settings: TrainingSettings) -> keras_tuner.HyperParameters:
    """What is searched around `settings`, which are the default of every hyperparameter.

    A network trained from scratch varies in learning rate, width, dropout and strength of the
    augmentation; a head over a frozen body in learning rate, dropout and penalty; a body that is
    fine-tuned also in its rate and the augmentation. A strength of 0 stays 0, and none becomes
    larger than its setting may be.
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
    if not model.frozen and augmentation != _scaled(augmentation, 0.0):
        strongest = max(value for value in _STRENGTHS if _may_be_scaled(augmentation, value))
        space.Float(_AUGMENTATION, 0.0, strongest, step=_STRENGTH_STEP, default=1.0)
    return space


def apply(settings: TrainingSettings, values: Mapping[str, Any]) -> TrainingSettings:
    """The settings with a trial's values.

    Args:
      settings: What `search_space` was made of.
      values: By name of the hyperparameter.

    Raises:
      ValueError: There is no hyperparameter of such a name.
    """
    for name, value in values.items():
        if name == _AUGMENTATION:
            settings = dataclasses.replace(
                settings, augmentation=_scaled(settings.augmentation, float(value))
            )
        elif name in _RATES:
            settings = dataclasses.replace(settings, **{name: value})
        elif name in _OF_MODEL:
            model = dataclasses.replace(settings.model, **{name: value})
            settings = dataclasses.replace(settings, model=model)
        else:
            known = (*_RATES, *_OF_MODEL, _AUGMENTATION)
            raise ValueError(f"unknown hyperparameter: expected one of {known}. Received: {name!r}")
    return settings


def tuned(settings: TrainingSettings, hyperparameters: Mapping[str, Any]) -> TrainingSettings:
    """The settings with what a search found best, as TFX hands it to the Trainer."""
    found = keras_tuner.HyperParameters.from_config(dict(hyperparameters))
    return apply(settings, found.values)


def _scaled(augmentation: AugmentationSettings, strength: float) -> AugmentationSettings:
    values = dataclasses.asdict(augmentation)
    return AugmentationSettings(
        **{name: value if name in _COUNTS else strength * value for name, value in values.items()}
    )


def _may_be_scaled(augmentation: AugmentationSettings, strength: float) -> bool:
    try:
        _scaled(augmentation, strength)
    except ValueError:
        return False
    return True


class RecommendedFirst(keras_tuner.oracles.BayesianOptimizationOracle):
    """Bayesian optimisation whose first trial is the default of every hyperparameter."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The values of a trial, as KerasTuner asks for them."""
        if self.trials:
            return super().populate_space(trial_id)
        defaults = {parameter.name: parameter.default for parameter in self.hyperparameters.space}
        return {"status": TrialStatus.RUNNING, "values": defaults}


class SettingsTuner(keras_tuner.Tuner):
    """Trains a model once for every trial, as the Trainer would, and keeps its validation score."""

    def __init__(
        self,
        model_name: str,
        settings: TrainingSettings,
        described: Feature,
        *,
        trials: int,
        directory: str,
    ) -> None:
        """Sets up a search.

        Args:
          model_name: In the catalog.
          settings: Where the search starts.
          described: The feature that the model reads.
          trials: How many settings are tried.
          directory: Where KerasTuner keeps its state.
        """
        self._model_name = model_name
        self._settings = settings
        self._described = described
        self._trials = trials
        self._done = 0
        oracle = RecommendedFirst(
            objective=keras_tuner.Objective(OBJECTIVE, "max"),
            max_trials=trials,
            num_initial_points=max(2, trials // 3),
            hyperparameters=search_space(settings),
            allow_new_entries=False,
            tune_new_entries=False,
            seed=settings.seed or LARGEST_SEED,  # KerasTuner takes 0 for none and draws one
        )
        super().__init__(oracle=oracle, directory=directory, project_name=model_name)

    def search(self, *, training: Tracks, validation: Tracks) -> None:
        """Tries all settings; what a frozen body makes of the tracks is computed once for all."""
        training, validation = with_body_outputs(
            self._model_name,
            (training, validation),
            settings=self._settings,
            feature=self._described,
            genres=GENRES,
        )
        super().search(training=training, validation=validation)

    def run_trial(self, trial: Trial, *, training: Tracks, validation: Tracks) -> dict[str, float]:
        """Trains with the trial's settings; gives the best epoch's validation figures."""
        values = dict(trial.hyperparameters.values)
        with child_run(f"{self._model_name}-trial-{self._done + 1}", values) as run:
            result = train(
                self._model_name,
                training,
                validation,
                settings=apply(self._settings, values),
                feature=self._described,
                genres=GENRES,
                callbacks=[LiveMetrics(run.run_id)],
            )
            figures = {
                name: values[result.best_epoch]
                for name, values in result.history.items()
                if name.startswith("val_")
            }
            run.log({f"best_{name}": value for name, value in figures.items()})
        keras.backend.clear_session()
        self._done += 1
        activity = f"trials, last one's validation {figures[OBJECTIVE]:.2f}"
        progress.report(activity, self._done, self._trials)
        return figures


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Sets up the search for one model of the catalog.

    Args:
      fn_args: TFX's. `custom_config` holds `model`, `audio`, `training` and `trials`.
    """
    config = fn_args.custom_config
    described = feature(CATALOG[config["model"]].feature, AudioSettings(**config["audio"]))
    transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
    tuner = SettingsTuner(
        config["model"],
        from_dict(config["training"]),
        described,
        trials=config["trials"],
        directory=tempfile.mkdtemp(prefix="tuner-"),
    )
    return TunerFnResult(
        tuner=tuner,
        fit_kwargs={
            "training": read_tracks(fn_args.train_files, transform_output, described),
            "validation": read_tracks(fn_args.eval_files, transform_output, described),
        },
    )
