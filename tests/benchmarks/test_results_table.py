"""The table of models by protocols."""

import pytest

from benchmarks import results_table
from benchmarks.results import read
from components.common.errors import UserError
from tests.conftest import ROOT

TABLE = ROOT / "requirements.txt"


def row(model, protocol, seed, track, window="0", **others):
    return {
        "data": "audio",
        "protocol": protocol,
        "split": "halves",
        "model": model,
        "settings": "",
        "seed": seed,
        "round": "0",
        "scored_tracks": "14",
        "deformation": "",
        **others,
        "track_accuracy": track,
        "window_accuracy": window,
    }


def test_cells_are_means_over_rounds_with_the_spread_over_seeds():
    lines = results_table.table(
        [
            row("cnn", "folds", "0", "0.3", scored_tracks="10"),
            row("cnn", "folds", "0", "0.6", scored_tracks="20", round="1"),
            row("cnn", "folds", "1", "0.7"),
            row("svm", "segment", "0", "0.1", window="0.9"),
        ]
    ).splitlines()
    assert lines[0] == (
        "| model | audio: folds, track level | audio: segment, window level (leaks) "
        "| other projects report |"
    )
    assert "| `cnn` | 0.600 (0.42–0.75) ± 0.100 | – | 0.63 |" in lines
    assert lines[-1] == "| `svm` | – | 0.900 | – |"


def test_the_table_in_the_docs_is_that_of_the_results_file():
    rows = read(ROOT / "docs" / "results.csv")
    assert results_table.table(rows) in (ROOT / "docs" / "results" / "index.md").read_text()


def test_what_was_measured_in_two_ways_does_not_share_a_cell():
    rows = [row("vgg16", "track", "0", "0.4", settings="weights=none")]
    with pytest.raises(UserError, match=r"vgg16 under track .*weights=none"):
        results_table.table([*rows, row("vgg16", "track", "1", "0.6")])
    again = row("vgg16", "track", "0", "0.2", settings="weights=none")
    table = results_table.table([*rows, again])  # the last one counts
    assert "| `vgg16` | 0.200 (0.08–0.48) | – |" in table


def test_a_missing_or_another_file_is_named(tmp_path, capsys):
    for path, complaint in ((tmp_path / "no.csv", "cannot be read"), (TABLE, "columns are data")):
        with pytest.raises(SystemExit):
            results_table.main([str(path)])
        complained = capsys.readouterr().err
        assert complaint in complained and path.name in complained


def test_deformed_sound_has_a_table_of_its_own(tmp_path):
    rows = [
        row("cnn", "folds", seed, track, deformation=version, track_loss="1", track_confidence="0")
        for seed, version, track in (("0", "", "0.9"), ("0", "mp3_64k", "0.8"), ("1", "", "0.7"))
    ]
    figures = results_table.deformed(rows)
    lines = results_table.deformed_table(figures).splitlines()
    assert lines[0] == "| sound | `cnn` |"
    assert lines[2:] == ["| as it is | 0.80 / 1.00 / 0.00 |", "| mp3_64k | 0.80 / 1.00 / 0.00 |"]
    results_table.draw_deformed(figures, tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
