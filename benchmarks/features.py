"""Measures the speed of log-mel and MFCC, beside librosa and the bare arithmetic.

    python -m benchmarks.features [--clips 16] [--repetitions 9]

The ways take turns on the same clips, so that a busy machine slows all of them:

- the feature graph on the whole batch, as Transform runs it, and clip by clip, as serving does;
- librosa as a script would call it: mel spectrogram in decibels, then `mfcc` of the sound;
- librosa with its mel spectrogram handed on to `mfcc`, so that it too transforms once;
- the bare arithmetic: window, scipy's real FFT on all processors, squares, mel matrix product.

Two more show what the other features add.
"""

import argparse
import os
import resource
import statistics
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

Ways = dict[str, Callable[[], object]]

OURS, LIBROSA, BARE = "feature graph, batch", "librosa loop", "bare FFT and product"
LIBROSA_FACTOR_WANTED = 4.0
BARE_FACTOR_ALLOWED = 1.5


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.features", description="Milliseconds a clip, ours and others'."
    )
    parser.add_argument("--clips", type=int, default=16, help="clips in the batch (default 16)")
    parser.add_argument(
        "--repetitions", type=int, default=9, help="turns of each way, after one to warm up"
    )
    options = parser.parse_args(arguments)
    for name in ("clips", "repetitions"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1. Received: {getattr(options, name)}")
    return options


def interleaved_medians_ms(ways: Ways, *, repetitions: int, clips: int) -> dict[str, float]:
    """Median milliseconds a clip of each way, the ways taking turns."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for repetition in range(repetitions + 1):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            if repetition > 0:
                taken[name].append(1000 * (time.perf_counter() - start) / clips)
    return {name: statistics.median(times) for name, times in taken.items()}


def peak_memory_mib() -> float:
    """Most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ways_of_computing(clips: "np.ndarray") -> tuple[Ways, Ways]:
    """Ways of computing log-mel and MFCC, and our other features; each computes all clips.

    Args:
      clips: float32 [clips, samples].
    """
    import librosa
    import numpy as np
    import scipy.fft
    import scipy.signal
    import tensorflow as tf

    from components.audio import spectral
    from components.audio.extraction import extract
    from components.audio.settings import AudioSettings

    settings = AudioSettings()
    batch = tf.constant(clips)

    def graph_of(*names: str) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        return tf.function(
            lambda waveform: extract(names, waveform, settings)[0],
            input_signature=[tf.TensorSpec([None, settings.clip_samples])],
        )

    def librosa_calls(sound: np.ndarray) -> np.ndarray:
        rate = settings.sample_rate_hz
        librosa.power_to_db(librosa.feature.melspectrogram(y=sound, sr=rate))
        return librosa.feature.mfcc(y=sound, sr=rate, n_mfcc=settings.mfcc_coefficients)

    def librosa_transforms_once(sound: np.ndarray) -> np.ndarray:
        mel = librosa.feature.melspectrogram(y=sound, sr=settings.sample_rate_hz)
        return librosa.feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=settings.mfcc_coefficients)

    window = scipy.signal.get_window("hann", settings.fft_length).astype(np.float32)
    matrix = spectral.mel_matrix(settings)

    def bare(sound: np.ndarray) -> np.ndarray:
        padded = np.pad(sound, (0, settings.fft_length))
        frames = np.lib.stride_tricks.sliding_window_view(padded, settings.fft_length)
        frames = frames[:: settings.hop_length][: settings.frames_per_clip]
        spectrum = scipy.fft.rfft(frames * window, axis=1, workers=os.cpu_count())
        return (spectrum.real**2 + spectrum.imag**2) @ matrix

    spectra = graph_of("log_mel", "mfcc")
    with_descriptors = graph_of("log_mel", "mfcc", "descriptors")
    for_musicnn = graph_of("music_mel")
    return {
        OURS: lambda: spectra(batch),
        "feature graph, clip by clip": lambda: [
            spectra(batch[i : i + 1]) for i in range(len(clips))
        ],
        LIBROSA: lambda: [librosa_calls(sound) for sound in clips],
        "librosa loop, one transform": lambda: [librosa_transforms_once(sound) for sound in clips],
        BARE: lambda: [bare(sound) for sound in clips],
    }, {
        "feature graph with descriptors": lambda: with_descriptors(batch),
        "feature graph, music_mel alone": lambda: for_musicnn(batch),
    }


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    warnings.filterwarnings("ignore", category=FutureWarning)  # Google's, about Python 3.10

    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from components.audio.settings import AudioSettings

    shape = (options.clips, AudioSettings().clip_samples)
    clips = np.random.default_rng(0).normal(scale=0.1, size=shape).astype(np.float32)
    ways, others = ways_of_computing(clips)
    before_mib = peak_memory_mib()
    ways[OURS]()
    grown_mib = peak_memory_mib() - before_mib
    turns = {"repetitions": options.repetitions, "clips": options.clips}
    medians = interleaved_medians_ms(ways, **turns) | interleaved_medians_ms(others, **turns)

    table = Table(title=f"log-mel + MFCC, {options.clips} clips of 30 s (synthetic noise)")
    table.add_column("way")
    table.add_column("ms a clip", justify="right")
    table.add_column("times ours", justify="right")
    for name, median_ms in medians.items():
        table.add_row(name, f"{median_ms:.1f}", f"{median_ms / medians[OURS]:.2f}")
    console = Console()
    console.print(table)
    faster, share = medians[LIBROSA] / medians[OURS], medians[OURS] / medians[BARE]
    met = faster >= LIBROSA_FACTOR_WANTED and share <= BARE_FACTOR_ALLOWED
    console.print(
        f"{faster:.1f} times as fast as librosa (target {LIBROSA_FACTOR_WANTED:g}), "
        f"{share:.2f} times the bare product (target at most {BARE_FACTOR_ALLOWED:g}): "
        + ("met" if met else "missed")
    )
    console.print(
        f"Medians of {options.repetitions} interleaved turns, load {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} processors. The batch's features raised the peak memory by "
        f"{grown_mib:.0f} MiB."
    )


if __name__ == "__main__":
    main()
