"""The exit task: it stands where Kubeflow's own compiler puts one, and its line arrives."""

import http.server
import json
import os
import subprocess
import sys
import threading

import pytest
from kfp import compiler, dsl

from components.common import files, lineage
from kubeflow import compiling, notice
from kubeflow.deployment import NOTICE_KEYS, Deployment
from kubeflow.exit_task import EXIT_TASK, NODES
from tests.conftest import ROOT
from tests.kubeflow.test_compiling import CONFIG
from tests.kubeflow.test_retention import artifact

RUN = "5f0c"


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers with the server's next code, and keeps what was posted where that is 200."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        code = self.server.codes.pop(0) if self.server.codes else 200
        if code == 200:
            self.server.lines.append((self.headers["Content-Type"], body))
        self.send_response(code)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def receiver():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.lines, server.codes = [], []
    server.url = f"http://127.0.0.1:{server.server_port}/hook?key=secret"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path) -> str:
    return str(tmp_path / "root" / "gatefold")


def write_run(folder: str, monkeypatch, *, outcome: str) -> str:
    """What a run leaves that came to its report, and, with an outcome, to its end."""
    report = f"{folder}/earlier/releasereport/1/report"
    files.write(f"{report}/index.html", "<p>")
    place = f"{folder}/{RUN}"
    with monkeypatch.context() as patched:
        patched.setenv("GATEFOLD_RUN_ID", RUN)
        lineage.begin(
            {"report": [artifact(report)]}, {"out": [artifact(f"{place}/pusher/1/out")]}, {}
        )
    if outcome:
        files.write(f"{place}/runrecorder/1/record/record.json", json.dumps({"outcome": outcome}))
    return f"{report}/index.html"


def test_an_exit_task_stands_where_kubeflows_own_compiler_puts_it(tmp_path):
    plain, _ = compiling.specification(CONFIG, Deployment("image:1", "s3://bucket/root"))
    spec, platform = compiling.specification(
        CONFIG, Deployment("image:1", "s3://bucket/root", notice_secret="hook")
    )
    assert EXIT_TASK not in plain["components"]
    root = spec["root"]["dag"]["tasks"]
    theirs, (nodes, name) = kubeflows_own(tmp_path)
    theirs["taskInfo"]["name"] = theirs["componentRef"]["name"] = EXIT_TASK
    theirs["dependentTasks"] = [NODES if one == nodes else one for one in theirs["dependentTasks"]]
    ours = {key: value for key, value in root[EXIT_TASK].items() if key != "cachingOptions"}
    assert ours == {key: value for key, value in theirs.items() if key != "cachingOptions"}, name
    # Nothing else has changed: the nodes stand below one task, with their retries.
    assert spec["components"][NODES]["dag"]["tasks"] == plain["root"]["dag"]["tasks"]
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    with_secret = {
        label
        for label, environment in executors.items()
        if "hook" in {secret["secretName"] for secret in environment["secretAsEnv"]}
    }
    assert with_secret == {spec["components"][EXIT_TASK]["executorLabel"]}


def kubeflows_own(tmp_path):
    """An exit task by kfp's compiler; with the names of what it waits for and its own."""

    @dsl.container_component
    def step():
        return dsl.ContainerSpec(image="image:1", command=["true"])

    @dsl.pipeline(name="theirs")
    def pipeline():
        with dsl.ExitHandler(step()):
            step()

    file = tmp_path / "theirs.json"
    compiler.Compiler().compile(pipeline, str(file))
    tasks = json.loads(file.read_text())["root"]["dag"]["tasks"]
    (name,) = (name for name, task in tasks.items() if "triggerPolicy" in task)
    (nodes,) = tasks.keys() - {name}
    return tasks[name], (nodes, name)


@pytest.mark.parametrize("outcome", ["Pushed version 3", ""])
def test_the_exit_tasks_command_posts_one_line(folder, monkeypatch, receiver, outcome, tmp_path):
    report = write_run(folder, monkeypatch, outcome=outcome)
    deployment = Deployment("image:1", folder.rpartition("/")[0], notice_secret="hook")
    spec, _ = compiling.specification(CONFIG, deployment)
    label = spec["components"][EXIT_TASK]["executorLabel"]
    container = spec["deploymentSpec"]["executors"][label]["container"]
    process = subprocess.run(
        [sys.executable, *container["command"][1:], *container["args"]],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "GATEFOLD_RUN_ID": RUN,
            NOTICE_KEYS[0]: receiver.url,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    ((content_type, line),) = receiver.lines
    assert content_type == "application/json" and line.count("\n") == 1
    assert json.loads(line) == {
        "run": RUN,
        "state": "SUCCEEDED" if outcome else "FAILED",
        "verdict": outcome,
        "report": report,
    }


def test_a_run_that_failed_at_once_has_a_notice_too(folder):
    assert notice.notice(folder, RUN) == {
        "run": RUN,
        "state": "FAILED",
        "verdict": "",
        "report": "",
    }


@pytest.mark.parametrize(
    ("codes", "arrives"), [([503, 503], True), ([503] * 9, False), ([302] * 9, False)]
)
def test_a_post_is_repeated_and_the_address_never_printed(receiver, monkeypatch, codes, arrives):
    monkeypatch.setattr(notice, "RETRIES", notice.RETRIES.new(backoff_factor=0))
    receiver.codes = list(codes)
    problem = notice.post(receiver.url, {"run": RUN})
    assert (not problem, len(receiver.lines)) == (arrives, int(arrives))
    assert "secret" not in problem


def test_what_is_no_web_address_is_not_opened(tmp_path):
    assert NOTICE_KEYS[0] in notice.post(f"file://{tmp_path}", {})
