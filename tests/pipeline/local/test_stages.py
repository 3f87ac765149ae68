"""What a run reads: files of its own executions, whatever lies in the output folder."""

import contextlib
import dataclasses
import logging
import uuid
from pathlib import Path

import tensorflow as tf
from tfx import v1 as tfx
from tfx.types import standard_artifacts

from components.example_gen.component import fingerprint
from components.gtzan.genres import GENRES
from pipeline.config import DataConfig, PipelineConfig
from pipeline.local import metadata_store
from pipeline.local.stages import StageResult, execute_here, run_stages
from pipeline.pipeline import create_pipeline, ingest_settings
from tests.example_gen.conftest import sound, write_track


def run_ingest(config: PipelineConfig, execute=None) -> StageResult:
    """Runs the first stage as a run on this machine does."""
    store = metadata_store.identity(config.metadata_file)
    dag = create_pipeline(
        config,
        data_fingerprint=fingerprint(config.data.folder, ingest_settings(config)),
        run_id="run",
        pipeline_root=f"{config.pipeline_root}/{store}",
    )
    results = run_stages(
        dag,
        watch=lambda *_: contextlib.nullcontext(),
        finished=lambda _: None,
        execute=execute,
        last="GtzanExampleGen",
        run_id=str(uuid.uuid4()),
    )
    return results["GtzanExampleGen"]


def ingest(config: PipelineConfig) -> list[str]:
    """Runs the first stage; the ids of the tracks that it wrote."""
    (examples,) = run_ingest(config).outputs["examples"]
    files = sorted(str(path) for path in Path(examples.uri).glob("Split-*/*"))
    ids = []
    for record in tf.data.TFRecordDataset(files).as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        ids.append(features["track_id"].bytes_list.value[0].decode())
    return sorted(ids)


def write_tones(folder: Path, per_genre: int) -> Path:
    for number, genre in enumerate(GENRES):
        for index in range(per_genre):
            write_track(folder, genre, index, sound(100 * number + 10 * per_genre + index))
    return folder


def tracks_of(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*/*.wav"))


def test_no_run_reads_what_an_earlier_one_left_when_the_metadata_was_deleted(tmp_path):
    """The second set is smaller, so that its shards would not overwrite all of the first one's."""
    large, small = (write_tones(tmp_path / f"music{count}", count) for count in (7, 3))
    config = PipelineConfig(
        data=DataConfig(str(large)), output=str(tmp_path / "out"), models=("cnn",)
    )
    assert ingest(config) == tracks_of(large)
    config.metadata_file.unlink()
    config = dataclasses.replace(config, data=DataConfig(str(small)))
    assert ingest(config) == tracks_of(small)


@tfx.dsl.components.component
def reader(schema: tfx.dsl.components.InputArtifact[standard_artifacts.Schema]):
    """A node with an input, whose artifact TFX looks up."""
    logging.getLogger("absl").warning("read %s", schema.uri)


def test_the_log_is_free_of_warnings_about_inputs_that_are_as_they_should_be(tmp_path):
    schema = tfx.dsl.Importer(str(tmp_path), standard_artifacts.Schema).with_id("SchemaImport")
    pipeline = tfx.dsl.Pipeline(
        "two-nodes",
        str(tmp_path / "pipeline"),
        components=[schema, reader(schema=schema.outputs["result"])],
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(tmp_path / "metadata.db")
        ),
    )
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("absl").addHandler(handler)
    try:
        run_stages(pipeline, watch=lambda *_: contextlib.nullcontext(), finished=lambda _: None)
    finally:
        logging.getLogger("absl").removeHandler(handler)
    assert f"read {tmp_path}" in records
    assert not any("ArtifactQuery" in text for text in records)


def test_a_cached_stage_calls_no_executor(tmp_path):
    music = write_tones(tmp_path / "music", 3)
    config = PipelineConfig(data=DataConfig(str(music)), output=str(tmp_path / "out"))
    executed = []

    def execute(spec, execution):
        executed.append(execution.pipeline_node.node_info.id)
        return execute_here(spec, execution)

    first = run_ingest(config, execute=execute)
    assert not first.cached and first.processor_seconds > 0
    again = run_ingest(config, execute=execute)
    assert executed == ["GtzanExampleGen"]
    assert again.cached and again.outputs == first.outputs
    assert again.peak_bytes == again.processor_seconds == 0
