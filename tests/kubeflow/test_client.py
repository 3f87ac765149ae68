"""kubeflow.runner against an HTTP server that speaks Kubeflow Pipelines' API, and against none."""

import contextlib
import http.server
import json
import threading
import urllib.parse
import uuid

import pytest
import yaml

from kubeflow import runner
from kubeflow.exit_task import EXIT_TASK

SPEC = {
    "schemaVersion": "2.1.0",
    "pipelineInfo": {"name": "gatefold"},
    "defaultPipelineRoot": "s3://bucket/gatefold",
    "root": {"dag": {"tasks": {"Pusher": {"componentRef": {"name": "Pusher"}}}}},
}
PLATFORM = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"Pusher_executor": {}}}}}}


class Api(http.server.BaseHTTPRequestHandler):
    """Keeps experiments, runs and recurring runs, as the API server does, in the server object."""

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = {key: values[0] for key, values in urllib.parse.parse_qs(url.query).items()}
        place = url.path.removeprefix("/apis/v2beta1/")
        kind, _, number = place.partition("/")
        things = self.server.things.get(kind, {})
        if self.server.token and self.headers["Authorization"] != f"Bearer {self.server.token}":
            self._answer(401, {"message": "who are you?"})
        elif kind == "healthz":
            health = {"multi_user": self.server.multi_user, "tag_name": self.server.version}
            self._answer(200, health)
        elif number in things:
            hidden = set() if query.get("view") == "FULL" else {"tasks"}
            thing = things[number]
            self._answer(200, {key: thing[key] for key in thing.keys() - hidden})
        elif number or kind not in self.server.things:
            self._answer(404, {"message": f"{place} not found", "code": 5})
        else:
            self._answer(200, self._page(kind, list(things.values()), query))

    def _page(self, kind: str, things: list[dict], query: dict[str, str]) -> dict:
        if "filter" in query:
            (predicate,) = json.loads(query["filter"])["predicates"]
            things = [one for one in things if one["display_name"] == predicate["stringValue"]]
        begin = int(query.get("page_token") or 0)
        end = begin + int(query.get("page_size", 20))
        return {
            {"recurringruns": "recurringRuns"}.get(kind, kind): things[begin:end],
            "total_size": len(things),
            "next_page_token": str(end) if end < len(things) else "",
        }

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        kind, _, rest = self.path.removeprefix("/apis/v2beta1/").partition("/")
        if rest.endswith(":terminate"):
            self.server.things[kind][rest.removesuffix(":terminate")]["state"] = "CANCELING"
            self._answer(200, {})
            return
        number = str(uuid.uuid4())
        key = {"experiments": "experiment_id", "runs": "run_id"}.get(kind, "recurring_run_id")
        made = {**body, key: number, "state": "PENDING", "status": "ENABLED"}
        self.server.things[kind][number] = made
        self._answer(200, made)

    def do_DELETE(self) -> None:
        kind, _, number = self.path.removeprefix("/apis/v2beta1/").partition("/")
        del self.server.things[kind][number]
        self._answer(200, {})

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def _answer(self, code: int, content: object) -> None:
        text = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@contextlib.contextmanager
