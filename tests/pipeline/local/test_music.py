"""What is asked of a data folder before anything heavy is imported."""

import dataclasses
import json
import os
import unicodedata

import pytest
from rich.console import Console

from components.common.errors import UserError
from components.gtzan.genres import GENRES
from pipeline import genres
from pipeline.config import DataConfig, PipelineConfig
from pipeline.local import music
from pipeline.local.console import StageDisplay

AUTO: tuple[str, ...] = ()


def prepare(folder, genres=GENRES) -> DataConfig:
    config = PipelineConfig(data=DataConfig(str(folder), genres=genres))
    return music.prepare(config, display=StageDisplay(Console()), download=False).data


def touch(folder, *names: str, count: int = 3) -> None:
    for name in names:
        for number in range(count):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / f"{number}.wav").touch()


@pytest.mark.parametrize(
    "place",
    [
        "blues/a.wav",
        "Hip-Hop/a.wav",
        "genres_original/jazz/jazz.00000.wav",
        "Data/genres_original/jazz/jazz.00000.wav",
        "blues/Band/Album/a.m4a",
    ],
)
def test_genre_folders_are_found_as_ingest_finds_them(tmp_path, place):
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).touch()
    assert prepare(tmp_path).genres == GENRES


@pytest.mark.parametrize("place", ["a.wav", "shoegaze/a.wav"])
def test_a_folder_without_them_is_refused_by_name(tmp_path, place):
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).touch()
    with pytest.raises(UserError, match=f"{tmp_path} has none of the folders blues.*--genres auto"):
        prepare(tmp_path)


def test_auto_resolves_to_the_folders_that_are_there(tmp_path):
    names = ("Ma\u0308rz [live]", "R&B", "新 音", "a b")
    touch(tmp_path / "my (music)", *(f"{name}/Album" for name in names))
    touch(tmp_path / "my (music)", ".hidden", "sheet music")
    for path in (tmp_path / "my (music)" / "sheet music").iterdir():
        path.rename(path.with_suffix(".pdf"))
    expected = sorted(unicodedata.normalize("NFC", name) for name in names)
    assert prepare(tmp_path / "my (music)", AUTO).genres == tuple(expected)


@pytest.mark.parametrize(
    ("folders", "genres", "says"),
    [
        (("rock",), AUTO, "at least 2 genres"),
        (("rock", "Rock", "pop"), AUTO, "'Rock' and 'rock' differ in spelling only"),
        (("rock", "pop"), ("rock", "polka"), "no folder with audio files for polka"),
        (("rock", "pop"), ("rock",), "at least 2 genres"),
    ],
)
def test_genres_that_cannot_be_learned_are_refused_by_name(tmp_path, folders, genres, says):
    touch(tmp_path, *folders)
    with pytest.raises(UserError, match=says):
        prepare(tmp_path, genres)


def test_a_genre_of_two_tracks_is_named(tmp_path):
    touch(tmp_path, "rock", "pop")
    touch(tmp_path, "ska", count=2)
    with pytest.raises(UserError, match=r"at least 3 tracks.*Received: ska with 2"):
        prepare(tmp_path, AUTO)
    with pytest.raises(UserError, match=r"at least 3 tracks.*Received: ska with 2"):
        prepare(tmp_path, ("rock", "ska"))


def test_composed_music_is_called_synthetic_wherever_it_lies(tmp_path):
    touch(tmp_path, "blues", "jazz")
    assert not prepare(tmp_path).synthetic
    (tmp_path / "sample.json").write_text("[1, 2]")
    assert not prepare(tmp_path).synthetic  # somebody else's file
    (tmp_path / "sample.json").write_text(json.dumps({"composer": 1, "seed": 0}))
    assert prepare(tmp_path).synthetic
    assert prepare(tmp_path, AUTO) == dataclasses.replace(
        prepare(tmp_path), genres=("blues", "jazz")
    )


def test_a_sample_that_was_really_composed_is_known(tmp_path):
    from components.gtzan.synthetic import write_sample

    write_sample(tmp_path / "copy", tracks_per_genre=1, workers=1)
    (tmp_path / "copy").rename(tmp_path / "moved")
    assert prepare(tmp_path / "moved").synthetic


def test_a_path_that_is_not_utf8_is_refused_in_letters_that_can_be_printed(tmp_path):
    folder = tmp_path / os.fsdecode(b"m\xfcsik")
    touch(folder, "blues")
    with pytest.raises(UserError, match=r"not UTF-8; rename it. Received: .*/m\\xfcsik$"):
        prepare(folder)


def test_local_data_is_not_asked_for_again():
    config = PipelineConfig(data=DataConfig("music", genres=("a", "b")))
    assert genres.resolve_remote(config) is config
