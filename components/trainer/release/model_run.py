"""Saves a trained network beside its SavedModel, with its validation answers and history."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import keras
from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components.audio import features
from components.audio.features import Feature
from components.audio.settings import AudioSettings
from components.common import calibration, remarks, validation
from components.common.answers import TrackAnswers
from components.trainer.data.windows import Tracks
from components.trainer.models import build, entry
from components.trainer.release.genre_graph import Branch
from components.trainer.settings import TrainingSettings, from_dict
from components.trainer.training.loop import TrainingResult

DESCRIPTION_FILE = "network.json"
WEIGHTS_FILE = "network.weights.h5"
HISTORY_FILE = "history.json"
BODY_FOLDER = "body"  # of a model whose body is a SavedModel


def save(
    folder: str,
    result: TrainingResult,
    *,
    model_name: str,
    settings: TrainingSettings,
    feature: Feature,
    genre_count: int,
    validated_on: Tracks | None = None,
) -> float:
    """Writes a network's weights and description, its validation answers, metrics and remarks.

    The temperature is fitted here, on the validation answers, which are kept scaled by it. The
    network that is kept is not calibrated: an ensemble averages the networks' own probabilities.

    Args:
      folder: URI of the `model_run` artifact.
      result: The result of the training.
      model_name: Name in the catalog.
      settings: The settings of the training.
      feature: The feature that the network reads.
      genre_count: Number of genres.
      validated_on: The validation split; the answers for it, and `calibration.json`, are written
        if it is given.

    Returns:
      The temperature for the release; 1 without a validation split.
    """
    fileio.makedirs(folder)
    # h5py needs a local file; the artifact may live in an object store.
    with tempfile.TemporaryDirectory() as scratch:
        local = Path(scratch) / WEIGHTS_FILE
        result.model.save_weights(local)
        fileio.copy(str(local), f"{folder}/{WEIGHTS_FILE}", overwrite=True)
    temperature = 1.0
    if validated_on is not None and result.validation_answers is not None:
        own = validation.in_order(
            validated_on.track_ids,
            validated_on.labels,
            result.validation_answers,
            validated_on.counting_windows(feature),
            clips=feature.clips_per_track,
        )
        temperature = keep_calibrated(folder, own)
    description = {
        "model": model_name,
        "training": dataclasses.asdict(settings),
        "feature": feature.name,
        "genre_count": genre_count,
    }
    io_utils.write_string_file(f"{folder}/{DESCRIPTION_FILE}", json.dumps(description, indent=2))
    history = {
        "best_epoch": result.best_epoch,
        "seconds": result.seconds,
        "epochs": {name: list(map(float, values)) for name, values in result.history.items()},
    }
    io_utils.write_string_file(f"{folder}/{HISTORY_FILE}", json.dumps(history, indent=2))
    remarks.write(folder, result.remarks)
    if entry(model_name).needs_saved_model:
        # The network's weights above are its head's: the body is needed wherever it is rebuilt.
        io_utils.copy_dir(settings.model.weights, f"{folder}/{BODY_FOLDER}")
    return temperature


def keep_calibrated(folder: str, own: TrackAnswers) -> float:
    """Fits the temperature and writes `validation.npz`, scaled by it, and `calibration.json`.

    Args:
      folder: URI of the `model_run` artifact.
      own: The answers before scaling.

    Returns:
      The temperature.
    """
    answers, fitted = validation.calibrated(own)
    validation.write(folder, answers)
    calibration.write(folder, fitted)
    return fitted.temperature


def load_branch(folder: str, settings: AudioSettings) -> Branch:
    """Rebuilds a network that `save` wrote, with its weights."""
    description = _description(folder)
    feature = features.feature(description["feature"], settings)
    # Its own weights are loaded below; those that it started from are not needed.
    model_settings = entry(description["model"]).rebuilt(
        from_dict(description["training"]).model, f"{folder}/{BODY_FOLDER}"
    )
    network: keras.Model = build(
        description["model"],
        feature=feature,
        genre_count=description["genre_count"],
        settings=model_settings,
    )
    with tempfile.TemporaryDirectory() as scratch:
        local = Path(scratch) / WEIGHTS_FILE
        fileio.copy(f"{folder}/{WEIGHTS_FILE}", str(local), overwrite=True)
        network.load_weights(local)
    return Branch(network, feature)


def _description(folder: str) -> dict[str, Any]:
    text = io_utils.read_string_file(f"{folder}/{DESCRIPTION_FILE}")
    description: dict[str, Any] = json.loads(text)
    return description
