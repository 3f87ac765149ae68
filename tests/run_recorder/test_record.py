"""The record of a run in MLflow, read back through MLflow's own client."""

import dataclasses
import json
from pathlib import Path

import mlflow
import pytest
from absl import logging
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import standard_artifacts

from components.common import published_report, remarks
from components.common.artifacts import Report
from components.common.tracking import PipelineRuns, is_cached, note_run
from components.gtzan.genres import GENRES
from components.run_recorder import registry, verdict
from components.run_recorder.executor import Executor
from components.run_recorder.record import Branch, Outcome, record
from components.trainer.training.live_metrics import LiveMetrics, child_run, live_run
from tests.run_recorder.conftest import HISTORY, JUDGEMENT, free_port, mlflow_server

RUN = "20260101-000000-abcdef"
PUSHED = Outcome(chosen="cnn", pushed_to="/serving/genre/1")
CONTEXT = BaseExecutor.Context(pipeline_run_id=RUN)


def write_record(uri: str, *branches: Branch) -> list[str]:
    return record(
        PipelineRuns(uri, experiment="gatefold", run_id=RUN),
        branches,
        PUSHED,
        genres=GENRES,
        parameters={"seed": 5, "data_fingerprint": "abc"},
        tags={"tfx.pipeline": "gatefold"},
    )


def read_runs(uri: str) -> dict:
    """Runs by name; the pipeline's own carries its time, too. No name may be there twice."""
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("gatefold")
    runs = client.search_runs([experiment.experiment_id])
    by_name = {run.info.run_name.split()[0]: run for run in runs}
    assert len(by_name) == len(runs)
    return by_name


def curve(uri: str, run, name: str) -> list[tuple[int, float]]:
    points = mlflow.MlflowClient(uri).get_metric_history(run.info.run_id, name)
    return sorted((point.step, point.value) for point in points)


def train_live(*epochs: int) -> LiveMetrics:
    """Logs epochs, as Keras does while a model trains."""
    live = LiveMetrics()
    for epoch in epochs:
        log_epoch(live, epoch)
    return live


def log_epoch(live: LiveMetrics, epoch: int) -> None:
    live.on_epoch_end(epoch, {name: values[epoch] for name, values in HISTORY["epochs"].items()})


def test_a_cached_branch_is_a_run_below_the_pipelines_run(branch, store, tmp_path):
    remarks.write(branch.model_run_uri, ["cnn has learnt nothing", "and says so"])
    assert write_record(store, branch) == []
    runs = read_runs(store)
    cnn, parent = runs["cnn"], runs["pipeline"]
    assert cnn.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert cnn.data.tags["cached"] == "True"
    assert cnn.data.tags["remarks"] == "cnn has learnt nothing; and says so"
    assert cnn.data.params["seed"] == "5"
    assert cnn.data.params["data_fingerprint"] == "abc"
    assert cnn.data.params["training.augmentation.mixup"] == "0.2"
    assert cnn.data.metrics["best_val_track_accuracy"] == 0.4
    assert cnn.data.metrics["best_val_window_accuracy"] == 0.3
    assert cnn.data.tags["tfx.model"] == "/somewhere"
    assert curve(store, cnn, "val_track_accuracy") == [(1, 0.1), (2, 0.4), (3, 0.3)]
    client = mlflow.MlflowClient(store)
    pictures = {file.path for file in client.list_artifacts(cnn.info.run_id)}
    assert pictures == {"confusion_matrix.png"}
    assert parent.data.tags["pushed_to"] == "/serving/genre/1"
    macro_f1 = cnn.data.metrics["test_track_macro_f1"]
    assert parent.data.metrics["test_track_macro_f1"] == macro_f1
    assert parent.data.params["models"] == "cnn"
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert (tmp_path / "mlflow.db").is_file() and (tmp_path / "mlruns").is_dir()


