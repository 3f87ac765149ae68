"""A model's answers for the tracks of a split, in a file that later nodes read."""

import dataclasses
import io
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np
from tfx.dsl.io import fileio

# Names of files: the test tracks as they are, and the validation tracks.
CLEAN, VALIDATION = "clean", "validation"


class AnswersError(ValueError):
    """A file of answers is missing or is not what `write` writes; the text names the file."""


@dataclasses.dataclass(frozen=True, eq=False)
class TrackAnswers:
    """A model's probabilities for tracks, sorted by track id.

    A track that could not be answered (its deformation failed, or the model gave no numbers) has
    NaN as probabilities: it stays in the list, and no figure over the list is a number unless
    whoever computes it says what such a track counts for.

    Attributes:
      track_ids: Ids of the tracks.
      labels: int64 [tracks].
      probabilities: float32 [tracks, genres], as served.
      window_probabilities: float32 [tracks, windows, genres], zeros where a window does not count;
        [tracks, 0, genres] if unknown.
      counts: bool [tracks, windows], true for windows that count.
      contents: Content hash of each track, "" if unknown.
      clips: Clips that a track has room for; its windows are those of its clips, end to end.
      temperature: T that the probabilities are scaled by; 1 for the network's own, or if unknown.
    """

    track_ids: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    window_probabilities: np.ndarray
    counts: np.ndarray
    contents: tuple[str, ...]
    clips: int = 1
    temperature: float = 1.0

    @property
    def answered(self) -> np.ndarray:
        """Which tracks have an answer, i.e. finite probabilities: bool [tracks]."""
        return np.isfinite(self.probabilities).all(axis=1)

    @property
    def predictions(self) -> np.ndarray:
        """The most probable genre of each track, int64 [tracks]; -1 for one without an answer.

        Compared with `labels`, a track without an answer is wrong.
        """
        probabilities = np.where(self.answered[:, np.newaxis], self.probabilities, 0.0)
        return np.where(self.answered, probabilities.argmax(axis=1), -1).astype(np.int64)


def in_order(
    track_ids: Sequence[str],
    labels: np.ndarray,
    probabilities: np.ndarray,
    *,
    window_probabilities: np.ndarray | None = None,
    counts: np.ndarray | None = None,
    contents: Sequence[str] = (),
    clips: int = 1,
    temperature: float = 1.0,
) -> TrackAnswers:
    """Checks answers, sorts them by track id and sets windows that do not count to zero.

    Args:
      track_ids: Ids of the tracks, each once.
      labels: int [tracks].
      probabilities: float [tracks, genres]; NaN for a track without an answer.
      window_probabilities: float [tracks, windows, genres]; None if unknown.
      counts: bool [tracks, windows]; None if unknown.
      contents: Content hash of each track; none if unknown.
      clips: Clips that a track has room for.
      temperature: T that the probabilities are scaled by.

    Raises:
      ValueError: A track id is there twice, or shapes do not match.
    """
    labels = np.asarray(labels, np.int64)
    probabilities = np.asarray(probabilities, np.float32)
    tracks = len(track_ids)
    genres = probabilities.shape[-1]
    if window_probabilities is None or counts is None:
        window_probabilities = np.zeros((tracks, 0, genres), np.float32)
        counts = np.zeros((tracks, 0), bool)
    contents = tuple(contents) or ("",) * tracks
    windows = np.asarray(window_probabilities, np.float32)
    counts = np.asarray(counts, bool)
    expected = ((tracks,), (tracks, genres), (*counts.shape, genres), tracks)
    received = (labels.shape, probabilities.shape, windows.shape, len(contents))
    if expected != received or counts.ndim != 2 or len(counts) != tracks:
        raise ValueError(
            f"answers of {tracks} tracks need labels, probabilities, window probabilities and "
            f"contents of {tracks} rows. Received: {received}"
        )
    if len(set(track_ids)) != tracks:
        raise ValueError(f"a track id is there twice. Received: {sorted(track_ids)}")
    order = np.argsort(np.array(track_ids, dtype=object), kind="stable")
    return TrackAnswers(
        track_ids=tuple(track_ids[index] for index in order),
        labels=labels[order],
        probabilities=probabilities[order],
        window_probabilities=np.where(counts[..., np.newaxis], windows, np.float32(0.0))[order],
        counts=counts[order],
        contents=tuple(contents[index] for index in order),
        clips=clips,
        temperature=temperature,
    )


def write(folder: str, name: str, answers: TrackAnswers) -> None:
    """Writes `<folder>/<name>.npz`; the folder may be in an object store.

    Its arrays: `track_id` [tracks], `label` int64 [tracks], `probabilities` float32
    [tracks, genres], `window_probabilities` float32 [tracks, windows, genres], `counts` bool
    [tracks, windows], `content` [tracks], `clips` int64 [] and `temperature` float64 [].
    """
    content = io.BytesIO()
    np.savez_compressed(
        content,
        track_id=np.array(answers.track_ids, dtype=np.str_),
        label=answers.labels,
        probabilities=answers.probabilities,
        window_probabilities=answers.window_probabilities,
        counts=answers.counts,
        content=np.array(answers.contents, dtype=np.str_),
        clips=np.int64(answers.clips),
        temperature=np.float64(answers.temperature),
    )
    fileio.makedirs(folder)
    with fileio.open(f"{folder}/{name}.npz", "wb") as file:
        file.write(content.getvalue())


def read(folder: str, name: str) -> TrackAnswers:
    """Reads what `write` wrote.

    Raises:
      AnswersError: The file is missing, broken or holds something else.
    """
    path = f"{folder}/{name}.npz"
    if not fileio.exists(path):
        raise AnswersError(f"{path} is missing: the model was not asked about these tracks")
    with fileio.open(path, "rb") as file:
        content = io.BytesIO(file.read())
    try:
        with np.load(content) as arrays:
            return in_order(
                [str(track) for track in arrays["track_id"]],
                arrays["label"],
                arrays["probabilities"],
                window_probabilities=arrays["window_probabilities"],
                counts=arrays["counts"],
                contents=[str(content_hash) for content_hash in arrays["content"]],
                clips=int(arrays["clips"]),
                temperature=float(arrays["temperature"]),
            )
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, OSError, EOFError) as error:
        raise AnswersError(f"{path} is no file of answers: {error}") from error
