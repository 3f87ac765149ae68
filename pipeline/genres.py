"""The genres of a run whose settings do not name them, and whether its music is composed."""

import dataclasses
from pathlib import Path

from components.common.errors import UserError
from components.common.storage import is_remote
from components.gtzan import layout, listing
from pipeline.config import PipelineConfig


def resolve_local(config: PipelineConfig) -> PipelineConfig:
    """Adds the genres of a local data folder, and whether its music is composed.

    Args:
      config: Settings of the run.

    Raises:
      UserError: The genre folders cannot be used.
    """
    local = Path(config.data.folder).expanduser()
    audio_files = listing.local_files(local)
    paths = [file.path for file in audio_files if not file.problem]
    if audio_files and not paths:
        raise UserError(
            f"--data: {layout.printable(str(local / audio_files[0].path))} cannot be read: "
            f"{audio_files[0].problem}"
        )
    return _with_genres(config, paths, composed=listing.is_composed(local))


def resolve_remote(config: PipelineConfig) -> PipelineConfig:
    """Adds the genres of data in an object store, as `resolve_local` does for local data.

    Args:
      config: Settings of the run; with local data they are returned unchanged.

    Returns:
      The settings with genres, and whether the music is composed.

    Raises:
      UserError: The genre folders cannot be used.
    """
    if not is_remote(config.data.folder):
        return config
    from components.example_gen import files

    files.open_file_systems()
    paths = files.audio_paths(config.data.folder)
    return _with_genres(config, paths, composed=files.is_composed(config.data.folder))


def _with_genres(config: PipelineConfig, paths: list[str], *, composed: bool) -> PipelineConfig:
    """Derives the genres from the audio files, or checks the given ones against them."""
    data = config.data
    genres = data.genres or layout.genres_in(paths)
    layout.check_genres(paths, genres)
    return dataclasses.replace(
        config,
        data=dataclasses.replace(data, genres=genres, synthetic=data.synthetic or composed),
    )
