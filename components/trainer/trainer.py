"""What TFX's Trainer runs for every model: read, train, keep, export."""

import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components.audio.features import feature
from components.audio.settings import AudioSettings
from components.gtzan.genres import GENRES
from components.trainer import model_run
from components.trainer.catalog import CATALOG
from components.trainer.epoch_progress import EpochProgress
from components.trainer.examples import read_tracks
from components.trainer.export import Branch, write_release
from components.trainer.live_metrics import LiveMetrics
from components.trainer.settings import from_dict
from components.trainer.training import train


def run_fn(fn_args: FnArgs) -> None:
    """Trains one model of the catalog and exports it.

    Args:
      fn_args: TFX's. `custom_config` holds `model`, `audio` and `training` (fields of
        `AudioSettings` and `TrainingSettings`) and `serving_name`. `hyperparameters`, if a search
        came before, win over `training`.
    """
    config = fn_args.custom_config
    model_name = config["model"]
    audio = AudioSettings(**config["audio"])
    settings = from_dict(config["training"])
    if fn_args.hyperparameters:
        from components.trainer.tuner import tuned

        settings = tuned(settings, fn_args.hyperparameters)
    described = feature(CATALOG[model_name].feature, audio)
    transform_output = tft.TFTransformOutput(fn_args.transform_output)

    result = train(
        model_name,
        read_tracks(fn_args.train_files, transform_output, described),
        read_tracks(fn_args.eval_files, transform_output, described),
        settings=settings,
        feature=described,
        genres=GENRES,
        callbacks=[EpochProgress(settings.most_epochs), LiveMetrics()],
    )
    model_run.save(
        fn_args.model_run_dir,
        result,
        model_name=model_name,
        settings=settings,
        described=described,
        genre_count=len(GENRES),
    )
    write_release(
        fn_args.serving_model_dir,
        [Branch(result.model, described)],
        settings=audio,
        transforms={described.name: transform_output},
        serving_name=config["serving_name"],
    )
