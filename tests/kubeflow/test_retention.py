"""`clean` removes what no kept run needs and nothing else, on a folder and on a real S3 server."""

import json

import pytest
from tfx.types import standard_artifacts

from components.common import files, lineage, storage
from kubeflow import retention, runner
from tests.kubeflow.s3_server import BUCKET, s3_server
from tests.kubeflow.test_client import kubeflow_api

OLD_MUSIC, NEW_MUSIC = "a" * 32, "b" * 32


@pytest.fixture(
    params=["folder", pytest.param("s3", marks=[pytest.mark.scale, pytest.mark.slow])],
    scope="module",
)
def store(request, tmp_path_factory):
    """A place for pipeline roots."""
    folder = tmp_path_factory.mktemp("store")
    if request.param == "folder":
        yield str(folder)
        return
    with s3_server(folder) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        storage.open_object_stores(f"s3://{BUCKET}")
        yield f"s3://{BUCKET}"


class Root:
    """A pipeline root; writes what the tasks of runs leave there."""

    def __init__(self, uri: str, monkeypatch) -> None:
        self.uri = uri
        self._monkeypatch = monkeypatch

    def task(self, run: str, name: str, *reads: str, **parameters: str) -> str:
        """Executes a task as a container of Kubeflow does; its output's URI."""
        output = f"{self.uri}/gatefold/{run}/{name}/execution/record"
        self._monkeypatch.setenv("GATEFOLD_RUN_ID", run)
        lineage.begin(
            {"inputs": [artifact(uri) for uri in reads]},
            {"record": [artifact(output)]},
            parameters,
        )
        files.write(f"{output}/record.json" if name == "runrecorder" else f"{output}/data", name)
        return output

    def run(self, run: str, music: str) -> dict[str, str]:
        """A complete run that takes nothing from the cache; its outputs by task."""
        made = {"ingest": self.task(run, "ingest", data_fingerprint=music)}
        made["statistics"] = self.task(run, "statistics", made["ingest"])
        made["validator"] = self.task(run, "validator", made["statistics"])
        made["trainer"] = self.task(run, "trainer", made["ingest"])
        return made | self.end(run, made["trainer"])

    def end(self, run: str, trainer: str) -> dict[str, str]:
        """The tasks of a run that are never cached."""
        pusher = self.task(run, "pusher", trainer, run_id=run)
        recorder = self.task(run, "runrecorder", pusher, run_id=run)
        return {"pusher": pusher, "runrecorder": recorder}

    def left(self) -> set[str]:
        """Runs and tasks that have files."""
        folder = f"{self.uri}/gatefold"
        return {"/".join(name.split("/")[:2]) for name in files.files_below(folder)}

    def clean(self, *, keep_runs: int) -> retention.Plan:
        plan = retention.plan(self.uri, keep_runs=keep_runs)
        retention.retire(plan)
        retention.remove(plan)
        return plan


def artifact(uri: str):
    made = standard_artifacts.Model()
    made.uri = uri
    return made


@pytest.fixture
def root(store, request, monkeypatch):
    return Root(f"{store}/{request.node.originalname}", monkeypatch)


def tasks(run: str, *names: str) -> set[str]:
    return {f"{run}/{name}" for name in names}


ALL = ("ingest", "statistics", "validator", "trainer", "pusher", "runrecorder")


def test_a_run_that_no_kept_run_refers_to_is_removed(root):
    root.run("old", OLD_MUSIC)
    root.run("new", NEW_MUSIC)
    plan = root.clean(keep_runs=1)
    assert root.left() == tasks("new", *ALL)
    assert plan.kept == ("new",)


def test_what_the_cache_handed_to_a_kept_run_stays(root):
    made = root.run("first", OLD_MUSIC)
    root.end("second", made["trainer"])
    root.clean(keep_runs=1)
    # The validator's result, too, which the second run was handed and nobody read.
    cached = ("ingest", "statistics", "validator", "trainer")
    assert root.left() == tasks("first", *cached) | tasks("second", "pusher", "runrecorder")


def test_what_was_trained_with_other_settings_is_removed_and_its_music_stays(root):
    made = root.run("first", OLD_MUSIC)
    root.end("second", root.task("second", "trainer", made["ingest"]))
    root.clean(keep_runs=1)
    left = tasks("first", "ingest", "statistics", "validator")
    assert root.left() == left | tasks("second", "trainer", "pusher", "runrecorder")


