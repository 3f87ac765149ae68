"""Writes the built-in sample: composed music in GTZAN's folder layout."""

import concurrent.futures
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from components.audio import codec
from components.common import foreign_json
from components.common.errors import UserError
from components.gtzan.composer import COMPOSER_VERSION, compose_track
from components.gtzan.genres import GENRES
from components.gtzan.instruments import RATE_HZ
from components.gtzan.listing import MANIFEST

__all__ = ["TRACKS_PER_GENRE", "compose_track", "write_sample"]

TRACKS_PER_GENRE = 12


class SampleError(UserError):
    """The sample cannot be written there; the message tells the user why."""


def write_sample(
    folder: Path | str,
    *,
    tracks_per_genre: int = TRACKS_PER_GENRE,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes `<folder>/<genre>/<genre>.NNNNN.wav` for the ten genres: 22 050 Hz, 16 bits, 30 s.

    The folder's `sample.json` holds the arguments and whether the sample is complete, and a track
    gets its name only once it is written. So the next call completes an interrupted one, and does
    nothing if the sample is complete.

    Args:
      folder: Where to write; created if missing.
      tracks_per_genre: Tracks in each genre.
      seed: Seed of the sample.
      workers: Processes that compose; one per core by default.
      progress: Called with the numbers of finished and of all tracks.

    Raises:
      SampleError: The folder holds something that is not a sample.
    """
    folder = Path(folder)
    requested = {"composer": COMPOSER_VERSION, "seed": seed, "tracks_per_genre": tracks_per_genre}
    tracks = [
        (folder / genre / f"{genre}.{index:05d}.wav", genre, index)
        for genre in GENRES
        for index in range(tracks_per_genre)
    ]
    manifest = _read_manifest(folder)
    if manifest == {**requested, "complete": True} and all(path.exists() for path, _, _ in tracks):
        return folder
    if {**manifest, "complete": False} != {**requested, "complete": False}:
        for path in folder.glob("*/*.wav"):
            path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / MANIFEST, json.dumps({**requested, "complete": False}).encode())
    for genre in GENRES:
        (folder / genre).mkdir(exist_ok=True)
    todo = [(path, genre, index, seed) for path, genre, index in tracks if not path.exists()]
    done = len(tracks) - len(todo)
    for _ in _compose_all(todo, workers or os.cpu_count() or 1):
        done += 1
        if progress:
            progress(done, len(tracks))
    _write(folder / MANIFEST, json.dumps({**requested, "complete": True}).encode())
    return folder


_Job = tuple[Path, str, int, int]  # path, genre, index, seed


def _compose_all(jobs: list[_Job], workers: int) -> Iterator[None]:
    """Composes and writes tracks, yielding as each is done."""
    workers = min(workers, len(jobs) // 4)
    if workers < 2:
        yield from map(_compose_file, jobs)
        return
    # Spawned, for a forked copy of a process with threads (TensorFlow's, gRPC's) may hang.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_compose_file, jobs)  # cancels what has not begun if it is left


def _compose_file(job: _Job) -> None:
    path, genre, index, seed = job
    _write(path, codec.encode_wav(compose_track(genre, index, seed), RATE_HZ))


def _read_manifest(folder: Path) -> dict[str, object]:
    """Reads a folder's manifest; empty if there is no folder yet."""
    path = folder / MANIFEST
    if path.exists():
        try:
            manifest = foreign_json.parse(path.read_bytes())
        except foreign_json.ForeignJsonError:
            manifest = None
        if not isinstance(manifest, dict):
            raise SampleError(f"{path} is not a sample's manifest; delete the folder and try again")
        return manifest
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SampleError(f"the sample needs a folder of its own. Received: {folder}")
    return {}


def _write(path: Path, data: bytes) -> None:
    """Writes a file under a temporary name and renames it, so that it is never incomplete."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)
