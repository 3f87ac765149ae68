"""ServingCheck serves a candidate for real, and says of a bad one what is bad."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.dsl.components.base import base_executor
from tfx.types import standard_artifacts

from components.audio import codec
from components.common import answers as track_answers
from components.common import raw_examples
from components.common.artifacts import Report
from components.gtzan.genres import GENRES
from components.serving_check import candidate_server, checks
from components.serving_check.calls import BareModel
from components.serving_check.executor import Executor
from components.serving_check.settings import ServingCheckSettings
from components.serving_check.tracks import Track
from tests.conftest import ROOT
from tests.serving.tone_model import SETTINGS, ToneModel, serialized_example, tone, write_tone_model

CHECK = ServingCheckSettings(
    SETTINGS.sample_rate_hz, tracks=3, pairs=6, seconds=2.0, max_latency_ratio=1000.0
)  # how fast it is depends on what else this machine does


def track(name: str, genre: str) -> Track:
    """A tone of a whole clip, as ingest leaves it."""
    pcm = codec.to_pcm16(tone(genre, seconds=SETTINGS.clip_seconds))
    example = tf.train.Example.FromString(serialized_example(codec.from_pcm16(pcm), genre=genre))
    example.features.feature["track_id"].bytes_list.value[:] = [name.encode()]
    example.features.feature["audio"].bytes_list.value[:] = [pcm]
    return Track(name, example.SerializeToString(), codec.from_pcm16(pcm))


@pytest.fixture(scope="module")
def tracks() -> list[Track]:
    return [track(f"täst.{number}", genre) for number, genre in enumerate(GENRES[2:5])]


def evaluated(tracks: list[Track], *, rotation: int = 0) -> track_answers.TrackAnswers:
    model = ToneModel(rotation=rotation)
    outputs = [model.classify_audio(one.audio[np.newaxis])["probabilities"][0] for one in tracks]
    return track_answers.in_order(
        [one.track_id for one in tracks], np.zeros(len(tracks)), np.stack(outputs)
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A candidate's artifact, with its SavedModel in Format-Serving."""
    folder = tmp_path_factory.mktemp("model")
    write_tone_model(folder / "Format-Serving")
    return folder


def run(folder: Path, model: Path, tracks: list[Track]) -> dict:
    """Runs the executor; gives the report, after a look at the blessing."""

    def artifact(kind, name: str):
        made = kind()
        made.uri = str(folder / name)
        return made

    examples = artifact(standard_artifacts.Examples, "examples")
    examples.split_names = '["test"]'
    split = folder / "examples" / "Split-test"
    split.mkdir(parents=True)
    records = [one.example for one in tracks]
    raw_examples.write_records(str(split / "data_tfrecord-00000-of-00001"), records)
    track_answers.write(str(folder / "answers"), "clean", evaluated(tracks))
    candidate = standard_artifacts.Model()
    candidate.uri = str(model)
    blessing = artifact(standard_artifacts.InfraBlessing, "blessing")
    report = artifact(Report, "report")
    Executor(base_executor.BaseExecutor.Context(tmp_dir=str(folder))).Do(
        {
            "model": [candidate],
            "examples": [examples],
            "answers": [artifact(Report, "answers")],
        },
        {"blessing": [blessing], "report": [report]},
        {"settings": CHECK.to_json()},
    )
    checked = json.loads((folder / "report" / "serving_check.json").read_text())
    blessed = [path.name for path in (folder / "blessing").iterdir()]
    assert blessed == ["INFRA_BLESSED" if checked["passed"] else "INFRA_NOT_BLESSED"]
    assert blessing.get_int_custom_property("blessed") == checked["passed"]
    assert leftovers() == []
    return checked


@pytest.fixture(autouse=True)
def own_place(tmp_path_factory, monkeypatch) -> None:
    """Servers of this test have a folder that no other process on this machine has."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("served")))


def leftovers() -> list[str]:
    """Command lines of servers of this test that still run."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"{tempfile.gettempdir()}/serving-check-" in line:
            found.append(line)
    return found


def failed(report: dict) -> dict[str, str]:
    assert report["passed"] == all(check["passed"] for check in report["checks"])
    return {check["name"]: check["detail"] for check in report["checks"] if not check["passed"]}


@pytest.mark.slow
def test_a_good_candidate_is_asked_in_every_way_and_blessed(tmp_path, model, tracks):
    report = run(tmp_path, model, tracks)
    assert failed(report) == {}
    names = {check["name"] for check in report["checks"]}
    public = ("serving_default", "classify_audio", "classify_wav")
    for signature in (*public, "transform_features"):
        for protocol in ("gRPC", "REST"):
            assert f"answers of {signature} by {protocol}" in names
    assert {"warmup", "memory", "latency"} <= names
    assert report["requests"] >= 12 and report["memory_bytes"] > 100 << 20
    assert 0 < report["bare_ms"]["p50"] <= report["bare_ms"]["p95"]
    ratio = report["latency_ms"]["p95"] / report["bare_ms"]["p95"]
    assert report["ratio_p95"] == pytest.approx(ratio)


def findings_of(model: str, tracks: list[Track], *, rotation: int = 0) -> dict[str, str]:
    """What is found wrong with the answers of a SavedModel, asked without a server."""
    findings = checks.Findings()
    bare = BareModel(model)
    for signature in ("serving_default", "classify_audio", "classify_wav"):
        asking = checks.Asking(tracks, evaluated(tracks, rotation=rotation), CHECK, findings)
        asking.check_answers(bare, signature)
    bare.close()
    return failed(findings.report())