def test_a_run_that_did_not_end_and_what_it_was_handed_stays(root):
    root.run("older", OLD_MUSIC)
    made = root.run("complete", NEW_MUSIC)
    root.task("failed", "trainer", made["ingest"])
    root.clean(keep_runs=1)
    assert root.left() == tasks("complete", *ALL) | tasks("failed", "trainer")


def test_the_run_of_the_version_in_production_stays(root):
    for run in ("released", "withdrawn", "latest"):
        root.run(run, NEW_MUSIC)
    for version, run in ((1, "withdrawn"), (2, "released")):
        base = f"{root.uri}/serving/genre/{version}"
        files.write(f"{base}/saved_model.pb", "model")
        files.write(f"{base}/assets.extra/release.json", json.dumps({"run_id": run}))
    root.clean(keep_runs=1)
    assert root.left() == tasks("released", *ALL) | tasks("latest", *ALL)
    assert files.exists(f"{root.uri}/serving/genre/1/saved_model.pb")


def test_music_that_comes_back_is_ingested_anew(root):
    retired = f"{root.uri}/{lineage.RETIRED_FOLDER}"
    root.run("old", OLD_MUSIC)
    root.run("new", NEW_MUSIC)
    assert lineage.current(OLD_MUSIC, retired) == OLD_MUSIC
    root.clean(keep_runs=1)
    first = lineage.current(OLD_MUSIC, retired)
    assert first != OLD_MUSIC and lineage.current(NEW_MUSIC, retired) == NEW_MUSIC
    root.run("again", first)
    root.clean(keep_runs=1)
    root.clean(keep_runs=1)
    assert lineage.current(OLD_MUSIC, retired) == first  # the kept run's results are found still
    root.run("newest", NEW_MUSIC)
    root.clean(keep_runs=1)
    assert lineage.current(OLD_MUSIC, retired) not in (OLD_MUSIC, first)


def test_an_interrupted_removal_is_ended_by_the_next(root, monkeypatch):
    root.run("old", OLD_MUSIC)
    root.run("new", NEW_MUSIC)
    plan = retention.plan(root.uri, keep_runs=1)
    remove, calls = files.remove, []

    def killed(path: str) -> None:
        calls.append(path)
        if len(calls) == 4:
            raise KeyboardInterrupt
        remove(path)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(files, "remove", killed)
        retention.remove(plan)
    assert tasks("new", *ALL) < root.left()
    root.clean(keep_runs=1)
    assert root.left() == tasks("new", *ALL)


@pytest.mark.parametrize("lineage", [None, "", '{"inputs": {', "[" * 100_000])
def test_a_folder_without_lineage_that_can_be_read_stays(root, lineage):
    files.write(f"{root.uri}/gatefold/unknown/task/execution/output/data", "1")
    if lineage is not None:
        files.write(f"{root.uri}/gatefold/unknown/task/execution/lineage.json", lineage)
    root.run("new", NEW_MUSIC)
    assert root.clean(keep_runs=1).unknown == 1
    assert root.left() == tasks("new", *ALL) | {"unknown/task"}


def test_a_task_whose_input_was_removed_says_so_and_an_empty_input_is_no_fault(root):
    made = root.run("old", OLD_MUSIC)
    files.remove(f"{made['trainer']}/data")  # as ModelSelector leaves a model where none was chosen
    root.end("second", made["trainer"])
    root.run("new", NEW_MUSIC)
    root.clean(keep_runs=1)
    with pytest.raises(storage.UserError, match=r"is gone.*--cache-epoch"):
        root.end("third", made["trainer"])


def test_the_command_lists_first_and_waits_for_runs_to_end(root, capsys):
    root.run("old", OLD_MUSIC)
    root.run("new", NEW_MUSIC)
    before = root.left()
    with kubeflow_api() as api:
        api.things["runs"] = {
            f"{number}": {
                "run_id": f"{number}",
                "state": "SUCCEEDED",
                "runtime_config": {"pipeline_root": f"{root.uri}/"},
            }
            for number in range(120)  # more than a page
        }
        command = ["clean", "--pipeline-root", root.uri, "--keep-runs", "1"]
        command += ["--host", f"http://127.0.0.1:{api.server_port}"]
        last = api.things["runs"]["119"]
        last["state"] = "RUNNING"
        assert runner.main(command) == 1
        assert "run 119 is RUNNING" in capsys.readouterr().err
        last["runtime_config"] = {"pipeline_root": "s3://elsewhere"}
        assert runner.main([*command, "--dry-run"]) == 0
        assert "run old: " in capsys.readouterr().out and root.left() == before
        assert runner.main(command) == 0
    assert root.left() == tasks("new", *ALL)
