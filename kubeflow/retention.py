"""Finds and removes artifacts that no run to be kept needs, below one pipeline root.

    <pipeline root>/gatefold/<run>/<task>/<execution>/…    artifacts, and `lineage.json` (`lineage`)
    <pipeline root>/retired/<hash of music>                music whose results were removed
    <pipeline root>/serving/<model>/<version>/…            what was pushed; never touched

A run needs its own artifacts, those that its tasks read, and so on to the first. Kubeflow's cache
would go on handing on what is removed here if the music came back to what it was, so that music
gets another fingerprint first.
"""

import dataclasses
import itertools
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from components.common import files, lineage, storage
from components.common.lineage import LINEAGE_FILE, RETIRED_FOLDER, Task
from components.common.releases import ReleaseStore
from pipeline.config import PipelineConfig


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is removed.

    Attributes:
      root: The pipeline root.
      kept: Ids of the runs that are kept whole, the newest first.
      removed: Paths of files by the folder of the execution that made them.
      retired: Hashes of the music from which nothing is left then.
      unknown: How many folders stay because they hold no `lineage.json`.
    """

    root: str
    kept: tuple[str, ...]
    removed: Mapping[str, tuple[str, ...]]
    retired: frozenset[str]
    unknown: int

    def lines(self) -> Iterator[str]:
        """What is removed and what stays, for people."""
        for run, group in itertools.groupby(sorted(self.removed), key=_run):
            places = list(group)
            count = sum(len(self.removed[place]) for place in places)
            names = ", ".join(place.split("/")[-2] for place in places)
            yield f"run {run.rpartition('/')[2]}: {count} files of {names}"
        if self.unknown:
            yield f"{self.unknown} folders stay: no {LINEAGE_FILE} says what they are"
        yield f"kept: {', '.join(self.kept) or 'no run'}, and what these runs need"


def plan(root: str, *, keep_runs: int) -> Plan:
    """Finds what can be removed.

    Kept are the newest complete runs, all runs that began after the oldest of them, and the runs
    whose models are in production.

    Args:
      root: The pipeline root; a folder, s3:// or gs://.
      keep_runs: How many complete runs to keep.
    """
    if storage.is_remote(root):
        storage.open_object_stores(root)
    folder = f"{root}/{PipelineConfig.name}"
    contents: dict[str, list[str]] = {}
    for name in files.files_below(folder) if files.exists(folder) else ():
        parts = name.split("/")
        if len(parts) > 3:  # a run, a task, an execution, and a file
            contents.setdefault("/".join([folder, *parts[:3]]), []).append(f"{folder}/{name}")
    tasks = {
        place: task
        for place, paths in contents.items()
        if f"{place}/{LINEAGE_FILE}" in paths and (task := lineage.read(place))
    }
    kept = _kept_runs(folder, tasks, contents, keep_runs, _runs_in_production(root))
    needed = _needed(folder, tasks, [place for place in contents if _run(place) in kept])
    removed = {place: tuple(contents[place]) for place in tasks if place not in needed}
    music = {place: lineage.music_of(task.data_fingerprint) for place, task in tasks.items()}
    left = {music[place] for place in tasks if place in needed}
    return Plan(
        root,
        tuple(run.rpartition("/")[2] for run in kept),
        removed,
        frozenset(music[place] for place in removed) - left - {""},
        len(contents.keys() - tasks.keys()),
    )


def retire(removal: Plan) -> None:
    """Makes the cache forget the music from which nothing is left; before `remove`."""
    for music in removal.retired:
        lineage.retire(music, f"{removal.root}/{RETIRED_FOLDER}")


def remove(removal: Plan) -> None:
    """Removes the files; if it is interrupted, the next plan finds those that are left."""
    for place, paths in removal.removed.items():
        # The file that says what a folder is comes last.
        for path in sorted(paths, key=lambda path: path.endswith(f"/{LINEAGE_FILE}")):
            files.remove(path)
        if not storage.is_remote(place):
            shutil.rmtree(place)
            _remove_empty(Path(place).parent)


def _run(place: str) -> str:
    """The folder of a task's run."""
    return place.rsplit("/", 2)[0]


def _kept_runs(
    folder: str,
    tasks: Mapping[str, Task],
    contents: Mapping[str, Iterable[str]],
    keep_runs: int,
    in_production: Iterable[str],
) -> list[str]:
    started: dict[str, str] = {}
    for place, task in tasks.items():
        run = _run(place)
        started[run] = min(task.started, started.get(run, task.started))
    complete = {
        _run(place)
        for place, paths in contents.items()
        if any(path.endswith(lineage.LAST_FILE) for path in paths)
    }
    kept: list[str] = []
    for run in sorted(started, key=lambda run: started[run], reverse=True):
        if len(complete.intersection(kept)) == keep_runs:
            break
        kept.append(run)
    return list(dict.fromkeys([*kept, *(f"{folder}/{run}" for run in in_production)]))


def _needed(folder: str, tasks: Mapping[str, Task], places: Iterable[str]) -> set[str]:
    """The folders of these executions, of those that made their inputs, and so on.

    And of those that were made of these alone and that no other execution read, as
    ExampleValidator's: a run that was handed their results by the cache leaves no trace of it.
    """
    sources = {place: set(_sources(folder, task)) for place, task in tasks.items()}
    others = {place for place in tasks if sources[place] and not tasks[place].run_id}
    needed: set[str] = set()
    pending = list(places)
    while pending:
        place = pending.pop()
        if place not in needed:
            needed.add(place)
            pending += sources.get(place, ())
    readers: dict[str, set[str]] = {place: set() for place in tasks}
    for place in tasks:
        for source in sources[place] & readers.keys():
            readers[source].add(place)
    while True:
        held = needed | others
        closed = {place for place in others if sources[place] | readers[place] <= held}
        if closed == others:
            return held
        others = closed


def _sources(folder: str, task: Task) -> Iterator[str]:
    """The folders of the executions that made a task's inputs."""
    for uri in itertools.chain.from_iterable(task.inputs.values()):
        if uri.startswith(f"{folder}/"):
            parts = uri.removeprefix(f"{folder}/").split("/")
            yield "/".join([folder, *parts[:3]])


def _runs_in_production(root: str) -> list[str]:
    """The runs that made the newest version of each model, and so what is served."""
    serving = f"{root}/serving"
    runs = []
    for model in files.names(serving) if files.exists(serving) else []:
        store = ReleaseStore(f"{serving}/{model}")
        version = store.newest()
        if version is not None:
            runs.append(store.release(version).run_id)
    return [run for run in runs if run]


def _remove_empty(folder: Path) -> None:
    """Removes a task's folder and its run's, where nothing is left in them."""
    for place in (folder, folder.parent):
        if any(place.iterdir()):
            return
        place.rmdir()
