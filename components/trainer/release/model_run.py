"""Keeps a trained network beside its SavedModel, with its history."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import keras
from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components.audio.settings import AudioSettings
from components.common import remarks
from components.trainer.models import build, entry
from components.trainer.release.genre_graph import Branch
from components.trainer.settings import TrainingSettings
from components.trainer.training.loop import TrainingResult

DESCRIPTION_FILE = "network.json"
WEIGHTS_FILE = "network.weights.h5"
HISTORY_FILE = "history.json"
BODY_FOLDER = "body"  # of a model whose body is a SavedModel


def save(
    folder: str, result: TrainingResult, *, model_name: str, settings: TrainingSettings
) -> None:
    """Writes a network's weights and description, its metrics and remarks.

    The network that is kept is not calibrated: an ensemble averages the networks' own
    probabilities.

    Args:
      folder: URI of the `model_run` artifact.
      result: The result of the training.
      model_name: Name in the catalog.
      settings: The settings of the training.
    """
    fileio.makedirs(folder)
    if entry(model_name).needs_saved_model:
        # The network's weights are its head's: the body is needed wherever it is rebuilt.
        io_utils.copy_dir(settings.model.weights, f"{folder}/{BODY_FOLDER}")
    # h5py needs a local file; the artifact may live in an object store.
    with tempfile.TemporaryDirectory() as scratch:
        local = Path(scratch) / WEIGHTS_FILE
        result.model.save_weights(local)
        fileio.copy(str(local), f"{folder}/{WEIGHTS_FILE}", overwrite=True)
    description = {
        "model": model_name,
        "training": dataclasses.asdict(settings),
        "feature": entry(model_name).feature,
        "genre_count": result.model.output_shape[-1],
    }
    io_utils.write_string_file(f"{folder}/{DESCRIPTION_FILE}", json.dumps(description, indent=2))
    history = {
        "best_epoch": result.best_epoch,
        "seconds": result.seconds,
        "epochs": {name: list(map(float, values)) for name, values in result.history.items()},
    }
    io_utils.write_string_file(f"{folder}/{HISTORY_FILE}", json.dumps(history, indent=2))
    remarks.write(folder, result.remarks)


def load_branch(folder: str, settings: AudioSettings) -> Branch:
    """Rebuilds a network that `save` wrote, with its weights."""
    text = io_utils.read_string_file(f"{folder}/{DESCRIPTION_FILE}")
    description: dict[str, Any] = json.loads(text)
    model = entry(description["model"])
    feature = model.feature_entry.describe(settings)
    training = TrainingSettings(**description["training"])
    network: keras.Model = build(
        description["model"],
        feature=feature,
        genre_count=description["genre_count"],
        # Its own weights are loaded below; those that it started from are not needed.
        settings=model.rebuilt(training.model, f"{folder}/{BODY_FOLDER}"),
    )
    with tempfile.TemporaryDirectory() as scratch:
        local = Path(scratch) / WEIGHTS_FILE
        fileio.copy(f"{folder}/{WEIGHTS_FILE}", str(local), overwrite=True)
        network.load_weights(local)
    return Branch(network, feature)