def test_a_branch_has_its_test_figures_and_its_confusions(branch, store, tmp_path):
    folder = tmp_path / "ensemble"  # without a training of its own
    folder.mkdir()
    write_record(store, dataclasses.replace(branch, model="ensemble", model_run_uri=str(folder)))
    run = read_runs(store)["ensemble"]
    expected = {
        "test_track_example_count": 3,
        "test_track_sparse_categorical_accuracy": 2 / 3,
        "test_track_macro_f1": 2 / 3,
        "test_track_precision_blues": 0.5,
        "test_track_recall_blues": 1.0,
        "test_track_precision_jazz": 1.0,
        "test_track_recall_jazz": 0.5,
    }
    figures = run.data.metrics
    assert {name: figures[name] for name in expected} == pytest.approx(expected)
    assert figures["test_track_accuracy_low"] < 2 / 3 < figures["test_track_accuracy_high"]
    assert "test_track_precision_rock" not in figures  # which nothing was taken for
    assert run.data.tags["tfx.evaluation"] == branch.evaluation_uri
    client = mlflow.MlflowClient(store)
    picture = client.download_artifacts(run.info.run_id, "confusion_matrix.png", str(tmp_path))
    assert Path(picture).read_bytes().startswith(b"\x89PNG")


def test_the_gate_s_verdict_and_reasons_are_tags_and_its_figures_metrics(branch, store):
    write_record(store, branch)
    verdict.record(PipelineRuns(store, experiment="gatefold", run_id=RUN), JUDGEMENT)
    runs = read_runs(store)
    tags = runs["cnn"].data.tags
    assert tags["gate"] == "refused"
    assert tags["gate.failed"] == "accuracy, baseline"
    assert (
        "Accuracy: 0.25, at least 0.5; Accuracy above the baseline: not computed"
        in (tags["gate.reasons"])
    )
    assert runs["cnn"].data.metrics["gate_accuracy"] == 0.25
    assert runs["cnn"].data.metrics["test_track_ece"] == 0.125
    assert not {"gate_baseline", "test_track_brier"} & set(runs["cnn"].data.metrics)
    tags = runs["pipeline"].data.tags
    assert (tags["gate"], tags["gate.refused"]) == ("refused", "cnn")
    assert tags["gate.waivers"] == "max_ece: switched off in the gate's settings"
    assert tags["production"] == "nothing is in production yet"


def searched(branch: Branch, folder: Path) -> Branch:
    results = [
        {"trial_id": "1", "score": 0.5, "dropout": 0.1},
        {"trial_id": "0", "score": 0.4, "dropout": 0.3},
    ]
    (folder / "tuner_results.json").write_text(json.dumps(results))
    return dataclasses.replace(branch, tuner_results_uri=str(folder), search_cached=True)


def test_trials_from_the_cache_are_in_the_store_too(branch, store, tmp_path):
    assert write_record(store, searched(branch, tmp_path)) == []
    runs = read_runs(store)
    assert set(runs) == {"pipeline", "cnn", "cnn-trial-1", "cnn-trial-2"}
    trial = runs["cnn-trial-2"]
    assert trial.data.tags["mlflow.parentRunId"] == runs["cnn"].info.run_id
    assert trial.data.params == {"dropout": "0.1"}
    assert trial.data.metrics["best_val_track_accuracy"] == 0.5
    assert trial.data.tags["cached"] == "True"


def test_what_was_tracked_live_is_completed_and_not_repeated(branch, store, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "gatefold")
    with live_run(CONTEXT, "cnn"):  # a Tuner's
        with child_run("cnn-trial-1", {"dropout": 0.3}) as first:
            first.log({"best_val_track_accuracy": 0.4})
        with child_run("cnn-trial-2", {"dropout": 0.1}) as second:
            second.log({"best_val_track_accuracy": 0.5})
    with live_run(CONTEXT, "cnn"):  # its Trainer's
        train_live(0, 1, 2)
    assert read_runs(store)["cnn"].info.status == "RUNNING"
    fresh = dataclasses.replace(searched(branch, tmp_path), cached=False, search_cached=False)
    assert write_record(store, fresh) == []
    runs = read_runs(store)
    assert set(runs) == {"pipeline", "cnn", "cnn-trial-1", "cnn-trial-2"}
    assert runs["cnn"].data.tags["mlflow.parentRunId"] == runs["pipeline"].info.run_id
    assert runs["cnn"].data.tags["cached"] == "False"
    assert curve(store, runs["cnn"], "loss") == [(1, 2.0), (2, 1.5), (3, 1.2)]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert "tracking.missing" not in runs["pipeline"].data.tags


