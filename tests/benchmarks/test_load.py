"""What the load test makes of ghz's and hey's reports: programs that write such ones stand in."""

import json
from pathlib import Path

import pytest

from benchmarks import load


def program(path: Path, output: str) -> Path:
    path.with_suffix(".out").write_text(output)
    path.write_text(f'#!/bin/sh\necho "$@" > {path}.said\ncat {path.with_suffix(".out")}\n')
    path.chmod(0o755)
    return path


def test_ghz_is_read_by_status(tmp_path):
    details = [
        {"latency": 30_000_000, "status": "OK"},
        {"latency": 10_000_000, "status": "OK"},
        {"latency": 2_000_000, "status": "Unavailable"},
    ]
    tool = program(tmp_path / "ghz", json.dumps({"total": 2e9, "details": details}))
    answers = load.ghz(tool, "localhost:1", tmp_path / "body")(4, 5, 20.0)
    assert answers.of({"OK"}) == [30.0, 10.0]
    assert (answers.seconds, answers.errors) == (2.0, 3)
    assert answers.counts == {"OK": 2, "Unavailable": 1, "lost": 2}
    assert "-c 4 -n 5" in (tmp_path / "ghz.said").read_text()
    assert "--rps 20" in (tmp_path / "ghz.said").read_text()


def test_hey_is_read_by_status_and_what_it_leaves_out_is_lost(tmp_path):
    rows = "response-time,DNS+dialup,status-code,offset\n0.5,0.1,200,0.0\n0.02,0.1,503,0.1\n"
    tool = program(tmp_path / "hey", rows)
    answers = load.hey(tool, "http://localhost:1", tmp_path / "body")(2, 5, 0.0)
    assert answers.latencies_ms == {"200": [500.0], "503": [20.0]}
    assert (answers.lost, answers.errors) == (2, 3)  # it sends four: as many from each client


def test_missing_tools_are_named(tmp_path, capsys):
    program(tmp_path / "ghz", "")
    arguments = ["--model-base-path", str(tmp_path), "--tools", str(tmp_path)]
    assert load.main(arguments) == 2
    assert "hey is missing: `make load` installs it (needs Go)" in capsys.readouterr().err


@pytest.mark.parametrize(("values", "text"), [([], "–"), ([1.0, 3.0], "2, 3")])
def test_points_are_the_median_and_the_99th_percentile(values, text):
    assert load.points(values) == text
