"""The model in production: the newest version in the serving folder, and its answers.

Read by the gate itself, because Kubeflow Pipelines has no resolver and the serving folder is no
artifact. A version that cannot be read, or that was altered, is a problem with a sentence, and not
an empty comparison.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tfx.dsl.io import fileio

from components.common import answers, files, raw_examples, releases
from components.common.answers import TrackAnswers
from components.common.raw_examples import RawTrack

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
      version: Its number.
      path: Its folder.
      model: Name of the model, "" if it does not say.
      checksum: Of the model's files, as the version states them.
      genres: Names in label order; empty if it has none.
      training: Content hashes of the tracks that it was trained on; None if it does not say.
      problem: Why it cannot be asked, as one sentence; "" if it can.
    """

    version: int
    path: str
    model: str = ""
    checksum: str = ""
    genres: tuple[str, ...] = ()
    training: frozenset[str] | None = None
    problem: str = ""


def newest(base: str) -> Production | None:
    """Reads what the newest version in a serving folder says of itself; None without a version.

    A version without `release.json` is taken as it is: its checksum is that of its files.
    """
    base = base.rstrip("/")
    version = releases.newest_version(base)
    if version is None:
        return None
    path = f"{base}/{version}"
    production = Production(version, path, problem=f"version {version} in {base} cannot be read")
    try:
        release = releases.read_release(path)
        present = releases.checksums(path)
        stated = release.get("files")
        model_files: Mapping[str, str] = stated if isinstance(stated, dict) and stated else present
        altered = sorted(name for name in model_files if present.get(name) != model_files[name])
        production = dataclasses.replace(
            production,
            model=str(release.get("model", "")),
            checksum=releases.model_checksum(model_files),
            genres=_lines(f"{path}/{_GENRES_FILE}") or (),
            training=_training(path),
        )
        if altered:
            problem = f"version {version} was altered: {altered[0]} is not what was released"
        elif _MODEL_FILE not in model_files:
            problem = f"version {version} has no {_MODEL_FILE}"
        elif not production.genres:
            problem = f"version {version} does not say its genres ({_GENRES_FILE})"
        else:
            problem = ""
        return dataclasses.replace(production, problem=problem)
    except (OSError, ValueError, tf.errors.OpError) as error:
        return dataclasses.replace(
            production, problem=f"{production.problem}: {_first_line(error)}"
        )


def checksum(model: str) -> str:
    """The checksum of a candidate's SavedModel, comparable with `Production.checksum`."""
    return releases.model_checksum(releases.checksums(model))


def client_signatures(model: str) -> dict[str, Any]:
    """The signatures that clients call: those that give probabilities.

    Read from the file, without loading the model.

    Returns:
      By the signature's name, its inputs and outputs, each a type and a shape by name.

    Raises:
      ValueError: The file is no SavedModel.
    """
    saved = saved_model_pb2.SavedModel()
    with fileio.open(f"{model}/{_MODEL_FILE}", "rb") as file:
        content = file.read()
    try:
        saved.ParseFromString(content)
    except Exception as error:  # protobuf's error class depends on its implementation
        raise ValueError(f"{model}/{_MODEL_FILE} is no SavedModel") from error
    signatures = {}
    for graph in saved.meta_graphs:
        for name, signature in graph.signature_def.items():
            if _OUTPUT in signature.outputs:
                signatures[name] = tuple(map(_tensors, (signature.inputs, signature.outputs)))
    return signatures


def incompatible(production: Production, model: str, genres: Sequence[str]) -> str:
    """Why a candidate cannot replace production without notice, as one sentence; "" if it can.

    Clients of production would meet other genres, or a signature that is gone or has changed.

    Args:
      production: Readable.
      model: Folder of the candidate's SavedModel.
      genres: The candidate's, in label order.
    """
    version = f"version {production.version}"
    if set(production.genres) != set(genres):
        gone = sorted(set(production.genres) - set(genres))
        new = sorted(set(genres) - set(production.genres))
        changes = [f"without {', '.join(gone)}"] * bool(gone) + [f"new {', '.join(new)}"] * bool(
            new
        )
        return f"the genres are not those of {version}: {'; '.join(changes)}"
    if tuple(production.genres) != tuple(genres):
        return f"the genres are in another order than those of {version}"
    ours, theirs = client_signatures(model), client_signatures(production.path)
    gone = sorted(name for name in theirs if ours.get(name) != theirs[name])
    if gone:
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
    places = {genre: index for index, genre in enumerate(genres)}
    tracks: list[RawTrack] = []
    rows: list[np.ndarray] = []
    batch: list[bytes] = []

    def answer() -> None:
        if batch:
            outputs = classify(**{_INPUT: tf.constant(batch)})
            rows.append(outputs[_OUTPUT].numpy())
            batch.clear()

    for record in raw_examples.records(raw_examples.split_files(examples, TEST_SPLIT)):
        track = RawTrack.parse(record)
        if production.training and track.content in production.training:
            continue
        # Only what it says of itself is kept: the sound of a whole split is large.
        tracks.append(dataclasses.replace(track, audio=b""))
        batch.append(record)
        if len(batch) == _BATCH:
            answer()
    answer()
    return answers.in_order(
        [track.track_id for track in tracks],
        np.array([places[track.genre] for track in tracks], np.int64),
        np.concatenate(rows) if rows else np.zeros((0, len(genres)), np.float32),
        contents=[track.content for track in tracks],
    )


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


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:300]
