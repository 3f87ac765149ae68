"""A compiled file, and nothing else, ends in a pushed model that classifies a song.

The file is walked as Kubeflow would (`walker.py`), first on the oldest release and then on newer
ones: every container's command is a process in an empty folder, with the environment that the file
asks for and the package as the image has it. So every executor works from what it is given. The
tasks of `COLD` are started as a container starts them; the others are forks of a process that has
imported libraries, as imports would take three quarters of the time.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import mlflow
import pytest
import yaml
from google.protobuf import json_format

from components.common.releases import ReleaseStore
from kubeflow import retention
from tests.example_gen.conftest import sound, write_track
from tests.kubeflow import releases as kubeflow_releases
from tests.kubeflow import walker
from tests.permissive_gate import PERMISSIVE
from tests.serving.browser import chromium, save_picture

pytestmark = pytest.mark.slow

GENRES = ("Drum & Bass", "Früher [live]", "blues")
TRACKS_PER_GENRE = 4
ADDED = 10
MLFLOW_SECRET = {"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": ""}
# A Beam stage, one that trains, and one that TensorFlow has no part in.
COLD = ("gtzanexamplegen", "trainer-ann", "pusher")
MODELS = ("ann", "ann-2", "ensemble")
# TFMA has no thresholds, so it blesses nothing: the gate judges.
UNWRITTEN = {(f"evaluator-{model}", "blessing") for model in MODELS}


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


def compile_file(
    image: Path, folder: Path, *, data: str, root: str, models: tuple[str, ...] = ("ann",)
) -> Path:
    """Compiles a small pipeline with the command of the installed package."""
    file, gate = folder / "genre.yaml", folder / "gate.yaml"
    gate.write_text(PERMISSIVE)
    process = subprocess.run(
        [
            *(image / "python", "-m", "kubeflow.runner", "compile", "--image", "gatefold:test"),
            *("--pipeline-root", root, "--data", data, "--output", str(file), "--no-cluster"),
            *("--models", ",".join(models), "--genres", ",".join(GENRES)),
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
    assert (process.stdout + process.stderr).count("\n") == 1  # and nothing of TensorFlow's
    return file


class World(NamedTuple):
    """A compiled file, the folder that it lies in, a cluster, and the file's first run on it."""

    file: Path
    folder: Path
    cluster: walker.Cluster
    first: walker.Run

    @property
    def serving(self) -> Path:
        return self.folder / "root" / "serving" / "genre"

    def run(self, release: kubeflow_releases.Release, *, until: str = "") -> walker.Run:
        return self.cluster.run(
            self.file,
            pipeline_root=str(self.folder / "root"),
            release=release,
            until=until,
            start=walker.start_warm,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory, image):
    """Everything on a local disk."""
    folder = tmp_path_factory.mktemp("walk")
    root = str(folder / "root")
    music = str(write_music(folder / "music"))
    file = compile_file(image, folder, data=music, root=root, models=MODELS)
    store = f"sqlite:///{folder}/mlflow.db"
    cluster = walker.Cluster(
        folder / "pods",
        programs=image,
        secrets={"gatefold-mlflow": {"MLFLOW_TRACKING_URI": store, **MLFLOW_SECRET}},
    )
    first = cluster.run(file, pipeline_root=root, start=walker.start_warm, cold=COLD)
    return World(file, folder, cluster, first)


def test_every_executor_works_from_what_it_is_given(world):
    run = world.first
    (spec, _) = yaml.safe_load_all(world.file.read_text())
    assert set(run.executed) == set(spec["root"]["dag"]["tasks"]) and not run.cached
    assert len(run.executed) == len(set(run.executed))  # nothing failed at first
    empty = {
        output
        for output, artifact in run.outputs.items()
        if Path(artifact.uri).is_dir() and not list(Path(artifact.uri).iterdir())
    }
    # Nor are there files behind figures: Kubeflow's pages read them from the metadata.
    assert empty == UNWRITTEN | {("releasereport", key) for key in ("accuracy", "confusion_matrix")}


def test_executors_write_metadata_that_kubeflow_hands_on_unchanged(world):
    """It wraps lists and structs, makes numbers of booleans and cannot record null."""
    for (task, key), artifact in world.first.outputs.items():
        if key != "confusion_matrix":  # for its own pages
            for name, value in artifact.metadata.items():
                assert type(value) in (str, float), (task, key, name)


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
    assert run.executed[-2:] == ["pusher", "runrecorder"]
    (version,) = ReleaseStore(str(world.serving)).versions()
    release = ReleaseStore(str(world.serving)).release(version).fields
    assert release["model"] in MODELS and release["run_id"] == run.run_id
    assert sum(release["tracks"].values()) == len(GENRES) * TRACKS_PER_GENRE
    assert run.output("pusher", "pushed_model").metadata["pushed"] == 1