def kubeflow_api():
    """A Kubeflow without any run."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.things = {"experiments": {}, "runs": {}, "recurringruns": {}}
    server.token, server.version, server.multi_user = "", "2.5.0", False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def api():
    with kubeflow_api() as server:
        yield server


@pytest.fixture
def host(api) -> str:
    return f"http://127.0.0.1:{api.server_port}"


@pytest.fixture
def file(tmp_path):
    target = tmp_path / "genre.yaml"
    target.write_text(yaml.safe_dump_all([SPEC, PLATFORM]))
    return str(target)


def test_a_run_is_given_the_file_its_root_and_its_experiment(api, host, file, capsys):
    assert runner.main(["run", file, "--host", host]) == 0
    (run,) = api.things["runs"].values()
    assert run["runtime_config"]["pipeline_root"] == SPEC["defaultPipelineRoot"]
    assert run["pipeline_spec"]["platform_spec"] == PLATFORM
    assert run["pipeline_spec"]["pipeline_spec"]["schemaVersion"] == "2.1.0"
    (experiment,) = api.things["experiments"].values()
    assert experiment["display_name"] == "gatefold"
    assert run["run_id"] in capsys.readouterr().out


def test_a_schedule_runs_one_at_a_time_and_has_seconds_in_its_cron(api, host, file):
    assert runner.main(["schedule", file, "--cron", "0 3 * * 1", "--host", host]) == 0
    (schedule,) = api.things["recurringruns"].values()
    assert schedule["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * 1"
    assert (int(schedule["max_concurrency"]), schedule["no_catchup"]) == (1, True)
    assert schedule["mode"] == "ENABLE"
    assert schedule["runtime_config"]["pipeline_root"] == SPEC["defaultPipelineRoot"]


def test_status_shows_runs_schedules_and_one_run(api, host, file, capsys):
    assert runner.main(["status", "--host", host]) == 0
    assert "neither runs nor schedules" in capsys.readouterr().out
    runner.main(["run", file, "--name", "first", "--host", host])
    runner.main(["schedule", file, "--cron", "0 3 * * 1", "--name", "weekly", "--host", host])
    (run,), (schedule,) = api.things["runs"], api.things["recurringruns"]
    capsys.readouterr()
    assert runner.main(["status", "--host", host]) == 0
    text = capsys.readouterr().out
    assert f"run {run} (first): PENDING" in text and f"schedule {schedule} (weekly)" in text
    assert runner.main(["status", run, "--host", host]) == 0
    assert capsys.readouterr().out.startswith(f"run {run} (first): PENDING")


def test_stop_ends_a_run_or_a_schedule(api, host, file):
    runner.main(["run", file, "--host", host])
    runner.main(["schedule", file, "--cron", "0 3 * * 1", "--host", host])
    (run,), (schedule,) = api.things["runs"], api.things["recurringruns"]
    assert runner.main(["stop", run, "--host", host]) == 0
    assert api.things["runs"][run]["state"] == "CANCELING"
    assert runner.main(["stop", schedule, "--host", host]) == 0
    assert not api.things["recurringruns"]


@pytest.mark.parametrize(
    "nodes",
    [
        {"run_details": {"task_details": [{"display_name": "gate", "state": "SUCCEEDED"}]}},
        {"tasks": [{"name": "gate", "state": "SUCCEEDED"}]},  # on the development branch
    ],
)
def test_status_shows_a_runs_nodes_in_each_releases_form(api, host, file, capsys, nodes):
    runner.main(["run", file, "--host", host])
    (run,) = api.things["runs"].values()
    run |= {**nodes, "error": {"code": 13, "message": "a node failed"}}
    capsys.readouterr()
    assert runner.main(["status", run["run_id"], "--host", host]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["  a node failed", "  gate: SUCCEEDED"]


@pytest.mark.parametrize(
    ("version", "has_exit_task", "taken"),
    [
        ("2.4.1", False, False),
        ("v2.4.0", False, False),
        ("2.5.0", False, True),
        ("unknown", False, True),
        ("2.13.0", True, False),
        ("2.14.0", True, True),
    ],
)
def test_a_release_that_is_too_old_for_a_file_is_refused(
    api, host, tmp_path, capsys, version, has_exit_task, taken
):
    """Before 2.5 nodes get no run id; before 2.14 an exit task takes the others' retries away."""
    api.version = version
    tasks = {"all-nodes": {}, EXIT_TASK: {"dependentTasks": ["all-nodes"]}}
    spec = {**SPEC, "root": {"dag": {"tasks": tasks}}} if has_exit_task else SPEC
    file = tmp_path / "file.yaml"
    file.write_text(yaml.safe_dump_all([spec, PLATFORM]))
    assert runner.main(["run", str(file), "--host", host]) == int(not taken)
    assert runner.main(["schedule", str(file), "--cron", "0 3 * * 1", "--host", host]) == int(
        not taken
    )
    assert len(api.things["runs"]) == len(api.things["recurringruns"]) == int(taken)
    assert ("or newer" in capsys.readouterr().err) != taken


def test_where_several_users_share_kubeflow_a_namespace_is_asked_for(api, host, file, capsys):
    api.multi_user = True
    for arguments in (["run", file], ["status"], ["run", file, "--namespace", ""]):
        assert runner.main([*arguments, "--host", host]) == 1
        assert "--namespace is missing" in capsys.readouterr().err
    assert runner.main(["run", file, "--host", host, "--namespace", "ml-team"]) == 0
    (experiment,) = api.things["experiments"].values()
    assert experiment["namespace"] == "ml-team"


def test_a_token_reaches_the_api(api, host, tmp_path, capsys):
    api.token = "from-a-file"
    assert runner.main(["status", "--host", host]) == 1
    assert "Unauthorized" in capsys.readouterr().err
    (tmp_path / "token").write_text("from-a-file\n")
    assert runner.main(["status", "--host", host, "--token-file", str(tmp_path / "token")]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "FILE"], "--host is missing"),
        (["run", "FILE", "--host", "localhost:8888"], "--host must begin with http://"),
        (["status", "--host", "http://127.0.0.1:9"], "Kubeflow Pipelines does not answer at"),
        (["run", "nowhere.yaml", "--host", "HOST"], "nowhere.yaml cannot be read"),
        (["run", "OTHER", "--host", "HOST"], "is no file that `gatefold kubeflow compile` wrote"),
        (["schedule", "FILE", "--cron", "weekly", "--host", "HOST"], "--cron expects minute, hour"),
        (["status", "unknown", "--host", "HOST"], "refuses: runs/unknown not found"),
        (["clean", "--pipeline-root", "here", "--keep-runs", "1"], "--pipeline-root must be s3:"),
        (["clean", "--pipeline-root", "/r", "--keep-runs", "0"], "--keep-runs must be 1 or more"),
        (["stop", "unknown", "--host", "HOST", "--token-file", "no"], "--token-file: no cannot"),
    ],
)
def test_mistakes_end_in_one_sentence(
    arguments, message, host, file, tmp_path, capsys, monkeypatch
):
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    other = tmp_path / "other.yaml"
    other.write_text("hello: world\n")
    places = {"FILE": file, "HOST": host, "OTHER": str(other)}
    assert runner.main([places.get(one, one) for one in arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gatefold kubeflow: ") and message in line
