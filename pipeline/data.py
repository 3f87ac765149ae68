"""The music of a run: there already, composed, or downloaded."""

from pathlib import Path

from components.errors import UserError
from components.gtzan import layout
from components.gtzan.genres import GENRES
from components.storage import is_remote
from pipeline.config import PipelineConfig
from pipeline.console import StageDisplay


def prepare(config: PipelineConfig, *, display: StageDisplay, download: bool) -> None:
    """Makes sure that the data folder holds music.

    Args:
      config: The run.
      display: Shows the progress of composing or downloading.
      download: Whether to fetch GTZAN to the data folder.

    Raises:
      UserError: There is nothing that could be read, or it cannot be fetched.
    """
    folder = config.data.folder
    if download:
        from components.gtzan.download import download_gtzan

        with display.stage(f"downloading GTZAN to {folder}"):
            download_gtzan(Path(folder))
    elif config.data.synthetic:
        from components.gtzan.synthetic import write_sample

        with display.stage(f"composing the synthetic sample in {folder}"):
            write_sample(folder, progress=lambda done, all: display.report("tracks", done, all))
    elif not is_remote(folder) and not _has_genre_folders(Path(folder)):
        raise UserError(
            f"--data: {folder} has none of the folders {', '.join(GENRES)}; give a folder of genre "
            "folders"
        )


def _has_genre_folders(folder: Path) -> bool:
    """Whether ingest would find a genre's folder, by its own rules, asked before TensorFlow is."""
    return any(
        layout.has_genre_folders(
            (path.relative_to(base).as_posix() for path in base.glob("*/*")), GENRES
        )
        for base in (folder / root for root in layout.ROOTS)
    )
