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

# Samples of sound in one call (two clips of 30 s at 22 050 Hz), and in all that wait for more
# tracks of their length; as float32 they take 5 and 85 MB. Larger batches save little time and take
# memory: musicnn needs 0.5 s of a processor for a clip alone (0.9 GB), and 0.4 s for each of eight
# together (3.1 GB).
BATCH_SAMPLES = 2 * 661_500
WAITING_SAMPLES = 32 * 661_500

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
    outputs: dict[str, Outputs] = {}  # of one track each, [1, …]
    failures: dict[str, str] = {}
    labels: dict[str, int] = {}
    contents: dict[str, str] = {}

    def sounds() -> Iterator[tuple[str, np.ndarray]]:
        for track in tracks:
            if track.genre not in genres:
                raise ValueError(
                    f"{track.track_id} is of a genre that the model does not know. "
                    f"Received: {track.genre!r}, of {genres}"
                )
            labels[track.track_id] = genres.index(track.genre)
            contents[track.track_id] = track.content
            if track.failure:
                failures[track.track_id] = track.failure
                advance(1)
            else:
                yield track.track_id, track.samples

    for batch in batches(sounds()):
        for track_id, answer in _answers(batch, ask):
            if isinstance(answer, str):
                failures[track_id] = answer
            else:
                outputs[track_id] = answer
        advance(len(batch))
    return Answered(_gather(labels, contents, outputs, len(genres)), dict(sorted(failures.items())))


def batches(
    sounds: Iterable[tuple[str, np.ndarray]],
    *,
    batch_samples: int = BATCH_SAMPLES,
    waiting_samples: int = WAITING_SAMPLES,
) -> Iterator[list[tuple[str, np.ndarray]]]:
    """Groups sounds of equal length, within bounds of memory.

    Args:
      sounds: Pairs of a track id and its samples.
      batch_samples: Most samples in a batch; a longer sound is a batch of its own.
      waiting_samples: Most samples that wait for others of their length. Above it the largest
        group goes first, though its batch is not full.

    Yields:
      Batches whose sounds are of one length.
    """
    groups: dict[int, list[tuple[str, np.ndarray]]] = {}
    waiting = 0
    for track_id, samples in sounds:
        length = len(samples)
        group = groups.setdefault(length, [])
        group.append((track_id, samples))
        waiting += length
        if (len(group) + 1) * length > batch_samples:
            waiting -= len(group) * length
            yield groups.pop(length)
        elif waiting > waiting_samples:
            largest = max(groups, key=lambda size: size * len(groups[size]))
            waiting -= largest * len(groups[largest])
            yield groups.pop(largest)
    yield from groups.values()


def _answers(batch: list[tuple[str, np.ndarray]], ask: Ask) -> list[tuple[str, Outputs | str]]:
    """Each track's answer, or why it has none; one that the model refuses costs no other."""
    try:
        outputs = ask(np.stack([samples for _, samples in batch]))
    except tf.errors.OpError as error:
        if len(batch) > 1:
            return [answer for track in batch for answer in _answers([track], ask)]
        return [(batch[0][0], f"the model refuses it: {_sentence(error)}")]
    return [
        (
            track_id,
            _checked(
                Outputs(
                    outputs.probabilities[row : row + 1],
                    outputs.window_probabilities[row : row + 1],
                )
            ),
        )
        for row, (track_id, _) in enumerate(batch)
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
    track_ids = sorted(labels)
    windows = max((each.window_probabilities.shape[1] for each in outputs.values()), default=0)
    probabilities = np.full((len(track_ids), genres), np.nan, np.float32)
    window_probabilities = np.zeros((len(track_ids), windows, genres), np.float32)
    counts = np.zeros((len(track_ids), windows), bool)
    for row, track_id in enumerate(track_ids):
        if track_id in outputs:
            answer = outputs[track_id]
            count = answer.window_probabilities.shape[1]
            probabilities[row] = answer.probabilities[0]
            window_probabilities[row, :count] = answer.window_probabilities[0]
            counts[row, :count] = True
    return answers.in_order(
        track_ids,
        np.array([labels[track_id] for track_id in track_ids]),
        probabilities,
        window_probabilities=window_probabilities,
        counts=counts,
        contents=[contents[track_id] for track_id in track_ids],
    )
