"""The model in production: the newest version in the serving folder, and its answers.

Read by the gate itself, because Kubeflow Pipelines has no resolver and the serving folder is no
artifact. A version that cannot be read, or that was altered, is a problem with a sentence, and not
an empty comparison.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tfx.dsl.io import fileio

from components.common import answers, files, raw_examples, releases
from components.common.answers import TrackAnswers
from components.common.raw_examples import RawTrack
from components.common.releases import ReleaseStore

# The list is in one file or more, each with this beginning and a suffix.
TRAINING_TRACKS = "training_tracks"
TEST_SPLIT = "test"

_MODEL_FILE = "saved_model.pb"
_GENRES_FILE = "assets/genres.txt"
_SIGNATURE, _INPUT, _OUTPUT = "serving_default", "examples", "probabilities"
_BATCH = 4  # tracks; what one holds in memory stays small


@dataclasses.dataclass(frozen=True)
class Production:
    """The newest version in the serving folder.

    Attributes:
      version: Its number; None if the folder cannot be read.
      path: Its folder.
      model: Name of the model, "" if it does not say.
      checksum: Of the model's files, as the version states them.
      genres: Names in label order; empty if it has none.
      training: Content hashes of the tracks that it was trained on; None if it does not say.
      answers: For the test tracks; None if it was not asked.
      same_as: The candidate that is this very model, or "".
      problem: Why it cannot be compared with, as one sentence; "" if it can.
    """

    version: int | None = None
    path: str = ""
    model: str = ""
    checksum: str = ""
    genres: tuple[str, ...] = ()
    training: frozenset[str] | None = None
    answers: TrackAnswers | None = None
    same_as: str = ""
    problem: str = ""


def newest(base: str) -> Production | None:
    """Reads what the newest version in a serving folder says of itself; None without a version.

    A version without `release.json` is taken as it is: its checksum is that of its files.
    """
    store = ReleaseStore(base)
    version = store.newest()
    if version is None:
        return None
    path = store.folder(version)
    unread = Production(version, path, problem=f"version {version} in {store.base} cannot be read")
    try:
        release = store.release(version)
        present = releases.checksums(path)
        stated: Mapping[str, str] = release.files or present
        unread = dataclasses.replace(
            unread,
            model=release.network,
            checksum=releases.model_checksum(stated),
            genres=_lines(f"{path}/{_GENRES_FILE}") or (),
            training=_training(path),
        )
    except (OSError, ValueError, tf.errors.OpError) as error:
        reason = str(error).partition("\n")[0][:300]
        return dataclasses.replace(unread, problem=f"{unread.problem}: {reason}")
    problem = ""
    if altered := sorted(name for name in stated if present.get(name) != stated[name]):
        problem = f"version {version} was altered: {altered[0]} is not what was released"
    elif _MODEL_FILE not in stated:
        problem = f"version {version} has no {_MODEL_FILE}"
    elif not unread.genres:
        problem = f"version {version} does not say its genres ({_GENRES_FILE})"
    return dataclasses.replace(unread, problem=problem)


def checksum(model: str) -> str:
    """The checksum of a candidate's SavedModel, comparable with `Production.checksum`."""
    return releases.model_checksum(releases.checksums(model))


def incompatible(production: Production, model: str, genres: Sequence[str]) -> str:
    """Why a candidate cannot replace production without notice, as one sentence; "" if it can.

    Clients of production would meet other genres, or a signature that is gone or has changed.

    Args:
      production: Readable.
      model: Folder of the candidate's SavedModel.
      genres: The candidate's, in label order.

    Raises:
      ValueError: One of the two is no SavedModel.
    """
    version = f"version {production.version}"
    if set(production.genres) != set(genres):
        changes = {
            "without": sorted(set(production.genres) - set(genres)),
            "new": sorted(set(genres) - set(production.genres)),
        }
        texts = (f"{word} {', '.join(names)}" for word, names in changes.items() if names)
        return f"the genres are not those of {version}: {'; '.join(texts)}"
    if tuple(production.genres) != tuple(genres):
        return f"the genres are in another order than those of {version}"
    ours, theirs = _client_signatures(model), _client_signatures(production.path)
    if gone := sorted(name for name in theirs if ours.get(name) != theirs[name]):
        return f"the signature {', '.join(gone)} is not that of {version}"
    if _SIGNATURE not in theirs:
        return f"{version} has no signature {_SIGNATURE}, with which it could be asked"
    return ""


def ask(production: Production, examples: str, genres: Sequence[str]) -> TrackAnswers:
    """Asks production about the raw tracks of the test split that it was not trained on.

    Args:
      production: Readable, with the same genres.
      examples: URI of the raw examples.
      genres: Names in label order.

    Raises:
      Exception: Whatever TensorFlow raises for a model that is broken.
    """
    loaded = tf.saved_model.load(production.path)
    classify = loaded.signatures[_SIGNATURE]
    labels = {genre: index for index, genre in enumerate(genres)}
    tracks: list[RawTrack] = []
    rows = [np.zeros((0, len(genres)), np.float32)]
    unseen = _unseen(examples, production.training or frozenset())
    while batch := list(itertools.islice(unseen, _BATCH)):
        outputs = classify(**{_INPUT: tf.constant([record for record, _ in batch])})
        rows.append(outputs[_OUTPUT].numpy())
        # Only what a track says of itself is kept: the sound of a whole split is large.
        tracks += [dataclasses.replace(track, audio=b"") for _, track in batch]
    return answers.in_order(
        [track.track_id for track in tracks],
        np.array([labels[track.genre] for track in tracks], np.int64),
        np.concatenate(rows[1:] or rows),
        contents=[track.content for track in tracks],
    )


def _unseen(examples: str, training: frozenset[str]) -> Iterator[tuple[bytes, RawTrack]]:
    for record in raw_examples.records(raw_examples.split_files(examples, TEST_SPLIT)):
        track = RawTrack.parse(record)
        if track.content not in training:
            yield record, track


def _client_signatures(model: str) -> dict[str, Any]:
    """Inputs and outputs, each a type and a shape by name, of the signatures that clients call.

    Those are the ones that give probabilities. Read from the file, without loading the model.
    """
    saved = saved_model_pb2.SavedModel()
    with fileio.open(f"{model}/{_MODEL_FILE}", "rb") as file:
        content = file.read()
    try:
        saved.ParseFromString(content)
    except Exception as error:  # protobuf's error class depends on its implementation
        raise ValueError(f"{model}/{_MODEL_FILE} is no SavedModel") from error
    return {
        name: (_tensors(signature.inputs), _tensors(signature.outputs))
        for graph in saved.meta_graphs
        for name, signature in graph.signature_def.items()
        if _OUTPUT in signature.outputs
    }


def _tensors(infos: Mapping[str, Any]) -> dict[str, tuple[int, tuple[int, ...]]]:
    return {
        name: (info.dtype, tuple(dimension.size for dimension in info.tensor_shape.dim))
        for name, info in infos.items()
    }


def _training(path: str) -> frozenset[str] | None:
    folder = f"{path}/assets.extra"
    names = files.names(folder) if files.exists(folder) else []
    lists = [_lines(f"{folder}/{name}") for name in names if name.startswith(TRAINING_TRACKS)]
    return frozenset(line for lines in lists for line in lines or ()) if lists else None


def _lines(path: str) -> tuple[str, ...] | None:
    """The lines of a file, without empty ones; None if there is no such file."""
    if not fileio.exists(path):
        return None
    with fileio.open(path, "rb") as file:
        return tuple(line for line in file.read().decode().splitlines() if line)