def test_other_answers_than_the_evaluated_ones_are_named(model, tracks):
    serving = str(model / "Format-Serving")
    assert findings_of(serving, tracks) == {}
    names = findings_of(serving, tracks, rotation=1)
    assert len(names) == 3
    words = "from the evaluated probabilities of 3 tracks"
    assert words in names["answers of classify_audio by a bare call"]


def test_features_in_large_units_are_compared_by_the_digits_that_float32_holds():
    """As REST writes 1234567.1, which is 1234567.125 as float32: a variance of a roll-off."""
    features = np.array([1234567.1, 0.5], np.float32)
    written = np.array([float(text) for text in features.astype(str)])
    assert np.abs(written - features).max() > CHECK.tolerance
    assert checks.difference(written, features) < 1e-6
    assert checks.difference(written + np.array([500.0, 0.0]), features) > CHECK.tolerance
    assert checks.difference(written + np.array([0.0, 2e-4]), features) > CHECK.tolerance


def test_a_model_that_answers_nan_fails(tmp_path, tracks):
    model = ToneModel()
    model.sharpness.assign(np.nan)
    names = ("serving_default", "classify_audio", "classify_wav")
    signatures = {name: getattr(model, name) for name in names}
    tf.saved_model.save(model, str(tmp_path / "nan"), signatures=signatures)
    texts = findings_of(str(tmp_path / "nan"), tracks).values()
    assert len(texts) == 3 and all("a probability is no number" in text for text in texts)


def test_a_candidate_without_warmup_requests_fails(tmp_path, model):
    findings = checks.Findings()
    checks.check_warmup(4, str(tmp_path), findings)
    checks.check_warmup(0, str(model / "Format-Serving"), findings)
    missing, not_replayed = (check["detail"] for check in findings.checks)
    assert "assets.extra/tf_serving_warmup_requests is missing" in missing
    assert "replayed 0" in not_replayed and not any(check["passed"] for check in findings.checks)


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.data-00000-of-00001"])
def test_a_truncated_savedmodel_fails_with_a_sentence(tmp_path, model, tracks, file):
    shutil.copytree(model, tmp_path / "cut")
    path = tmp_path / "cut" / "Format-Serving" / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    names = failed(run(tmp_path, tmp_path / "cut", tracks))
    assert set(names) == {"loads"} and "cannot be loaded" in names["loads"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys; sys.exit('no library')", "ended with code 1 before it served: no library"),
        ("import time; time.sleep(600)", "did not serve the candidate within 0.3 s"),
        (
            "import time; print('genre: version 1 is passed over, it cannot be served: INTERNAL: "
            "broken (serving: none; x)\\nCtrl-C stops it.', flush=True); time.sleep(600)",
            "cannot load the candidate: INTERNAL: broken",
        ),
    ],
)
def test_a_server_that_does_not_serve_fails_with_a_sentence(
    model, tracks, monkeypatch, code, words
):
    monkeypatch.setattr(candidate_server, "_COMMAND", ("-c", code, "serving-check-"))
    seconds = 0.3 if "0.3" in words else 30.0
    settings = ServingCheckSettings(SETTINGS.sample_rate_hz, start_seconds=seconds)
    serving = str(model / "Format-Serving")
    report = checks.check_candidate(serving, tracks, evaluated(tracks), settings)
    assert words in failed(report)["starts"]
    assert leftovers() == []


def test_without_evaluated_answers_or_tracks_nothing_is_blessed(tmp_path, model, tracks):
    report = checks.check_candidate(str(model), [], evaluated(tracks), CHECK)
    assert "no test track" in failed(report)["tracks"]


def test_limits_of_time_and_memory():
    findings = checks.Findings()
    limits = dataclasses.replace(CHECK, max_latency_ratio=4.0, max_latency_seconds=1.0)
    findings.bare_seconds, findings.served_seconds = [0.1] * 20, [0.5] * 20
    checks.check_latency(findings, limits)
    slow = failed(findings.report())
    assert set(slow) == {"latency ratio"} and "5.00 times" in slow["latency ratio"]
    findings.served_seconds = [0.1] * 10 + [9.0] * 10
    checks.check_latency(findings, limits)
    assert "at most 9000 ms" in failed(findings.report())["latency"]
    findings.memory_bytes = 600 << 20
    checks.check_memory(findings, dataclasses.replace(CHECK, max_memory_mib=500))
    assert "took 600 MiB at most" in failed(findings.report())["memory"]


def test_a_figure_that_is_no_number_never_passes():
    findings = checks.Findings()
    findings.add("answers", True, "", figure=float("nan"))
    assert failed(findings.report()) and "NaN" not in json.dumps(findings.report())


def test_a_server_dies_with_the_process_that_started_it(tmp_path, model):
    """SIGKILL: no `finally` runs."""
    code = (
        "import sys, time\n"
        "from components.serving_check.candidate_server import serve\n"
        "with serve(sys.argv[1], name='genre') as server:\n"
        "    print(server._process.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(model / "Format-Serving")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    while not re.search("Loading", "".join(file.read_text() for file in tmp_path.rglob("*.txt"))):
        time.sleep(0.05)  # it has become the server
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in status(pid):
        assert time.monotonic() < end
        time.sleep(0.02)


def status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "State:\tZ"
