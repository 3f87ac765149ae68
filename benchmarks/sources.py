"""Data sources of the accuracy benchmark: audio, published descriptors, recovered spectrograms."""

import csv
import dataclasses
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from benchmarks.unseen import UNSEEN
from components.audio.codec import to_pcm16
from components.audio.features import Feature, feature
from components.audio.features.music_mel import BINS as MUSIC_MEL_BINS
from components.audio.settings import AudioSettings
from components.common import progress
from components.common.errors import UserError
from components.gtzan.genres import GENRES

if TYPE_CHECKING:
    from components.common.raw_examples import RawTrack
    from components.trainer.data.tracks import Tracks

_SETTINGS = AudioSettings()
_QUANTILES = np.linspace(0.0, 1.0, 201)


@dataclasses.dataclass(frozen=True)
class Collection:
    """Tracks with their features, before any standardisation.

    Attributes:
      name: Name in the results file.
      track_ids: Ids such as `blues.00000`.
      labels: int64 [tracks].
      matrices: By feature name, float32 [tracks, frames_per_clip, bins].
      features: Feature descriptions, by name.
      frames: By feature name, number of rows of each matrix that are sound, int64 [tracks, 1].
      versions: Of audio: what was done to the sound. There are as many blocks of the same tracks,
        one after the other; "" is the sound as it is.
    """

    name: str
    track_ids: tuple[str, ...]
    labels: np.ndarray
    matrices: dict[str, np.ndarray]
    features: dict[str, Feature]
    frames: dict[str, np.ndarray]
    versions: tuple[str, ...] = ("",)

    @property
    def count(self) -> int:
        """Number of tracks, each counted in one version."""
        return len(self.labels) // len(self.versions)

    @classmethod
    def of_whole_clips(
        cls,
        name: str,
        track_ids: tuple[str, ...],
        labels: np.ndarray,
        matrices: dict[str, np.ndarray],
        features: dict[str, Feature],
    ) -> "Collection":
        """Makes a collection whose matrices have no padding."""
        frames = {
            feature_name: np.full((len(matrix), 1), matrix.shape[1])
            for feature_name, matrix in matrices.items()
        }
        return cls(name, track_ids, labels, matrices, features, frames)

    def tracks(self, feature_name: str, places: np.ndarray) -> "Tracks":
        """The tracks at `places` in the form that training reads; features are not standardised."""
        from components.trainer.data.tracks import Tracks

        return Tracks.from_arrays(
            self.features[feature_name],
            self.matrices[feature_name][places],
            self.labels[places],
            frames=self.frames[feature_name][places],
            track_ids=[self.track_ids[place] for place in places],
        )


def from_audio(folder: Path, names: Sequence[str], versions: Sequence[str] = ("",)) -> Collection:
    """Reads a folder in GTZAN's layout and computes features, as the pipeline does.

    Files that the pipeline would leave out (not audio, duplicates) are left out and printed.

    Args:
      folder: The folder.
      names: Names of the features.
      versions: What is done to the sound: "" for nothing, the name of a deformation, or a training
        copy's number.

    Raises:
      UserError: No track in the folder can be used.
    """
    import tensorflow as tf

    from components.audio.extraction import extract_pcm16
    from components.common.raw_examples import RawTrack
    from components.example_gen import files, tracks
    from components.example_gen.repeats import keep_first

    music = files.find_tracks(str(folder), GENRES)
    examined = []
    for number, file in enumerate(music.files):
        progress.report("files examined", number, len(music.files))
        track = tracks.examine_file(file, folder=music.folder, genres=GENRES, audio=_SETTINGS)
        examined.append(track)
    examined = keep_first(examined)
    unique = [track for track in examined if not track.fault]
    for track in examined:
        if track.fault:
            print(f"left out: {track.path} is {track.fault}: {track.detail}")
    if not unique:
        raise UserError(f"--data: none of {len(examined)} files is a track. Received: {folder}")
    compute = tf.function(lambda pcm: extract_pcm16(tuple(names), pcm, _SETTINGS))
    features = {name: feature(name, _SETTINGS) for name in names}
    rows = len(versions) * len(unique)
    matrices = {
        name: np.empty((rows, *feature_spec.clip_shape), np.float32)
        for name, feature_spec in features.items()
    }
    frames = {name: np.empty((rows, 1), np.int64) for name in names}
    for number, track in enumerate(unique):
        progress.report("tracks computed", number, len(unique))
        _, pcm = tracks.clip(track, files.read(f"{music.folder}/{track.path}"), _SETTINGS)
        raw = RawTrack(track.track_id, track.genre, pcm)
        for place, version in enumerate(versions):
            computed, of_sound = compute(tf.constant([_sound(raw, version)]))
            row = place * len(unique) + number
            for name in names:
                matrices[name][row] = computed[name][0].numpy()
                frames[name][row] = of_sound[name][0].numpy()
    return Collection(
        f"audio, {len(unique)} tracks",
        tuple(track.track_id for track in unique) * len(versions),
        np.tile([GENRES.index(track.genre) for track in unique], len(versions)),
        matrices,
        features,
        frames,
        tuple(versions),
    )


