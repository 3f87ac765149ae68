"""What a run will do, before anything is executed."""

import io

import pytest
from rich.console import Console

from components.common.errors import UserError
from components.gtzan.genres import GENRES
from pipeline.config import DataConfig, PipelineConfig
from pipeline.local import planning
from pipeline.local.console import StageDisplay


@pytest.fixture
def config(tmp_path) -> PipelineConfig:
    for genre in ("polka", "ska"):
        for number in range(3):
            (tmp_path / "music" / genre).mkdir(parents=True, exist_ok=True)
            (tmp_path / "music" / genre / f"{number}.wav").write_bytes(b"sound")
    return PipelineConfig(
        DataConfig(str(tmp_path / "music"), genres=()),
        output=str(tmp_path / "out"),
        models=("ann",),
    )


def make(config: PipelineConfig) -> planning.Plan:
    return planning.make(config, StageDisplay(Console(file=io.StringIO())))


def test_each_metadata_store_has_its_own_folder_of_artifacts(config):
    """So no run reads what an earlier one left when the metadata was deleted."""
    first, again = make(config), make(config)
    assert first.store_is_new and not again.store_is_new
    assert (
        first.dag.pipeline_info.pipeline_root
        == again.dag.pipeline_info.pipeline_root
        == f"{config.output}/pipeline/{first.store}"
    )
    config.metadata_file.unlink()
    anew = make(config)
    assert (
        anew.store_is_new
        and anew.dag.pipeline_info.pipeline_root != first.dag.pipeline_info.pipeline_root
    )
    assert len({first.run_id, again.run_id, anew.run_id}) == 3


def test_genres_and_content_are_those_of_the_music(config, tmp_path):
    before = make(config)
    assert before.config.data.genres == ("polka", "ska")
    assert {"GtzanExampleGen", "Trainer-ann", "Pusher"} <= {
        node.id for node in before.dag.components
    }
    (tmp_path / "music" / "ska" / "new.wav").write_bytes(b"other sound")
    assert make(config).data_fingerprint != before.data_fingerprint
    with pytest.raises(UserError, match="--genres auto"):
        make(PipelineConfig(DataConfig(config.data.folder, genres=GENRES), output=config.output))