def test_kubeflows_pages_show_the_run(world):
    run = world.first
    report = json.loads(Path(run.output("releasereport", "report").uri, "report.json").read_text())
    accuracies = {
        model: report["models"][model]["figures"]["accuracy"]["value"] for model in MODELS
    }
    assert dict(run.output("releasereport", "accuracy").metadata.items()) == accuracies
    matrix = json_format.MessageToDict(run.output("releasereport", "confusion_matrix").metadata)
    specs, rows = matrix["confusionMatrix"]["annotationSpecs"], matrix["confusionMatrix"]["rows"]
    assert [one["displayName"] for one in specs] == report["genres"]
    assert [row["row"] for row in rows] == report["models"][report["chosen"]]["confusion"]
    card = Path(run.output("releasereport", "model_card").uri)
    assert card.is_file() and "\n# " in card.read_text()


@pytest.mark.parametrize(
    ("task", "key", "heading"),
    [
        ("gtzanexamplegen", "ingest_page", re.compile("^Ingest report")),
        ("releasereport", "release_page", re.compile("may go into production")),
    ],
)
def test_a_page_is_a_single_file_that_a_browser_opens(world, task, key, heading):
    """As in Kubeflow's pages: in a frame, from its text alone."""
    faults = []
    with chromium() as browser:
        page = browser.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: faults.append(request.url))
        page.set_content(Path(world.first.output(task, key).uri).read_text())
        page.get_by_role("heading", name=heading).first.wait_for()
        save_picture(page, f"kubeflow-{key}")
    assert [fault for fault in faults if not fault.startswith("data:")] == []


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
    assert set(runs) == {"pipeline", *MODELS}
    parent = runs.pop("pipeline")
    assert parent.data.tags["gatefold.run_id"] == run.run_id
    assert parent.data.tags["pushed_to"].startswith(str(world.serving))
    fingerprint = run.parameters["datafingerprint", "fingerprint"].string_value
    for model, tracked in runs.items():
        trained = model != "ensemble"
        assert tracked.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert tracked.info.status == "FINISHED"
        assert tracked.data.params["data_fingerprint"] == fingerprint
        # A Trainer knew its run, by the pod's label, and tracked its epochs while it worked.
        assert tracked.data.tags["cached"] == "False"
        assert "tracking.missing" not in tracked.data.tags
        assert bool(client.get_metric_history(tracked.info.run_id, "loss")) == trained
        assert "test_track_accuracy_low" in tracked.data.metrics
        pictures = {file.path for file in client.list_artifacts(tracked.info.run_id)}
        assert pictures == {"confusion_matrix.png"}
    record = run.output("runrecorder", "record")
    content = json.loads(Path(record.uri, "record.json").read_text())
    assert (content["run_id"], content["error"]) == (run.run_id, "")
    assert record.metadata["error"] == ""


def test_a_later_run_is_cached_and_pushes_nothing_until_there_is_new_music(world):
    """Also after Kubeflow was brought up to date, which changes what it hands over."""
    released = ReleaseStore(str(world.serving)).versions()
    unchanged = world.run(kubeflow_releases.NEWEST)
    assert set(unchanged.executed) == executed_in_every_run(world.file)
    assert {"gtzanexamplegen", "transform-descriptors", "trainer-ann"} <= set(unchanged.cached)
    assert unchanged.output("pusher", "pushed_model").metadata["written"] == 0
    assert ReleaseStore(str(world.serving)).versions() == released
    assert_cleaned(world, unchanged)

    add_music(world.folder / "music")
    more = world.run(kubeflow_releases.NEWEST, until="statisticsgen")
    assert more.executed == ["datafingerprint", "gtzanexamplegen", "statisticsgen"]
    report = more.output("gtzanexamplegen", "ingest_report").metadata
    assert report["tracks"] == len(GENRES) * TRACKS_PER_GENRE + ADDED
    fingerprint = more.parameters["datafingerprint", "fingerprint"].string_value
    assert report["data_fingerprint"] == fingerprint
    assert fingerprint != world.first.parameters["datafingerprint", "fingerprint"].string_value
