"""Whether training waits for its input.

    python -m benchmarks.training [--model cnn] [--tracks 64] [--steps 30]

Two questions, on made-up tracks of the right shape, as the pipeline of tf.data does not look at
values: which share of a step passes in waiting for the next batch, and how many windows a second
the input gives beside the same windows lying in memory, ready to be copied.
"""

import argparse
import dataclasses
import logging
import os
import time
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from components.trainer.catalog import CATALOG
from components.trainer.settings import ModelSettings, recommended
from components.trainer.weights import WeightsError, check_weights
from pipeline import quiet

WAITING_ALLOWED = 0.05
_GENRES = 10


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training", description="Does training wait for its input?"
    )
    trained = [name for name in CATALOG if name != "ensemble"]
    parser.add_argument("--model", choices=trained, default="cnn")
    parser.add_argument("--tracks", type=int, default=64, help="tracks in the split (default 64)")
    parser.add_argument("--steps", type=int, default=30, help="steps that are timed (default 30)")
    parser.add_argument(
        "--weights", help="none, imagenet, msd or a file (default: the model's own)"
    )
    options = parser.parse_args(arguments)
    try:
        check_weights(options.model, model_settings(options).weights)
    except WeightsError as error:
        parser.error(str(error))
    for name in ("tracks", "steps"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1. Received: {getattr(options, name)}")
    return options


def model_settings(options: argparse.Namespace) -> ModelSettings:
    own = recommended(options.model).model
    return dataclasses.replace(own, weights=options.weights) if options.weights else own


def measure(
    model_name: str, *, tracks: int, steps: int, network: ModelSettings | None = None
) -> dict[str, float]:
    """Share of waiting in a training step, and windows a second from tf.data and from memory."""
    import numpy as np
    import tensorflow as tf

    from components.audio.features import feature
    from components.audio.settings import AudioSettings
    from components.trainer import windows
    from components.trainer.models import build
    from components.trainer.training import compile_model

    settings = recommended(model_name)
    described = feature(CATALOG[model_name].feature, AudioSettings())
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(tracks, *described.clip_shape)).astype(np.float32)
    labels = np.arange(tracks) % _GENRES
    split = windows.Tracks.from_arrays(matrices, labels)
    split = split.cached(described, settings.cache_megabytes)
    even = np.ones(_GENRES)
    streamed = windows.training_windows(
        split, feature=described, genre_weights=even, settings=settings
    )
    ready = matrices[:, : described.window_frames]
    in_memory = windows.batches(
        ready, labels, genre_weights=even, batch_size=min(settings.batch_size, tracks), seed=0
    )
    model = build(
        model_name, feature=described, genre_count=_GENRES, settings=network or settings.model
    )
    compile_model(model, settings, peak=settings.learning_rate, steps=steps + 2)

    def trained(data: tf.data.Dataset) -> Iterator[tuple[float, float]]:
        """Seconds of waiting and of work, step by step; the first two make the graph."""
        batches = iter(data)
        for step in range(steps + 2):
            start = time.perf_counter()
            batch = next(batches)
            got = time.perf_counter()
            model.train_on_batch(*batch)
            if step >= 2:
                yield got - start, time.perf_counter() - got

    def rate(data: tf.data.Dataset) -> float:
        batches = iter(data)
        next(batches)
        start = time.perf_counter()
        for _ in range(steps):
            size = next(batches)[0].shape[0]
        return steps * size / (time.perf_counter() - start)

    waited, worked = np.array(list(trained(streamed))).sum(axis=0)
    return {
        "waiting": waited / (waited + worked),
        "step_ms": 1000.0 * (waited + worked) / steps,
        "streamed": rate(streamed),
        "in_memory": rate(in_memory),
        "windows_per_clip": described.windows_per_clip,
    }


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    quiet.before_tensorflow()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # retracing, for every small model
    found = measure(
        options.model,
        tracks=options.tracks,
        steps=options.steps,
        network=model_settings(options),
    )
    verdict = "within" if found["waiting"] <= WAITING_ALLOWED else "ABOVE"
    print(f"{options.model}: a step takes {found['step_ms']:.0f} ms")
    print(
        f"waiting for input: {found['waiting']:.1%} of it, "
        f"{verdict} the {WAITING_ALLOWED:.0%} allowed"
    )
    print(
        f"input alone: {found['streamed']:.0f} windows/s cut and augmented by tf.data, "
        f"{found['in_memory']:.0f} windows/s ready in memory, "
        f"{found['streamed'] / found['windows_per_clip']:.0f} and "
        f"{found['in_memory'] / found['windows_per_clip']:.0f} clips/s"
    )


if __name__ == "__main__":
    main()
