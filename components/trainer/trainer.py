"""The module that TFX's Trainer runs: reads the data, trains one model and exports it."""

import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components.audio import features
from components.audio.settings import AudioSettings
from components.trainer.data.records import read_tracks
from components.trainer.models import entry
from components.trainer.release import model_run
from components.trainer.release.export import write_release
from components.trainer.release.genre_graph import Branch
from components.trainer.settings import from_dict
from components.trainer.training import devices
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
    audio = AudioSettings(**config["audio"])
    genres = tuple(config["genres"])
    settings = from_dict(config["training"])
    if fn_args.hyperparameters:
        from components.trainer.training.tuner import tuned

        settings = tuned(settings, fn_args.hyperparameters)
    # Several processes connect before anything else of TensorFlow.
    strategy = devices.strategy(settings.distribution)
    feature = features.feature(entry(model_name).feature, audio)
    transform_output = tft.TFTransformOutput(fn_args.transform_output)

    validation = read_tracks(fn_args.eval_files, transform_output, feature)
    result = train(
        model_name,
        read_tracks(fn_args.train_files, transform_output, feature),
        validation,
        settings=settings,
        feature=feature,
        genres=genres,
        callbacks=[EpochProgress(settings.most_epochs), LiveMetrics()],
        strategy=strategy,
    )
    temperature = model_run.save(
        fn_args.model_run_dir,
        result,
        model_name=model_name,
        settings=settings,
        feature=feature,
        genre_count=len(genres),
        validated_on=validation,
    )
    write_release(
        fn_args.serving_model_dir,
        [Branch(result.model, feature)],
        settings=audio,
        genres=genres,
        transforms={feature.name: transform_output},
        serving_name=config["serving_name"],
        temperature=temperature,
    )
