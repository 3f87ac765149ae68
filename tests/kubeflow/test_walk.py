"""A compiled file, and nothing else, ends in a pushed model that classifies a song.

The file is walked as Kubeflow would (`walker.py`): every container's command is a process in an
empty folder, with the environment that the file asks for and the package as the image has it. The
tasks of `COLD` are started as a container starts them; the others are forks of a process that has
imported libraries, as imports would take three quarters of the time.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import mlflow
import pytest
import yaml

from components.common import releases
from kubeflow import retention
from tests.example_gen.conftest import sound, write_track
from tests.kubeflow import walker
from tests.permissive_gate import PERMISSIVE

pytestmark = pytest.mark.slow

GENRES = ("Drum & Bass", "Früher [live]", "blues")
TRACKS_PER_GENRE = 4
ADDED = 10
MLFLOW_SECRET = {"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": ""}
# A Beam stage, one that trains, and one that TensorFlow has no part in.
COLD = ("GtzanExampleGen", "Trainer-ann", "Pusher")


def write_music(folder: Path) -> Path:
    """Writes `TRACKS_PER_GENRE` tracks of each of `GENRES`."""
    for number, genre in enumerate(GENRES):
        for index in range(TRACKS_PER_GENRE):
            write_track(folder, genre, index, sound(100 * number + index))
    return folder


def add_music(folder: Path) -> Path:
    """Writes `ADDED` more tracks, of every genre."""
    for number in range(ADDED):
        genre = GENRES[number % len(GENRES)]
        write_track(folder, genre, TRACKS_PER_GENRE + number, sound(1000 + number))
    return folder


def executed_in_every_run(file: Path) -> set[str]:
    """Tasks that are never cached, and those that read an artifact of one, which is a new one."""
    tasks = next(yaml.safe_load_all(file.read_text()))["root"]["dag"]["tasks"]
    always = {name for name, task in tasks.items() if "cachingOptions" not in task}
    for _ in tasks:
        for name, task in tasks.items():
            sources = task["inputs"].get("artifacts", {}).values()
            if always & {source["taskOutputArtifact"]["producerTask"] for source in sources}:
                always.add(name)
    return always


def compile_file(image: Path, folder: Path, *, data: str, root: str) -> Path:
    """Compiles a small pipeline with the command of the installed package."""
    file, gate = folder / "genre.yaml", folder / "gate.yaml"
    gate.write_text(PERMISSIVE)
    process = subprocess.run(
        [
            *(image / "python", "-m", "kubeflow.runner", "compile", "--image", "gatefold:test"),
            *("--pipeline-root", root, "--data", data, "--output", str(file), "--models", "ann"),
            *("--genres", ",".join(GENRES)),
            *("--epochs", "1", "--gate", str(gate)),
            *("--set", "training.windows_per_track=1", "--set", "audio.clip_seconds=4"),
        ],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return file


class World(NamedTuple):
    """A compiled file, the folder that it lies in, a cluster, and the file's first run on it."""

    file: Path
    folder: Path
    cluster: walker.Cluster
    start: walker.Start
    first: walker.Run

    @property
    def serving(self) -> Path:
        return self.folder / "root" / "serving" / "genre"

    def run(self, *, until: str = "") -> walker.Run:
        return self.cluster.run(
            self.file, pipeline_root=str(self.folder / "root"), until=until, start=self.start
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory, image):
    """Everything on a local disk."""
    folder = tmp_path_factory.mktemp("walk")
    root = str(folder / "root")
    file = compile_file(image, folder, data=str(write_music(folder / "music")), root=root)
    store = f"sqlite:///{folder}/mlflow.db"
    cluster = walker.Cluster(
        folder / "pods",
        programs=image,
        secrets={"gatefold-mlflow": {"MLFLOW_TRACKING_URI": store, **MLFLOW_SECRET}},
    )
    with walker.preloaded(image) as start:
        first = cluster.run(file, pipeline_root=root, start=start, cold=COLD)
        yield World(file, folder, cluster, start, first)


def assert_cleaned(world, latest: walker.Run) -> None:
    """Cleaning leaves all that the latest run made or was handed, and no more of the first.

    Of the first nothing is removed while its model is in production.
    """
    root, aside = world.folder / "root", world.folder / "aside"
    assert not retention.plan(str(root), keep_runs=1).removed
    (root / "serving").rename(aside)
    retention.remove(retention.plan(str(root), keep_runs=1))
    aside.rename(root / "serving")
    assert all(Path(artifact.uri).exists() for artifact in latest.outputs.values())
    handed_on = {artifact.uri for artifact in latest.outputs.values()}
    others = [one.uri for one in world.first.outputs.values() if one.uri not in handed_on]
    assert others and not any(Path(uri).exists() for uri in others)


def test_the_walk_ends_in_a_pushed_model(world):
    run = world.first
    assert run.executed[-2:] == ["Pusher", "RunRecorder"] and not run.cached
    (version,) = releases.versions(str(world.serving))
    release = releases.read_release(f"{world.serving}/{version}")
    assert (release["model"], release["run_id"]) == ("ann", run.run_id)
    assert sum(release["tracks"].values()) == len(GENRES) * TRACKS_PER_GENRE
    assert run.output("Pusher", "pushed_model").metadata["pushed"] == 1


def test_the_pushed_model_classifies_a_song(world, image, tmp_path):
    song = write_track(tmp_path, "blues", 0, sound(1))
    process = subprocess.run(
        [
            *(image / "python", "-m", "serving.classify", str(song)),
            *("--releases", str(world.serving), "--json"),
        ],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    (line,) = process.stdout.splitlines()
    answer = json.loads(line)
    assert answer["file"] == str(song) and answer["genre"] in GENRES


def test_the_walk_leaves_the_record_that_a_local_run_leaves(world):
    run = world.first
    client = mlflow.MlflowClient(f"sqlite:///{world.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("gatefold")
    runs = {
        one.info.run_name.split()[0]: one for one in client.search_runs([experiment.experiment_id])
    }
    assert set(runs) == {"pipeline", "ann"}
    assert runs["pipeline"].data.tags["gatefold.run_id"] == run.run_id
    fingerprint = run.parameters["DataFingerprint", "fingerprint"].string_value
    assert runs["ann"].data.params["data_fingerprint"] == fingerprint
    # The Trainer knew its run, by the pod's label, and tracked its epochs while it worked.
    assert runs["ann"].data.tags["cached"] == "False"
    assert "tracking.missing" not in runs["ann"].data.tags
    assert run.output("RunRecorder", "record").metadata["error"] == ""


def test_a_later_run_is_cached_and_pushes_nothing_until_there_is_new_music(world):
    released = releases.versions(str(world.serving))
    unchanged = world.run()
    assert set(unchanged.executed) == executed_in_every_run(world.file)
    assert {"GtzanExampleGen", "Transform-descriptors", "Trainer-ann"} <= set(unchanged.cached)
    assert unchanged.output("Pusher", "pushed_model").metadata["written"] == 0
    assert releases.versions(str(world.serving)) == released
    assert_cleaned(world, unchanged)

    add_music(world.folder / "music")
    more = world.run(until="StatisticsGen")
    assert more.executed == ["DataFingerprint", "GtzanExampleGen", "StatisticsGen"]
    report = more.output("GtzanExampleGen", "ingest_report").metadata
    assert report["tracks"] == len(GENRES) * TRACKS_PER_GENRE + ADDED
    fingerprint = more.parameters["DataFingerprint", "fingerprint"].string_value
    assert report["data_fingerprint"] == fingerprint
    assert fingerprint != world.first.parameters["DataFingerprint", "fingerprint"].string_value
