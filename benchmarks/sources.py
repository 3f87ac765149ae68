"""What accuracy is measured on: audio, published descriptors or recovered spectrograms."""

import csv
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from components import progress
from components.audio.features import MUSIC_MEL_BINS, Feature, feature
from components.audio.settings import AudioSettings
from components.errors import UserError
from components.gtzan.genres import GENRES

_SETTINGS = AudioSettings()
_QUANTILES = np.linspace(0.0, 1.0, 201)


@dataclasses.dataclass(frozen=True)
class Collection:
    """Tracks with their features, before any standardisation.

    Attributes:
      name: What results call it.
      track_ids: Names such as `blues.00000`.
      labels: int64 [tracks].
      matrices: By feature name, float32 [tracks, frames_per_clip, bins].
      features: By name, what the matrices hold.
    """

    name: str
    track_ids: tuple[str, ...]
    labels: np.ndarray
    matrices: dict[str, np.ndarray]
    features: dict[str, Feature]


def from_audio(folder: Path, names: Sequence[str]) -> Collection:
    """Takes in a folder laid out as GTZAN is and computes features, as the pipeline does.

    What the pipeline would leave out (no music, duplicates) is left out and named.

    Raises:
      UserError: No track in the folder can be used.
    """
    import tensorflow as tf

    from components.audio import codec
    from components.audio.extraction import extract
    from components.example_gen import files, tracks
    from components.example_gen.plan import keep_first

    root, found = files.find_tracks(str(folder), GENRES)
    examined = []
    for number, file in enumerate(found):
        progress.report("files examined", number, len(found))
        track = tracks.identify(files.relative(file.path, root), GENRES)
        if not track.fault:
            track = tracks.examine(track, files.read(file.path), _SETTINGS)
        examined.append(track)
    kept, repeated = keep_first([track for track in examined if not track.fault])
    for track in [track for track in examined if track.fault] + repeated:
        print(f"left out: {track.path} is {track.fault}: {track.detail}")
    if not kept:
        raise UserError(f"--data: none of {len(found)} files is a track. Received: {folder}")
    compute = tf.function(lambda sound: extract(tuple(names), sound, _SETTINGS))
    features = {name: feature(name, _SETTINGS) for name in names}
    matrices = {
        name: np.empty((len(kept), *described.clip_shape), np.float32)
        for name, described in features.items()
    }
    for number, track in enumerate(kept):
        progress.report("tracks described", number, len(kept))
        _, pcm = tracks.clip(track, files.read(f"{root}/{track.path}"), _SETTINGS)
        sound = tf.constant(codec.from_pcm16(pcm)[np.newaxis])
        for name, matrix in compute(sound).items():
            matrices[name][number] = matrix[0].numpy()
    return Collection(
        f"audio, {len(kept)} tracks",
        tuple(track.track_id for track in kept),
        np.array([GENRES.index(track.genre) for track in kept], np.int64),
        matrices,
        features,
    )


def from_descriptors(path: Path) -> Collection:
    """Reads the dataset's published table: one row a track, so one window a track.

    Raises:
      UserError: It is no such table.
    """
    rows = list(csv.DictReader(read_text(path).splitlines()))
    try:
        columns = [name for name in rows[0] if name not in ("filename", "length", "label")]
        values = np.array([[float(row[name]) for name in columns] for row in rows], np.float32)
        track_ids = tuple(row["filename"].removesuffix(".wav") for row in rows)
        if not np.isfinite(values).all():
            raise ValueError("a value is missing or no finite number")
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            "--descriptors is a CSV file with the columns filename and label, all others numbers, "
            f"such as GTZAN's features_30_sec.csv. Received: {path} ({error})"
        ) from error
    pieces = [name for name in track_ids if re.search(r"\.\d+\.\d+$", name)]
    if pieces:
        raise UserError(
            "--descriptors has rows of pieces of tracks, which would lie on both sides: give the "
            f"table with one row a track. Received: {path}, {pieces[0]} in it"
        )
    described = Feature(
        "descriptors", 1, len(columns), 1 / _SETTINGS.clip_seconds, 1, standardised=True
    )
    return Collection(
        "published descriptors",
        track_ids,
        labels_of(track_ids),
        {"descriptors": values[:, np.newaxis]},
        {"descriptors": described},
    )


