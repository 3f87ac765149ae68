"""What each task of a Kubeflow run read, as `lineage.json` beside its outputs.

    <pipeline root>/gatefold/<run>/<task>/<execution>/lineage.json

Kubeflow's cache hands on artifacts of earlier runs without looking whether they still exist, so a
run's results lie in the folders of several runs. These files say in which; whoever removes old runs
reads them. A local run writes none.
"""

import dataclasses
import datetime
import json
import os
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from components.common import files, foreign_json
from components.common.errors import UserError
from components.common.tracking import RUN_ID_VARIABLE

LINEAGE_FILE = "lineage.json"
RETIRED_FOLDER = "retired"  # below the pipeline root
# How the path of RunRecorder's output ends: it is the last node, so a run with it is complete.
LAST_FILE = "/record/record.json"

_PARAMETERS = ("run_id", "data_fingerprint")


@dataclasses.dataclass(frozen=True)
class Task:
    """A task that was executed.

    Attributes:
      folder: Where its outputs are.
      started: When, in UTC: "2026-11-22T13:50:44.000000+00:00".
      inputs: URIs of the artifacts that it read, by the input's name.
      run_id: The parameter of that name, with which a task is never cached; "" for others.
      data_fingerprint: The parameter of that name; "" for tasks without it.
    """

    folder: str
    started: str
    inputs: Mapping[str, tuple[str, ...]]
    run_id: str
    data_fingerprint: str


def begin(
    input_dict: Mapping[str, Iterable[Any]],
    output_dict: Mapping[str, Iterable[Any]],
    exec_properties: Mapping[str, Any],
) -> None:
    """Checks that a task's inputs exist, and writes its `lineage.json`; only on Kubeflow.

    Args:
      input_dict: The executor's.
      output_dict: The executor's.
      exec_properties: The executor's.

    Raises:
      UserError: An input is gone.
    """
    if not os.environ.get(RUN_ID_VARIABLE):
        return
    inputs = {key: [artifact.uri for artifact in value] for key, value in input_dict.items()}
    for uri in (uri for uris in inputs.values() for uri in uris):
        # An output may be empty, as the model where none was chosen; its task's file is there then.
        if not (files.exists(uri) or files.exists(f"{_parent(uri)}/{LINEAGE_FILE}")):
            raise UserError(
                f"{uri} is gone: Kubeflow's cache handed on what a lifecycle rule or a person has "
                "removed. Compile with another --cache-epoch, which makes everything anew"
            )
    outputs = [artifact.uri for value in output_dict.values() for artifact in value]
    if not outputs:
        return
    content = {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds"),
        "inputs": inputs,
        **{name: exec_properties.get(name) or "" for name in _PARAMETERS},
    }
    files.write(f"{_parent(outputs[0])}/{LINEAGE_FILE}", json.dumps(content, indent=2))


def read(folder: str) -> Task | None:
    """Reads the `lineage.json` in a folder; None if it is none of ours."""
    try:
        path = f"{folder}/{LINEAGE_FILE}"
        content = foreign_json.parse(files.read_bytes(path, foreign_json.MAX_BYTES + 1))
        inputs = {key: tuple(map(str, uris)) for key, uris in content["inputs"].items()}
        parameters = {name: str(content[name]) for name in _PARAMETERS}
        return Task(folder, str(content["started"]), inputs, **parameters)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def retire(music: str, folder: str) -> None:
    """Has `current` answer something else for this music from now on.

    Called before what was made from the music is removed, which the cache would go on handing on.

    Args:
      music: Its hash.
      folder: Where this is noted.
    """
    files.write(f"{folder}/{music}", uuid.uuid4().hex[:8])


def current(music: str, folder: str) -> str:
    """The fingerprint of music for the cache: its hash, and what `retire` noted about it.

    Args:
      music: Hash of the music.
      folder: Where `retire` notes; "" for nowhere.
    """
    if not folder or not files.exists(f"{folder}/{music}"):
        return music
    with files.open_file(f"{folder}/{music}", "r") as file:
        return f"{music}-{file.read()}"


def music_of(data_fingerprint: str) -> str:
    """The hash of the music, which a fingerprint begins with."""
    return data_fingerprint.partition("-")[0]


def _parent(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[0]
