"""What a run will do: its music, its nodes, and what TFX's cache goes by."""

import dataclasses
import datetime
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from components.common import runtime, storage
from components.common.errors import UserError
from components.common.storage import is_remote
from components.gtzan import layout
from pipeline import beam_checks, genres
from pipeline.config import PipelineConfig
from pipeline.local import mlflow_store
from pipeline.local.console import StageDisplay

if TYPE_CHECKING:  # it brings TensorFlow
    from tfx.orchestration.pipeline import Pipeline


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
      config: Settings of the run, with the genres of its music.
      dag: Its nodes.
      run_id: Of this run.
      data_fingerprint: Of the music.
      store: Name of the metadata store, which no other run uses meanwhile.
      store_is_new: Whether nothing can be cached.
    """

    config: PipelineConfig
    dag: "Pipeline"
    run_id: str
    data_fingerprint: str
    store: str
    store_is_new: bool


def make(
    config: PipelineConfig, display: StageDisplay, *, download: bool = False, flags: str = ""
) -> Plan:
    """Prepares the music and makes the nodes of a run.

    Args:
      config: Settings of the run.
      display: Shows what is done.
      download: Whether GTZAN is to be fetched to the data folder first.
      flags: The file for `--config` that runs the same again.

    Raises:
      UserError: The music cannot be used, or something else that the run needs is missing.
    """
    beam_checks.check_reachable(config.beam)
    config = prepare_music(config, display, download=download)
    with display.stage("starting TensorFlow, Beam and TFX"):
        with runtime.importing():
            from components.example_gen.component import fingerprint
            from pipeline.local import metadata_store
            from pipeline.pipeline import create_pipeline, ingest_settings
        if is_remote(config.data.folder) or is_remote(config.output):
            storage.open_object_stores(config.data.folder, config.output)
            config = genres.resolve_remote(config)
    with display.stage("looking for changes in the data"):
        data_fingerprint = fingerprint(config.data.folder, ingest_settings(config))
        store_is_new = not config.metadata_file.is_file()
        store = metadata_store.identity(config.metadata_file)
        run_id = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}"
        dag = create_pipeline(
            config,
            data_fingerprint=data_fingerprint,
            run_id=run_id,
            pipeline_root=f"{config.pipeline_root}/{store}",
            tracking_uri=mlflow_store.tracking_uri(config),
            flags=flags,
        )
    return Plan(config, dag, run_id, data_fingerprint, store, store_is_new)


def prepare_music(
    config: PipelineConfig, display: StageDisplay, *, download: bool = False
) -> PipelineConfig:
    """Makes sure that the data folder holds music: composed, downloaded or the user's.

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
    return config if is_remote(folder) else genres.resolve_local(config)
