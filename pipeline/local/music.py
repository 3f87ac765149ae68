"""Prepares the music of a run: given by the user, composed or downloaded."""

import dataclasses
from pathlib import Path

from components.common.errors import UserError
from components.common.storage import is_remote
from components.gtzan import layout, listing, manifest
from pipeline.config import DataConfig, PipelineConfig
from pipeline.local.console import StageDisplay


def prepare(config: PipelineConfig, *, display: StageDisplay, download: bool) -> PipelineConfig:
    """Makes sure that the data folder holds music.

    Args:
      config: Settings of the run.
      display: Shows the progress of composing or downloading.
      download: Whether to fetch GTZAN to the data folder.

    Returns:
      The settings with the genres of the data folder, and whether its music is composed. For an
      object store `resolve_remote` adds them, once the store is open.

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
    return resolve_local(config)


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
    return _with_genres(config, paths, composed=manifest.is_composed(local))


def resolve_remote(config: PipelineConfig) -> PipelineConfig:
    """Adds the genres of data in an object store, as `prepare` does for local data.

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
    if genres == DataConfig.genres:  # the default, GTZAN's
        # Ingest reports missing and small genres, with a table of all genres.
        if layout.find_root(paths, genres) is None:
            raise UserError(
                f"--data: {data.folder} has none of the folders {', '.join(genres)}; give a folder "
                "of genre folders, or --genres auto to take those that are there as the genres"
            )
    elif data.genres:
        layout.check_genres(paths, genres)
    return dataclasses.replace(
        config,
        data=dataclasses.replace(data, genres=genres, synthetic=data.synthetic or composed),
    )
