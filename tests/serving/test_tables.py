"""What a person reads: any genres, close calls, and who answered."""

import colorsys
import itertools
import pathlib
from collections.abc import Sequence

import numpy as np
import pytest
from rich.console import Console

from components.common.csv_cells import escape_csv_cell
from components.common.releases import Release
from serving.client import FileResult, GenrePrediction
from serving.client.colours import genre_colours, relative_luminance
from serving.client.output import csv_row
from serving.client.tables import song_table, songs_table


def prediction(genres: Sequence[str], probabilities: Sequence[float], name: str = "a.wav"):
    values = np.array(probabilities, np.float32)
    return GenrePrediction(
        name=name,
        model="genre",
        version=3,
        genres=tuple(genres),
        probabilities=values,
        window_probabilities=np.tile(values, (4, 1)),
        window_starts_seconds=np.arange(4) * 3.0,
        window_seconds=3.0,
        duration_seconds=12.0,
        call_seconds=0.03,
    )


def printed(table) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_close_call_is_said_as_one() -> None:
    close = prediction(["disco", "pop", "rock"], [0.25, 0.23, 0.1])
    assert close.close and close.verdict() == "disco 25 %, pop 23 %: close"
    assert close.as_json()["close"] is True
    assert "pop 23 %, rock 10 %: close" in printed(songs_table([close] * 2, Release(3)))
    assert "disco 25 %, pop 23 %: close" in printed(song_table(close, Release(3)))
    clear = prediction(["disco", "pop", "rock"], [0.5, 0.3, 0.2])
    assert not clear.close and clear.verdict() == "disco 50 %"
    assert "close" not in printed(songs_table([clear] * 2, Release(3)))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_cells_that_a_spreadsheet_would_run_are_escaped(start: str) -> None:
    name = f"{start}cmd|' /C calc'!A0.wav"
    made = csv_row(FileResult(pathlib.Path(name), prediction(["a", "b"], [0.9, 0.1], name=name)))
    failed = csv_row(FileResult(pathlib.Path(name), error=f"{name} is not audio"))
    assert (made[0], failed[0]) == (f"'{name}", f"'{name}")
    assert failed[-1] == f"'{name} is not audio"
    assert made[2] == "0.900000"
    assert [escape_csv_cell(value) for value in ("-14.2", -14.2, "a=b")] == ["-14.2", -14.2, "a=b"]


def test_foot_names_the_model_and_warns_of_synthetic_music() -> None:
    made = prediction(["a", "b"], [0.9, 0.1])
    release = Release(3, {"model": "cnn", "data": "x/demo", "synthetic": True})
    text = printed(song_table(made, release))
    assert "cnn, trained on demo (version 3) in 30 ms" in text
    assert "trained on synthetic music: it knows no real song" in text


@pytest.mark.parametrize("count", [2, 3, 4, 10, 15, 25, 40])
def test_colours_differ_and_are_readable_on_light_and_dark(count: int) -> None:
    colours = genre_colours(f"genre {index}" for index in range(count))
    assert len(colours) == len(set(colours.values())) == count
    parts = [[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours.values()]
    for rgb in parts:
        luminance = relative_luminance(*rgb)
        assert 1.05 / (luminance + 0.05) >= 3  # on white, and white text on it
        assert (luminance + 0.05) / (relative_luminance(0.055, 0.067, 0.09) + 0.05) >= 2.9
    distances = [np.linalg.norm(np.subtract(a, b)) for a, b in itertools.combinations(parts, 2)]
    assert min(distances) > 0.08
    hues = [colorsys.rgb_to_hls(*rgb)[0] for rgb in parts]
    apart = [min(abs(a - b), 1 - abs(a - b)) for a, b in itertools.pairwise(hues)]
    assert min(apart, default=1) > 0.15


def test_colours_are_those_of_the_list() -> None:
    assert genre_colours(["a", "b"]) == genre_colours(["a", "b"], ["b"])
    assert list(genre_colours(["a"], ["b", "a"])) == ["a", "b"]
    assert genre_colours([]) == {}