def from_spectrograms(path: Path, names: Sequence[str], real_music: Path) -> Collection:
    """Reads recovered spectrograms, at the frame rates that the models know.

    Each was scaled to its own range and has a third of the frames, so all of this is a stand-in:
    `log_mel` is interpolated in time, `mfcc` its cosine transform, and `music_mel` is mapped to
    96 bands whose values are made to be distributed as those of real sound are.

    Args:
      path: The `.npz` with `log_mel` uint8 [tracks, frames, 128] and `track_id`.
      names: Features wanted.
      real_music: Folder of real tracks, of which `music_mel`'s distribution is taken.

    Raises:
      UserError: The file has no such spectrograms, or a feature is wanted that they cannot give.
    """
    impossible = set(names) - {"log_mel", "mfcc", "music_mel"}
    if impossible:
        raise UserError(f"--spectrograms do not give {sorted(impossible)}. Received: {path}")
    try:
        with np.load(path) as archive:
            pictures, track_ids = archive["log_mel"], tuple(map(str, archive["track_id"]))
        if pictures.dtype != np.uint8 or pictures.shape[2:] != (_SETTINGS.mel_bins,):
            raise ValueError(f"log_mel is {pictures.dtype} {list(pictures.shape)}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadZipFile) as error:
        raise UserError(
            f"--spectrograms is an .npz file with log_mel, uint8 [tracks, frames, "
            f"{_SETTINGS.mel_bins}], and track_id. Received: {path} ({error})"
        ) from error
    features = {name: feature(name, _SETTINGS) for name in names}
    matrices = {}
    if {"log_mel", "mfcc"} & set(names):
        frames = feature("log_mel", _SETTINGS).frames_per_clip
        log_mel = np.stack([_interpolate(picture, frames) for picture in pictures])
        log_mel *= np.float32(_SETTINGS.top_db / 255.0)
        matrices["log_mel"] = log_mel
        if "mfcc" in names:
            from scipy.fft import dct

            matrices["mfcc"] = dct(log_mel, norm="ortho")[..., : features["mfcc"].bins]
    if "music_mel" in names:
        real = from_audio(real_music, ["music_mel"]).matrices["music_mel"]
        matrices["music_mel"] = _as_music_mel(pictures, real, features["music_mel"])
    return Collection(
        "recovered spectrograms",
        track_ids,
        labels_of(track_ids),
        {name: matrices[name] for name in names},
        features,
    )


def labels_of(track_ids: Sequence[str]) -> np.ndarray:
    """The genre of each track by its name, int64 [tracks].

    Raises:
      UserError: A name does not begin with a genre.
    """
    genres = [track_id.partition(".")[0] for track_id in track_ids]
    strangers = sorted(set(genres) - set(GENRES))
    if strangers:
        raise UserError(
            f"tracks are named after their genre ({', '.join(GENRES)}), as in blues.00000. "
            f"Received: {', '.join(strangers)}"
        )
    return np.array([GENRES.index(genre) for genre in genres], np.int64)


def read_text(path: Path) -> str:
    """Reads a text file that the user named; a UserError says what is wrong with it."""
    from components.example_gen import files

    return files.read_text(str(path))


def _interpolate(picture: np.ndarray, frames: int) -> np.ndarray:
    """Linear interpolation in time: float32 [frames, bins]."""
    size = len(picture)
    places = np.clip((np.arange(frames) + 0.5) * size / frames - 0.5, 0, size - 1)
    before = np.minimum(places.astype(np.int64), size - 2)
    share = (places - before)[:, np.newaxis].astype(np.float32)
    values = picture.astype(np.float32)
    return values[before] * (1.0 - share) + values[before + 1] * share


def _as_music_mel(pictures: np.ndarray, real: np.ndarray, described: Feature) -> np.ndarray:
    """Maps [tracks, frames, 128] pictures to the bands, rate and values of `music_mel`.

    Values are mapped by quantiles, band by band. No label is read.
    """
    import librosa

    def mels(bands: int, highest_hz: float) -> np.ndarray:
        hertz = librosa.mel_frequencies(bands + 2, fmin=0.0, fmax=highest_hz)[1:-1]
        return librosa.hz_to_mel(hertz)

    bins = pictures.shape[2]
    places = np.interp(
        mels(MUSIC_MEL_BINS, 8000.0), mels(bins, _SETTINGS.sample_rate_hz / 2), np.arange(bins)
    )
    below = np.minimum(places.astype(np.int64), bins - 2)
    share = (places - below).astype(np.float32)
    nearest = ((np.arange(described.frames_per_clip) + 0.5) * pictures.shape[1]).astype(np.int64)
    nearest //= described.frames_per_clip
    bands = pictures[..., below] * (1.0 - share) + pictures[..., below + 1] * share
    # Whole numbers between bands hold steps: spread them, or quantiles coincide.
    bands += np.random.default_rng(0).uniform(-0.5, 0.5, bands.shape).astype(np.float32)
    mapped = np.empty_like(bands)
    for band in range(MUSIC_MEL_BINS):
        wanted = np.quantile(real[..., band], _QUANTILES)
        there = np.quantile(bands[..., band], _QUANTILES)
        mapped[..., band] = np.interp(bands[..., band], there, wanted)
    return mapped[:, nearest]
