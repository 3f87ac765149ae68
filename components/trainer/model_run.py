"""What Trainer keeps beside the SavedModel: the bare network and how its training went."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import keras
from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components.audio.features import Feature, feature
from components.audio.settings import AudioSettings
from components.trainer.export import Branch
from components.trainer.models import build
from components.trainer.settings import NO_WEIGHTS, TrainingSettings, from_dict
from components.trainer.training import TrainingResult

DESCRIPTION_FILE = "network.json"
WEIGHTS_FILE = "network.weights.h5"
HISTORY_FILE = "history.json"


def save(
    folder: str,
    result: TrainingResult,
    *,
    model_name: str,
    settings: TrainingSettings,
    described: Feature,
    genre_count: int,
) -> None:
    """Writes the network's weights, what rebuilds it, and the metrics of every epoch.

    Args:
      folder: The `model_run` artifact's place.
      result: The finished training.
      model_name: Name in the catalog.
      settings: What it was trained with.
      described: The feature that it reads.
      genre_count: Number of its outputs.
    """
    fileio.makedirs(folder)
    # h5py needs a local file; the artifact may live in an object store.
    with tempfile.TemporaryDirectory() as scratch:
        local = Path(scratch) / WEIGHTS_FILE
        result.model.save_weights(local)
        fileio.copy(str(local), f"{folder}/{WEIGHTS_FILE}", overwrite=True)
    description = {
        "model": model_name,
        "training": dataclasses.asdict(settings),
        "feature": described.name,
        "genre_count": genre_count,
    }
    io_utils.write_string_file(f"{folder}/{DESCRIPTION_FILE}", json.dumps(description, indent=2))
    history = {
        "best_epoch": result.best_epoch,
        "seconds": result.seconds,
        "epochs": {name: list(map(float, values)) for name, values in result.history.items()},
    }
    io_utils.write_string_file(f"{folder}/{HISTORY_FILE}", json.dumps(history, indent=2))


def training_settings(folder: str) -> TrainingSettings:
    """What the network that `save` wrote was trained with."""
    return from_dict(_description(folder)["training"])


def load_branch(folder: str, settings: AudioSettings) -> Branch:
    """Rebuilds the network that `save` wrote, with its weights."""
    description = _description(folder)
    described = feature(description["feature"], settings)
    # Its own weights follow, so that what it once started from is not needed again.
    model_settings = dataclasses.replace(
        from_dict(description["training"]).model, weights=NO_WEIGHTS
    )
    network: keras.Model = build(
        description["model"],
        feature=described,
        genre_count=description["genre_count"],
        settings=model_settings,
    )
    with tempfile.TemporaryDirectory() as scratch:
        local = Path(scratch) / WEIGHTS_FILE
        fileio.copy(f"{folder}/{WEIGHTS_FILE}", str(local), overwrite=True)
        network.load_weights(local)
    return Branch(network, described)


def _description(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(io_utils.read_string_file(f"{folder}/{DESCRIPTION_FILE}"))
    return found