def test_a_training_that_fails_leaves_no_run_that_seems_to_go_on(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "gatefold")
    with pytest.raises(ZeroDivisionError), live_run(CONTEXT, "cnn"):
        raise ZeroDivisionError
    assert read_runs(store)["cnn"].info.status == "FAILED"


def test_a_search_that_could_not_be_tracked_is_named(branch, store, tmp_path):
    fresh = dataclasses.replace(searched(branch, tmp_path), cached=False, search_cached=False)
    missing = write_record(store, fresh)
    assert [line.partition(":")[0] for line in missing] == ["cnn-trial-1", "cnn-trial-2", "cnn"]
    tag = read_runs(store)["pipeline"].data.tags["tracking.missing"]
    assert "3 of 3 epochs" in tag and "cnn-trial-2" in tag


@pytest.mark.slow
def test_a_server_that_is_down_for_a_while_stops_no_training(branch, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "gatefold")
    port = free_port()
    logging.use_python_logging(quiet=True)
    with mlflow_server(tmp_path, port) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        training = live_run(CONTEXT, "cnn")
        training.__enter__()
        live = train_live(0)
    log_epoch(live, 1)
    log_epoch(live, 2)
    training.__exit__(None, None, None)
    assert "metrics of step 2" in caplog.text and "goes on without it" in caplog.text
    with mlflow_server(tmp_path, port):
        (line,) = write_record(uri, dataclasses.replace(branch, cached=False))
        runs = read_runs(uri)
        assert set(runs) == {"pipeline", "cnn"}
        assert "2 of 3 epochs" in line
        assert runs["pipeline"].data.tags["tracking.missing"] == line
        assert curve(uri, runs["cnn"], "loss") == [(1, 2.0), (2, 1.5), (3, 1.2)]
        # Here, not in a test of its own, as a server takes half a minute to start.
        a_server_that_takes_no_path_of_this_machine_gets_the_files(uri, tmp_path / "cnn")


def a_server_that_takes_no_path_of_this_machine_gets_the_files(uri: str, folder: Path) -> None:
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"a model")
    for run_id in (RUN, "the next run"):
        runs = PipelineRuns(uri, experiment="gatefold", run_id=run_id)
        sources = {"cnn": str(folder)}
        registry.register(runs, "genre", JUDGEMENT, PUSHED, sources=sources, tags={})
    client = mlflow.MlflowClient(uri)
    (version,) = client.search_model_versions("name = 'genre'")
    uploaded = client.download_artifacts(version.run_id, "model/saved_model.pb")
    assert Path(uploaded).read_bytes() == b"a model"
    assert client.get_registered_model("genre").aliases == {registry.CHAMPION: version.version}


