"""The module that TFX's Trainer runs: data, model, fit, calibration and export, in that order."""

import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components.audio.settings import AudioSettings
from components.trainer import validation
from components.trainer.data.tracks import read_tracks
from components.trainer.models import entry
from components.trainer.release import model_run
from components.trainer.release.export import write_release
from components.trainer.release.genre_graph import Branch
from components.trainer.settings import TrainingSettings, tuned
from components.trainer.training.epoch_progress import EpochProgress
from components.trainer.training.live_metrics import LiveMetrics
from components.trainer.training.loop import train


def run_fn(fn_args: FnArgs) -> None:
    """Trains one model and exports it.

    Args:
      fn_args: TFX's arguments. `custom_config` holds `model`, `audio` and `training` (fields of
        `AudioSettings` and `TrainingSettings`), `genres` (names in label order) and
        `serving_name`. The hyperparameters of a search, if there was one, override `training`.
    """
    config = fn_args.custom_config
    model_name = config["model"]
    genres = tuple(config["genres"])
    audio = AudioSettings(**config["audio"])
    settings = TrainingSettings(**config["training"])
    if fn_args.hyperparameters:
        settings = tuned(settings, fn_args.hyperparameters["values"])
    feature = entry(model_name).feature_entry.describe(audio)
    transform_output = tft.TFTransformOutput(fn_args.transform_output)
    training_split = read_tracks(fn_args.train_files, transform_output, feature)
    validation_split = read_tracks(fn_args.eval_files, transform_output, feature)
    result = train(
        model_name,
        training_split,
        validation_split,
        settings=settings,
        genres=genres,
        callbacks=[EpochProgress(settings.most_epochs), LiveMetrics()],
    )
    assert result.answers is not None  # as there is a validation split
    answers, fitted = validation.calibrated(result.answers)
    write_release(
        fn_args.serving_model_dir,
        [Branch(result.model, feature)],
        settings=audio,
        genres=genres,
        transforms={feature.name: transform_output},
        serving_name=config["serving_name"],
        temperature=fitted.temperature,
    )
    model_run.save(fn_args.model_run_dir, result, model_name=model_name, settings=settings)
    validation.write(fn_args.model_run_dir, answers, fitted)