def _sound(track: "RawTrack", version: str) -> bytes:
    from components.deformed_examples.deform import deformed
    from components.training_copies.copies import copied_sound

    if not version:
        return track.audio
    if version.isdigit():
        return copied_sound(track, int(version), _SETTINGS)
    unseen = {deformation.name: deformation for deformation in UNSEEN}
    if version in unseen:
        seed = zlib.crc32(track.audio)
        return to_pcm16(unseen[version].function(track.samples, _SETTINGS.sample_rate_hz, seed))
    return deformed(track, version, _SETTINGS).audio


def from_descriptors(path: Path) -> Collection:
    """Reads the published table of descriptors: one row, and so one window, per track.

    Raises:
      UserError: The file is not such a table.
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
    feature_spec = Feature(
        "descriptors", 1, len(columns), 1 / _SETTINGS.clip_seconds, 1, standardised=True
    )
    return Collection.of_whole_clips(
        "published descriptors",
        track_ids,
        labels_of(track_ids),
        {"descriptors": values[:, np.newaxis]},
        {"descriptors": feature_spec},
    )


def from_spectrograms(path: Path, names: Sequence[str], real_music: Path) -> Collection:
    """Reads recovered spectrograms and converts them to the frame rates of the models.

    Each spectrogram is scaled to its own range and has a third of the frames, so this is only an
    approximation:
    `log_mel` is interpolated in time, `mfcc` its cosine transform, and `music_mel` is mapped to
    96 bands whose values are made to be distributed as those of real sound are.

    Args:
      path: The `.npz` with `log_mel` uint8 [tracks, frames, 128] and `track_id`.
      names: Names of the required features.
      real_music: Folder of real tracks, which give the distribution of `music_mel`.

    Raises:
      UserError: The file has no such spectrograms, or cannot give a required feature.
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
        collected = from_audio(real_music, ["music_mel"])
        real = np.concatenate(
            [
                matrix[: of_sound[0]]
                for matrix, of_sound in zip(
                    collected.matrices["music_mel"], collected.frames["music_mel"], strict=True
                )
            ]
        )
        matrices["music_mel"] = _as_music_mel(pictures, real, features["music_mel"])
    return Collection.of_whole_clips(
        "recovered spectrograms",
        track_ids,
        labels_of(track_ids),
        {name: matrices[name] for name in names},
        features,
    )


def labels_of(track_ids: Sequence[str]) -> np.ndarray:
    """Label of each track, from its name: int64 [tracks].

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


def _as_music_mel(pictures: np.ndarray, real: np.ndarray, feature_spec: Feature) -> np.ndarray:
    """Maps [tracks, frames, 128] pictures to the bands, rate and values of `real` [frames, 96].

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
    nearest = ((np.arange(feature_spec.frames_per_clip) + 0.5) * pictures.shape[1]).astype(np.int64)
    nearest //= feature_spec.frames_per_clip
    bands = pictures[..., below] * (1.0 - share) + pictures[..., below + 1] * share
    # The pictures hold whole numbers: without noise many quantiles would coincide.
    bands += np.random.default_rng(0).uniform(-0.5, 0.5, bands.shape).astype(np.float32)
    mapped = np.empty_like(bands)
    for band in range(MUSIC_MEL_BINS):
        real_quantiles = np.quantile(real[..., band], _QUANTILES)
        picture_quantiles = np.quantile(bands[..., band], _QUANTILES)
        mapped[..., band] = np.interp(bands[..., band], picture_quantiles, real_quantiles)
    return mapped[:, nearest]