@pytest.fixture
def node(branch, tmp_path):
    """Runs the executor of a run with one model, refused or pushed; returns the record artifact."""
    judgement = {**JUDGEMENT, "production": {"version": 5, "checksum": "b" * 64}}
    pushed = artifact(standard_artifacts.PushedModel, str(tmp_path))
    for name, text in (
        ("selection/selection.json", json.dumps({"chosen": None})),
        ("judgement/report.json", json.dumps(judgement)),
        ("report/report.json", "{}"),
        ("report/index.html", f"<p>{published_report.MARKER}</p>"),
        ("report/model_card.md", "# A card"),
        ("report/ingest.html", "<h1>Ingest</h1>"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    inputs = {
        "model_cnn": [artifact(standard_artifacts.Model, "/somewhere")],
        "model_run_cnn": [artifact(standard_artifacts.ModelRun, branch.model_run_uri)],
        "evaluation_cnn": [artifact(standard_artifacts.ModelEvaluation, branch.evaluation_uri)],
        "pushed_model": [pushed],
        **{
            name: [artifact(Report, str(tmp_path / name))]
            for name in ("selection", "judgement", "report")
        },
    }

    def run(uri: str, report_folder: str, *, push: bool = False):
        if push:
            passed = {"cnn": {**JUDGEMENT["models"]["cnn"], "blessed": True, "gates": []}}
            content = json.dumps({**judgement, "models": passed})
            (tmp_path / "judgement" / "report.json").write_text(content)
            (tmp_path / "selection" / "selection.json").write_text('{"chosen": "cnn"}')
            pushed.set_string_custom_property("pushed_destination", "/serving/genre/6")
            pushed.set_string_custom_property("pushed_version", "6")
            pushed.set_int_custom_property("written", 1)
        record = artifact(Report, str(tmp_path / "record"))
        run = {
            "models": ["cnn"],
            "genres": list(GENRES),
            "parameters": {"data": "/music"},
            "tags": {},
        }
        Executor().Do(
            inputs,
            {"record": [record]},
            {
                "run": json.dumps(run),
                "experiment": "gatefold",
                "tracking_uri": uri,
                "data_fingerprint": "abc",
                "run_id": RUN,
                "registered_model": "genre",
                "report_folder": report_folder,
            },
        )
        return record

    return run


@pytest.mark.parametrize(
    ("push", "outcome"),
    [
        (False, "Nothing was pushed: production keeps version 5."),
        (True, "cnn was pushed and is in production, as version 6."),
    ],
)
def test_without_its_store_the_node_ends_well_and_says_so_and_the_next_run_catches_up(
    node, store, tmp_path, monkeypatch, caplog, push, outcome
):
    """The server went between judging and pushing; then it is up again."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    logging.use_python_logging(quiet=True)
    report = node(f"http://127.0.0.1:{free_port()}", str(tmp_path / "published"), push=push)
    assert "Max retries" in report.get_string_custom_property("error")
    content = json.loads((tmp_path / "record" / "record.json").read_text())
    assert content["error"]
    assert content["missing"] == [
        "the runs of the pipeline and its branches",
        "the release report",
        "the gate's verdicts",
        "versions of the registered model genre and its alias",
    ]
    assert "no complete record" in caplog.text
    # What needs no store is done all the same.
    page = (tmp_path / "published" / "index.html").read_text()
    assert page == f"<p>{outcome}</p>"
    again = node(store, str(tmp_path / "published"), push=push)
    assert again.get_string_custom_property("error") == ""
    client = mlflow.MlflowClient(store)
    (version,) = client.search_model_versions("name = 'genre'")
    champion = {"champion": version.version} if push else {}
    assert client.get_registered_model("genre").aliases == champion
    assert read_runs(store)["pipeline"].data.tags["outcome"] == outcome


def test_the_node_keeps_report_and_version_and_says_what_it_could_not_publish(
    node, store, tmp_path
):
    (tmp_path / "taken").write_text("no folder")
    record = node(store, str(tmp_path / "taken"))
    assert record.get_string_custom_property("error") == ""
    assert "is not in" in record.get_string_custom_property("unpublished")
    parent = read_runs(store)["pipeline"]
    assert parent.data.tags["outcome"] == "Nothing was pushed: production keeps version 5."
    client = mlflow.MlflowClient(store)
    kept = {file.path for file in client.list_artifacts(parent.info.run_id, "report")}
    names = ("index.html", "report.json", "model_card.md", "ingest.html")
    assert kept == {f"report/{name}" for name in names}
    (version,) = client.search_model_versions("name = 'genre'")
    assert version.tags["gate.failed"] == "accuracy, baseline" and version.tags["data"] == "/music"
    page = f"runs/{parent.info.run_id}/artifacts/report/index.html"
    assert page in version.description


def artifact(kind, uri: str):
    made = kind()
    made.uri = uri
    return made


def test_an_artifact_says_whether_this_run_made_it():
    model_run = standard_artifacts.ModelRun()
    assert is_cached(model_run, RUN) is None
    note_run({"model_run": [model_run]}, CONTEXT)
    assert is_cached(model_run, RUN) is False
    assert is_cached(model_run, "another") is True
