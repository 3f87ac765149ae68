"""Asks a model about tracks, in batches of equal length, and keeps what it answers.

A track that cannot be answered stays in the list, with NaN as probabilities, and the reason is
kept: nothing that goes wrong with one track costs another, and nothing is dropped.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf

from components.common import answers
from components.common.answers import TrackAnswers
from components.common.raw_examples import RawTrack
from components.predictions.classifier import Outputs

# Samples of sound in one call: two clips of 30 s at 22 050 Hz. Larger batches save little time and
# take memory: musicnn needs 0.5 s of a processor for one clip (0.9 GB), and 0.4 s for each of eight
# together (3.1 GB).
BATCH_SAMPLES = 2 * 661_500

# Lines of TensorFlow's errors that say where, not what.
_PLACES = ("Graph execution error:", "Detected at node", "<stack traces", "[[{{node", "File ")

Ask = Callable[[np.ndarray], Outputs]


@dataclasses.dataclass(frozen=True)
class Answered:
    """A model's answers for some tracks.

    Attributes:
      answers: One for each track.
      failures: Reasons by track id, of tracks without an answer.
    """

    answers: TrackAnswers
    failures: dict[str, str]


def ask_about(
    tracks: Iterable[RawTrack],
    ask: Ask,
    genres: tuple[str, ...],
    *,
    advance: Callable[[int], None] = lambda tracks: None,
) -> Answered:
    """Asks a model about tracks.

    Args:
      tracks: The tracks; they are read one by one.
      ask: Classifies a batch of sounds, float32 [batch, samples].
      genres: Names in label order.
      advance: Is told the number of tracks of each finished call.

    Raises:
      ValueError: A track's genre is none of the model's.
    """
    labels: dict[str, int] = {}
    contents: dict[str, str] = {}
    outputs: dict[str, Outputs] = {}  # of one track each, [1, …]
    failures: dict[str, str] = {}
    for batch in _batches(tracks):
        for track in batch:
            if track.genre not in genres:
                raise ValueError(
                    f"{track.track_id} is of a genre that the model does not know. "
                    f"Received: {track.genre!r}, of {genres}"
                )
            labels[track.track_id] = genres.index(track.genre)
            contents[track.track_id] = track.content
        for track_id, answer in _answers(batch, ask):
            if isinstance(answer, str):
                failures[track_id] = answer
            else:
                outputs[track_id] = answer
        advance(len(batch))
    return Answered(_gather(labels, contents, outputs, len(genres)), dict(sorted(failures.items())))


def _batches(tracks: Iterable[RawTrack]) -> Iterator[list[RawTrack]]:
    """Joins tracks that follow each other and are of equal length, up to `BATCH_SAMPLES`.

    A longer one, or one without sound, is a batch of its own.
    """
    batch: list[RawTrack] = []
    for track in tracks:
        if batch:
            same_length = len(track.audio) == len(batch[0].audio)
            full = (len(batch) + 1) * len(track.audio) > 2 * BATCH_SAMPLES  # 16 bits each
            if full or not same_length or track.failure or batch[0].failure:
                yield batch
                batch = []
        batch.append(track)
    if batch:
        yield batch


def _answers(batch: list[RawTrack], ask: Ask) -> list[tuple[str, Outputs | str]]:
    """Each track's answer, or why it has none; one that the model refuses costs no other."""
    if batch[0].failure:
        return [(batch[0].track_id, batch[0].failure)]
    try:
        outputs = ask(np.stack([track.samples for track in batch]))
    except tf.errors.OpError as error:
        if len(batch) > 1:
            return [answer for track in batch for answer in _answers([track], ask)]
        return [(batch[0].track_id, f"the model refuses it: {_sentence(error)}")]
    return [
        (
            track.track_id,
            _checked(
                Outputs(
                    outputs.probabilities[row : row + 1],
                    outputs.window_probabilities[row : row + 1],
                )
            ),
        )
        for row, track in enumerate(batch)
    ]


def _checked(outputs: Outputs) -> Outputs | str:
    finite = (
        np.isfinite(outputs.probabilities).all() and np.isfinite(outputs.window_probabilities).all()
    )
    return outputs if finite else "the model's answer is not a number"


def _sentence(error: tf.errors.OpError) -> str:
    """The first line of TensorFlow's message that says what is wrong."""
    lines = [line.strip() for line in error.message.splitlines()]
    telling = [line for line in lines if line and not line.startswith(_PLACES)]
    return telling[0] if telling else type(error).__name__


def _gather(
    labels: dict[str, int], contents: dict[str, str], outputs: dict[str, Outputs], genres: int
) -> TrackAnswers:
    windows = max((each.window_probabilities.shape[1] for each in outputs.values()), default=0)
    probabilities = np.full((len(labels), genres), np.nan, np.float32)
    window_probabilities = np.zeros((len(labels), windows, genres), np.float32)
    counts = np.zeros((len(labels), windows), bool)
    for row, track_id in enumerate(labels):
        if track_id in outputs:
            answer = outputs[track_id]
            count = answer.window_probabilities.shape[1]
            probabilities[row] = answer.probabilities[0]
            window_probabilities[row, :count] = answer.window_probabilities[0]
            counts[row, :count] = True
    return answers.in_order(
        list(labels),
        np.array(list(labels.values())),
        probabilities,
        window_probabilities=window_probabilities,
        counts=counts,
        contents=list(contents.values()),
    )
