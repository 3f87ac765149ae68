"""Measures whether training waits for its input, and how much memory it takes.

    python -m benchmarks.training [--model cnn] [--tracks 64] [--steps 30] [--cache-megabytes N]

On random tracks of the right shape, written and read as Transform and Trainer do: the share of a
step spent waiting for the next batch, the process's peak memory, and the windows per second of the
input beside those of windows that are ready in memory. A split over the cache limit is also read
with one window a read, for comparison.
"""

import argparse
import dataclasses
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.features import peak_memory_mib
from components.audio.features import Feature, feature
from components.audio.settings import AudioSettings
from components.common import runtime
from components.trainer.catalog import CATALOG, recommended
from components.trainer.checks import check_weights
from components.trainer.settings import TrainingSettings
from components.trainer.weight_sources import WeightsError

if TYPE_CHECKING:
    import tensorflow as tf

    from components.trainer.data.tracks import Tracks

WAITING_ALLOWED = 0.05
_GENRES = 10
_READY_WINDOWS = 256  # in memory
_DIFFERENT_TRACKS = 64  # the others repeat them; gzip does not look back so far
_TRACKS_PER_SHARD = 32


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description="Does training wait for its input, and how much memory does it take?",
    )
    trained = [name for name, entry in CATALOG.items() if entry.recommended]
    parser.add_argument("--model", choices=trained, default="cnn")
    parser.add_argument("--tracks", type=int, default=64, help="tracks in the split (default 64)")
    parser.add_argument("--steps", type=int, default=30, help="steps that are timed (default 30)")
    parser.add_argument(
        "--weights", help="none, imagenet, msd or a file (default: the model's own)"
    )
    parser.add_argument(
        "--cache-megabytes", type=int, help="of training.cache_megabytes (default: the model's own)"
    )
    options = parser.parse_args(arguments)
    try:
        check_weights(options.model, training_settings(options).model.weights)
    except WeightsError as error:
        parser.error(str(error))
    for name in ("tracks", "steps"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1. Received: {getattr(options, name)}")
    if options.cache_megabytes is not None and options.cache_megabytes < 0:
        parser.error(f"--cache-megabytes must be 0 or more. Received: {options.cache_megabytes}")
    return options


def training_settings(options: argparse.Namespace) -> TrainingSettings:
    """The model's own settings, with the weights and the cache of the command line."""
    settings = recommended(options.model)
    if options.weights:
        network = dataclasses.replace(settings.model, weights=options.weights)
        settings = dataclasses.replace(settings, model=network)
    if options.cache_megabytes is not None:
        settings = dataclasses.replace(settings, cache_megabytes=options.cache_megabytes)
    return settings


def write_tracks(folder: Path, feature: Feature, count: int) -> "Tracks":
    """Writes random tracks as Transform does, and opens them as the Trainer does."""
    import numpy as np
    import tensorflow as tf
    import tensorflow_transform as tft
    from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

    from components.trainer.data.tracks import LABEL, TRACK_ID, read_tracks

    frames_name = f"{feature.name}_frames"
    spec = {
        feature.name: tf.io.FixedLenFeature(feature.track_shape, tf.float32),
        frames_name: tf.io.FixedLenFeature([feature.clips_per_track], tf.int64),
        LABEL: tf.io.FixedLenFeature([], tf.int64),
        TRACK_ID: tf.io.FixedLenFeature([], tf.string),
    }
    metadata_io.write_metadata(
        dataset_metadata.DatasetMetadata.from_feature_spec(spec),
        str(folder / tft.TFTransformOutput.TRANSFORMED_METADATA_DIR),
    )
    rng = np.random.default_rng(0)
    examples = []
    for _ in range(min(count, _DIFFERENT_TRACKS)):
        values = rng.normal(size=feature.track_shape).astype(np.float32).ravel()
        example = tf.train.Example()
        features = example.features.feature
        features[feature.name].float_list.value.extend(values)
        features[frames_name].int64_list.value[:] = [feature.frames_per_clip] * (
            feature.clips_per_track
        )
        examples.append(example)
    # Level 1 saves time here and none in reading.
    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
    for start in range(0, count, _TRACKS_PER_SHARD):
        path = str(folder / f"tracks-{start:08d}.gz")
        with tf.io.TFRecordWriter(path, options) as writer:
            for index in range(start, min(start + _TRACKS_PER_SHARD, count)):
                example = examples[index % len(examples)]
                features = example.features.feature
                features[LABEL].int64_list.value[:] = [index % _GENRES]
                features[TRACK_ID].bytes_list.value[:] = [b"track-%08d" % index]
                writer.write(example.SerializeToString())
    return read_tracks([str(folder / "*.gz")], tft.TFTransformOutput(str(folder)), feature)


def measure(
    model_name: str, split: "Tracks", settings: TrainingSettings, steps: int
) -> dict[str, float]:
    """Measures one model's input.

    Args:
      model_name: The model.
      split: The tracks.
      settings: The training settings.
      steps: Steps that are timed.

    Returns:
      `waiting`, the share of a training step; `step_ms`; `first_batch_seconds`; `peak_mib` of this
      process until then; `streamed`, `one_a_read` (only for a split over the cache limit) and
      `in_memory` in windows a second; `windows_per_clip`.
    """
    import numpy as np
    import tensorflow as tf

    from components.trainer.data import windows
    from components.trainer.models import build
    from components.trainer.training.fitting import compile_model

    in_cache = split.fits(settings.cache_megabytes)
    split = split.cached(settings.cache_megabytes)
    even = np.ones(_GENRES)

    def stream(settings: TrainingSettings) -> tf.data.Dataset:
        return windows.training_windows(split, genre_weights=even, settings=settings)

    model = build(model_name, feature=split.feature, genre_count=_GENRES, settings=settings.model)
    compile_model(model, settings, peak=settings.learning_rate, steps=steps + 2)
    started = time.perf_counter()
    batches = iter(stream(settings))
    next(batches)
    first_batch_seconds = time.perf_counter() - started

    def trained(batches: "Iterator[tuple[tf.Tensor, ...]]") -> Iterator[tuple[float, float]]:
        """Seconds of waiting and of work, step by step; the first two make the graph."""
        for step in range(steps + 2):
            start = time.perf_counter()
            batch = next(batches)
            got = time.perf_counter()
            model.train_on_batch(*batch)
            if step >= 2:
                yield got - start, time.perf_counter() - got

    def rate(batches: "Iterator[tuple[tf.Tensor, ...]]") -> float:
        for _ in range(steps):  # those that are ready already
            next(batches)
        start = time.perf_counter()
        for _ in range(steps):
            size = next(batches)[0].shape[0]
        return steps * size / (time.perf_counter() - start)

    waited, worked = np.array(list(trained(batches))).sum(axis=0)
    measured = {
        "waiting": waited / (waited + worked),
        "step_ms": 1000.0 * (waited + worked) / steps,
        "first_batch_seconds": first_batch_seconds,
        "streamed": rate(batches),
        "peak_mib": peak_memory_mib(),
        "windows_per_clip": split.feature.windows_per_clip,
    }
    del batches  # and the memory that it shuffles in
    if not in_cache:
        single = dataclasses.replace(settings, windows_per_track=1)
        measured["one_a_read"] = rate(iter(stream(single)))
    ready = [
        tf.zeros([_READY_WINDOWS, *shape]) for shape in (split.feature.window_shape, [_GENRES], [])
    ]
    in_memory = tf.data.Dataset.from_tensor_slices(tuple(ready)).shuffle(_READY_WINDOWS).repeat()
    in_memory = in_memory.batch(settings.batch_size).prefetch(tf.data.AUTOTUNE)
    measured["in_memory"] = rate(iter(in_memory))
    return measured


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    runtime.quieten()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # retracing, for every small model
    feature_spec = feature(CATALOG[options.model].feature, AudioSettings())
    with tempfile.TemporaryDirectory(prefix="benchmark-training-") as folder:
        split = write_tracks(Path(folder), feature_spec, options.tracks)
        measured = measure(options.model, split, training_settings(options), options.steps)
    verdict = "within" if measured["waiting"] <= WAITING_ALLOWED else "ABOVE"
    print(
        f"{options.model}, {options.tracks} tracks: a step takes {measured['step_ms']:.0f} ms, "
        f"the first batch {measured['first_batch_seconds']:.1f} s, "
        f"peak memory {measured['peak_mib'] / 1024:.2f} GiB"
    )
    print(
        f"waiting for input: {measured['waiting']:.1%} of it, "
        f"{verdict} the {WAITING_ALLOWED:.0%} allowed"
    )
    print(
        f"input alone: {measured['streamed']:.0f} windows/s cut and augmented by tf.data, "
        f"{measured['in_memory']:.0f} windows/s ready in memory, "
        f"{measured['streamed'] / measured['windows_per_clip']:.0f} and "
        f"{measured['in_memory'] / measured['windows_per_clip']:.0f} clips/s"
    )
    if "one_a_read" in measured:
        print(
            "over the cache limit: "
            f"{measured['streamed']:.0f} windows/s with several windows a read, "
            f"{measured['one_a_read']:.0f} with one"
        )


if __name__ == "__main__":
    main()
