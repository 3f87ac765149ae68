"""The picture of the leak gap, from a results file."""

import csv

import pytest

from benchmarks import leak_gap
from benchmarks.results import FIELDS, read


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, restval="0")
        writer.writeheader()
        writer.writerows(rows)


def row(protocol, seed, window, track):
    return {
        "data": "audio, 70 tracks",
        "protocol": protocol,
        "model": "cnn",
        "seed": seed,
        "scored_tracks": 10,
        "window_accuracy": window,
        "track_accuracy": track,
    }


def test_bars_are_means_over_seeds_and_rounds(tmp_path):
    rows = [row("segment", 0, 0.9, 0.9), row("folds", 0, 0.4, 0.5), row("folds", 1, 0.6, 0.7)]
    write(tmp_path / "results.csv", rows)
    leak_gap.main([str(tmp_path / "results.csv"), str(tmp_path / "gap.png")])
    assert (tmp_path / "gap.png").read_bytes().startswith(b"\x89PNG")
    found = leak_gap.means(read(tmp_path / "results.csv"))
    assert found["cnn", "segment", "window_accuracy"] == 0.9
    assert found["cnn", "folds", "track_accuracy"] == pytest.approx(0.6)
    heights = [bar.get_height() for bar in leak_gap.draw(found, title="").axes[0].patches]
    assert heights[:3] == [0.9, pytest.approx(0.5), pytest.approx(0.6)]


def test_without_segments_there_is_nothing_to_draw(tmp_path, capsys):
    write(tmp_path / "results.csv", [row("folds", 0, 0.4, 0.5)])
    with pytest.raises(SystemExit):
        leak_gap.main([str(tmp_path / "results.csv"), str(tmp_path / "gap.png")])
    assert "--protocol segment" in capsys.readouterr().err
