"""What a run will do, and what is asked of a data folder before anything is executed."""

import io
import json
import os
import unicodedata

import pytest
from rich.console import Console

from components.common.errors import UserError
from components.gtzan.genres import GENRES
from pipeline.config import DataConfig, PipelineConfig
from pipeline.local import planning
from pipeline.local.console import StageDisplay

AUTO: tuple[str, ...] = ()
DISPLAY = StageDisplay(Console(file=io.StringIO()))


def prepare(folder, genres=GENRES) -> DataConfig:
    config = PipelineConfig(data=DataConfig(str(folder), genres=genres))
    return planning.prepare_music(config, DISPLAY).data


def touch(folder, *names: str, count: int = 3) -> None:
    for name in names:
        for number in range(count):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / f"{number}.wav").touch()


def test_each_metadata_store_has_its_own_folder_of_artifacts(tmp_path):
    """So no run reads what an earlier one left when the metadata was deleted."""
    touch(tmp_path / "music", "polka", "ska")
    data = DataConfig(str(tmp_path / "music"), genres=AUTO)
    config = PipelineConfig(data, output=str(tmp_path / "out"), models=("ann",))
    first, again = planning.make(config, DISPLAY), planning.make(config, DISPLAY)
    assert first.config.data.genres == ("polka", "ska")
    assert {"Trainer-ann", "Pusher"} <= {node.id for node in first.dag.components}
    root = first.dag.pipeline_info.pipeline_root
    assert root == again.dag.pipeline_info.pipeline_root == f"{tmp_path}/out/pipeline/{first.store}"
    assert first.store_is_new and not again.store_is_new
    config.metadata_file.unlink()
    (tmp_path / "music" / "ska" / "new.wav").write_bytes(b"other sound")
    anew = planning.make(config, DISPLAY)
    assert anew.store_is_new and anew.dag.pipeline_info.pipeline_root != root
    assert anew.data_fingerprint != first.data_fingerprint == again.data_fingerprint
    assert len({first.run_id, again.run_id, anew.run_id}) == 3


@pytest.mark.parametrize(
    "place",
    ["blues/a.wav", "Hip-Hop/a.wav", "Data/genres_original/jazz/a.wav", "blues/Band/Album/a.m4a"],
)
def test_genre_folders_are_found_as_ingest_finds_them(tmp_path, place):
    root = place.partition("jazz")[0] if "genres_original" in place else ""
    touch(tmp_path / root, *GENRES)
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).touch()
    assert prepare(tmp_path).genres == GENRES


def test_auto_resolves_to_the_folders_that_are_there(tmp_path):
    names = ("Ma\u0308rz [live]", "R&B", "新 音", "a b")
    touch(tmp_path / "my (music)", *(f"{name}/Album" for name in names), ".hidden")
    (tmp_path / "my (music)" / "sheet music").mkdir()
    (tmp_path / "my (music)" / "sheet music" / "1.pdf").touch()
    expected = sorted(unicodedata.normalize("NFC", name) for name in names)
    assert prepare(tmp_path / "my (music)", AUTO).genres == tuple(expected)


@pytest.mark.parametrize(
    ("folders", "genres", "message"),
    [
        (("shoegaze",), GENRES, "for blues, .*--genres auto"),
        ((*GENRES[:8], "regae", GENRES[9]), GENRES, "'regae': did you mean reggae"),
        ((), GENRES, "--data: there is no folder with audio files"),
        (("rock",), AUTO, "at least 2 genres"),
        (("rock", "Rock", "pop"), AUTO, "'Rock' and 'rock' differ in spelling only"),
        (("rock", "pop"), ("rock", "polka"), "no folder with audio files for polka"),
        (("rock", "pop"), ("rock",), "at least 2 genres"),
        (("rock", "pop", "two"), AUTO, r"at least 3 tracks.*Received: two with 2"),
        (("rock", "two"), ("rock", "two"), r"at least 3 tracks.*Received: two with 2"),
    ],
)
def test_genres_that_cannot_be_learned_are_refused_by_name(tmp_path, folders, genres, message):
    for folder in folders:
        touch(tmp_path, folder, count=2 if folder == "two" else 3)
    with pytest.raises(UserError, match=message):
        prepare(tmp_path, genres)


def test_composed_music_is_called_synthetic_wherever_it_lies(tmp_path):
    touch(tmp_path, *GENRES)
    assert not prepare(tmp_path).synthetic
    (tmp_path / "sample.json").write_text("[1, 2]")
    assert not prepare(tmp_path).synthetic  # somebody else's file
    (tmp_path / "sample.json").write_text(json.dumps({"composer": 1, "seed": 0}))
    assert prepare(tmp_path).synthetic and prepare(tmp_path, AUTO).synthetic


def test_a_path_that_is_not_utf8_is_refused_in_letters_that_can_be_printed(tmp_path):
    folder = tmp_path / os.fsdecode(b"m\xfcsik")
    touch(folder, "blues")
    with pytest.raises(UserError, match=r"not UTF-8; rename it. Received: .*/m\\xfcsik$"):
        prepare(folder)
