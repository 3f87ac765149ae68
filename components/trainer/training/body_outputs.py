"""A network's outputs for all windows of a split; those of frozen bodies are computed once.

Outputs that do not fit in memory are kept in a scratch folder as long as heads are trained on them.
"""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from components.audio.features import Feature
from components.common.metrics import track_means
from components.trainer.data import windows
from components.trainer.data.rows import Rows
from components.trainer.data.windows import Tracks
from components.trainer.models import build
from components.trainer.parts import heads
from components.trainer.settings import TrainingSettings
from components.trainer.training import devices

_BATCHES_AT_ONCE = 8  # whose windows and outputs are in memory while outputs are written to files
_TRACKS_AT_ONCE = 256  # whose windows are averaged at once


def window_outputs(model: keras.Model, tracks: Tracks, *, feature: Feature) -> np.ndarray:
    """A network's outputs for every window: [tracks, windows_per_track, …].

    `Tracks.counting_windows` tells which windows count.
    """
    outputs = model.predict(windows.evaluation_windows(tracks, feature=feature), verbose=0)
    return windows.by_track(outputs, feature=feature, count=tracks.count)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for outputs, which is removed with its files at the end of the `with` block."""
    with tempfile.TemporaryDirectory(prefix="gatefold-outputs-") as folder:
        yield Path(folder)


def with_body_outputs(
    model_name: str,
    splits: Sequence[Tracks],
    *,
    settings: TrainingSettings,
    feature: Feature,
    genres: Sequence[str],
    folder: Path,
) -> tuple[Tracks, ...]:
    """Precomputes frozen-body outputs so that many head trainings can share them.

    Args:
      model_name: Its name in the catalog.
      splits: The splits that the heads are trained and evaluated on.
      settings: Settings that the trainings share: the body, precision, devices and memory.
      feature: What the tracks hold.
      genres: Names in label order.
      folder: For outputs over `settings.cache_megabytes`, a folder for each split. It has to exist
        as long as the outputs are used.

    Returns:
      The splits with their `body_outputs`; unchanged if no body stays frozen.
    """
    if not settings.model.frozen:
        return tuple(splits)
    policy = devices.precision_policy(settings)
    with devices.precision(policy), devices.strategy(settings.distribution).scope():
        model = build(model_name, feature=feature, genre_count=len(genres), settings=settings.model)
        body = heads.body_of(model)
        if body is None:
            return tuple(splits)
        return tuple(
            dataclasses.replace(
                tracks,
                body_outputs=body_outputs(
                    body, tracks, feature, settings.cache_megabytes, folder / str(place)
                ),
            )
            for place, tracks in enumerate(splits)
        )


def body_outputs(
    body: keras.Model, tracks: Tracks, feature: Feature, megabytes: int, folder: Path
) -> Rows:
    """The outputs of a frozen body for every window, a row each, in the order of the tracks.

    Args:
      body: The body; its output is a vector.
      tracks: The split; its `body_outputs` are returned if it has them.
      feature: What the tracks hold.
      megabytes: Size up to which the outputs are kept in memory.
      folder: For larger ones; it is made.
    """
    if tracks.body_outputs is not None:
        return tracks.body_outputs
    units = body.output_shape[-1]
    if _fit(tracks.count * feature.windows_per_track, units, megabytes):
        return Rows.of(window_outputs(body, tracks, feature=feature).reshape(-1, units))
    folder.mkdir(parents=True)
    return Rows.written(_output_blocks(body, tracks, feature), folder)


def body_output_means(
    outputs: Rows, tracks: Tracks, feature: Feature, megabytes: int, folder: Path
) -> Rows:
    """The mean of the outputs over each track's windows that count, a row a track.

    Args:
      outputs: From `body_outputs`.
      tracks: The split.
      feature: What the tracks hold.
      megabytes: Size up to which the means are kept in memory.
      folder: For larger ones; it is made.
    """
    blocks = _mean_blocks(outputs, tracks, feature)
    if _fit(tracks.count, outputs.units, megabytes):
        return Rows.of(np.concatenate(list(blocks)))
    folder.mkdir(parents=True)
    return Rows.written(blocks, folder)


def _fit(rows: int, units: int, megabytes: int) -> bool:
    return 4 * rows * units <= megabytes * 1e6


def _output_blocks(body: keras.Model, tracks: Tracks, feature: Feature) -> Iterator[np.ndarray]:
    left = tracks.count * feature.windows_per_track
    batches = windows.evaluation_windows(tracks, feature=feature)
    for together in batches.window(_BATCHES_AT_ONCE):
        outputs = body.predict(together, verbose=0)[:left]  # without the last batch's padding
        left -= len(outputs)
        yield outputs


def _mean_blocks(outputs: Rows, tracks: Tracks, feature: Feature) -> Iterator[np.ndarray]:
    counts = tracks.counting_windows(feature)
    each = feature.windows_per_track
    for place, block in enumerate(outputs.blocks(_TRACKS_AT_ONCE * each)):
        start = place * _TRACKS_AT_ONCE
        values = block.reshape(-1, each, outputs.units)
        yield track_means(values, counts[start : start + len(values)])
