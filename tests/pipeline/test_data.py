"""What is asked of a data folder before anything heavy is imported."""

import pytest
from rich.console import Console

from components.errors import UserError
from pipeline import data
from pipeline.config import DataConfig, PipelineConfig
from pipeline.console import StageDisplay


def prepare(folder) -> None:
    config = PipelineConfig(data=DataConfig(str(folder)))
    data.prepare(config, display=StageDisplay(Console()), download=False)


@pytest.mark.parametrize(
    "place", ["blues/a.wav", "Hip-Hop/a.wav", "genres_original/jazz/jazz.00000.wav"]
)
def test_genre_folders_are_found_as_ingest_finds_them(tmp_path, place):
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).touch()
    prepare(tmp_path)


@pytest.mark.parametrize("place", ["a.wav", "shoegaze/a.wav"])
def test_a_folder_without_them_is_refused_by_name(tmp_path, place):
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).touch()
    with pytest.raises(UserError, match=f"{tmp_path} has none of the folders blues"):
        prepare(tmp_path)
