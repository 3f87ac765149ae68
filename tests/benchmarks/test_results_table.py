"""The table of models by protocols."""

import csv

import pytest

from benchmarks import results_table
from tests.conftest import ROOT


def row(model, protocol, seed, track, window="0"):
    return {
        "data": "audio",
        "protocol": protocol,
        "model": model,
        "seed": seed,
        "track_accuracy": track,
        "window_accuracy": window,
    }


def test_cells_are_means_over_rounds_with_the_spread_over_seeds():
    lines = results_table.table(
        [
            row("cnn", "folds", "0", "0.4"),
            row("cnn", "folds", "0", "0.6"),
            row("cnn", "folds", "1", "0.7"),
            row("svm", "segment", "0", "0.1", window="0.9"),
        ]
    ).splitlines()
    assert lines[0] == (
        "| model | audio: folds, track level | audio: segment, window level (leaks) "
        "| other projects report |"
    )
    assert "| `cnn` | 0.600 ± 0.100 | – | 0.63 |" in lines
    assert lines[-1] == "| `svm` | – | 0.900 | – |"


def test_the_table_in_the_docs_is_that_of_the_results_file():
    with (ROOT / "docs" / "results.csv").open() as file:
        assert results_table.table(csv.DictReader(file)) in (ROOT / "docs/results.md").read_text()


def test_a_missing_file_is_named(capsys):
    with pytest.raises(SystemExit):
        results_table.main(["no.csv"])
    assert "no.csv" in capsys.readouterr().err
