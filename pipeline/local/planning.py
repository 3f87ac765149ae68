"""What a run will do: its music, its nodes, and what TFX's cache goes by."""

import dataclasses
import datetime
import uuid
from typing import TYPE_CHECKING

from components.common import runtime, storage
from components.common.storage import is_remote
from pipeline import beam_checks, genres
from pipeline.config import PipelineConfig
from pipeline.local import music, tracking_store
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


def make(config: PipelineConfig, display: StageDisplay, *, download: bool = False) -> Plan:
    """Prepares the music and makes the nodes of a run.

    Args:
      config: Settings of the run.
      display: Shows what is done.
      download: Whether GTZAN is to be fetched to the data folder first.

    Raises:
      UserError: The music cannot be used, or something else that the run needs is missing.
    """
    beam_checks.check_reachable(config.beam)
    config = music.prepare(config, display=display, download=download)
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
            tracking_uri=tracking_store.tracking_uri(config),
        )
    return Plan(config, dag, run_id, data_fingerprint, store, store_is_new)
