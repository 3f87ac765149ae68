"""Prepares the music of a run: given by the user, composed or downloaded."""

from pathlib import Path

from components.common.errors import UserError
from components.common.storage import is_remote
from components.gtzan import layout
from pipeline import genres
from pipeline.config import PipelineConfig
from pipeline.local.console import StageDisplay


def prepare(config: PipelineConfig, *, display: StageDisplay, download: bool) -> PipelineConfig:
    """Makes sure that the data folder holds music.

    Args:
      config: Settings of the run.
      display: Shows the progress of composing or downloading.
      download: Whether to fetch GTZAN to the data folder.

    Returns:
      The settings with the genres of the data folder, and whether its music is composed. For an
      object store `genres.resolve_remote` adds them, once the store is open.

    Raises:
      UserError: The data cannot be read or downloaded.
    """
    folder = config.data.folder
    if not layout.is_text(folder):
        raise UserError(
            "--data: the folder's path is not UTF-8; rename it. "
            f"Received: {layout.printable(folder)}"
        )
    if download:
        from components.gtzan.download import download_gtzan

        with display.stage(f"downloading GTZAN to {folder}"):
            download_gtzan(Path(folder))
    elif config.data.synthetic:
        from components.gtzan.synthetic import write_sample

        with display.stage(f"composing the synthetic sample in {folder}"):
            write_sample(folder, progress=lambda done, all: display.report("tracks", done, all))
    if is_remote(folder):
        return config
    return genres.resolve_local(config)
