"""The Beam stages on Flink 1.16 with two task slots give what the direct runner gives.

Flink runs inside Beam's job server, as `--beam-runner flink` starts it, and the stages in processes
of their own, as in a run. The direct runner then does the same work in this process. The model that
both evaluate has random weights: what is compared is the engines.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
import tensorflow_model_analysis as tfma
import tensorflow_transform as tft
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.artifact import Artifact

from components.audio.features import feature
from components.audio.settings import AudioSettings
from components.gtzan.genres import GENRES
from components.gtzan.splits import SPLITS
from components.trainer.release.export import write_release
from components.trainer.release.genre_graph import Branch
from pipeline.beam_runners import JOB_ENDPOINT, BeamConfig
from pipeline.config import DataConfig, PipelineConfig
from pipeline.flink.job_server import job_server
from pipeline.local.stage_process import StageProcesses
from pipeline.local.stages import StageResult, run_stages
from pipeline.pipeline import create_pipeline
from tests.example_gen.conftest import write_music

pytestmark = [pytest.mark.flink, pytest.mark.slow]

TRANSFORM, EVALUATOR = "Transform-mfcc", "Evaluator-lstm"


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> PipelineConfig:
    lacking = [command for command in ("java", "mvn") if shutil.which(command) is None]
    if lacking and not os.environ.get("CI"):
        pytest.skip(f"needs {' and '.join(lacking)}: apt-get install openjdk-17-jre-headless maven")
    folder = tmp_path_factory.mktemp("flink")
    (folder / "output").mkdir()
    return PipelineConfig(
        data=DataConfig(str(write_music(folder / "music", per_genre=3))),
        output=str(folder / "output"),
        models=("lstm",),
        audio=AudioSettings(clip_seconds=4),
        beam=BeamConfig(runner="flink", workers=2),
    )


@pytest.fixture(scope="module")
def server_log(config) -> Path:
    return Path(config.output, "flink.log")


@pytest.fixture(scope="module")
def endpoint(config, server_log) -> Iterator[str]:
    with job_server(server_log) as endpoint:
        yield endpoint


class Here:
    """Runs nodes one by one in this process, on the engine of `beam_args`."""

    def __init__(self, config: PipelineConfig, folder: Path, beam_args: list[str]) -> None:
        dag = create_pipeline(config, data_fingerprint="data", run_id="here")
        self._nodes = {node.id: node for node in dag.components}
        self._folder, self._beam_args = folder, beam_args
        self._artifacts: dict[tuple[str, str], Artifact] = {}

    def take(self, stage: str, key: str, artifact: Artifact, uri: str) -> None:
        artifact.uri = uri
        self._artifacts[stage, key] = artifact

    def run(self, stage: str) -> None:
        node = self._nodes[stage]
        executor = node.executor_spec.executor_class
        outputs = {key: channel.type() for key, channel in node.outputs.items()}
        for key, artifact in outputs.items():
            self.take(stage, key, artifact, f"{self._folder}/{stage}/{key}")
        inputs = {
            key: [self._artifacts[channel.producer_component_id, channel.output_key]]
            for key, channel in node.inputs.items()
        }
        context = executor.Context(
            beam_pipeline_args=self._beam_args, tmp_dir=f"{self._folder}/tmp", unique_id="1"
        )
        executor(context).Do(
            inputs, {key: [artifact] for key, artifact in outputs.items()}, node.exec_properties
        )

    def uri(self, stage: str, key: str) -> str:
        return self._artifacts[stage, key].uri


@pytest.fixture(scope="module")
def stages(config, endpoint) -> dict[str, StageResult]:
    """The stages up to the features on Flink, each in a process of its own, as in a run."""
    dag = create_pipeline(config, data_fingerprint="data", run_id="flink")
    with (
        pytest.MonkeyPatch.context() as patch,
        StageProcesses(config.output) as processes,
    ):
        patch.setenv(JOB_ENDPOINT, endpoint)
        stages = [node.id for node in dag.components]
        return run_stages(
            dag, execute=processes.execute, only=stages[: stages.index(TRANSFORM) + 1]
        )


def uri(results: dict[str, StageResult], stage: str, key: str) -> str:
    (output,) = results[stage].outputs[key]
    return output.uri


@pytest.fixture(scope="module")
def model(config, stages, raw_schema, tmp_path_factory) -> str:
    """A release of random weights on the features that Flink computed."""
    keras.utils.set_random_seed(0)
    described = feature("mfcc", config.audio)
    network = keras.Sequential(
        [
            keras.Input(described.window_shape),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(len(GENRES), activation="softmax"),
        ]
    )
    folder = tmp_path_factory.mktemp("model")
    graph = uri(stages, TRANSFORM, "transform_graph")
    write_release(
        str(folder / "Format-Serving"),
        [Branch(network, described)],
        settings=config.audio,
        genres=GENRES,
        transforms={"mfcc": tft.TFTransformOutput(graph)},
        serving_name="genre",
    )
    return str(folder)


@pytest.fixture(scope="module")
def on_flink(config, stages, model, endpoint, tmp_path_factory) -> Here:
    """Flink's outputs, the evaluation of `model` among them."""
    arguments = [text.replace(f"${JOB_ENDPOINT}", endpoint) for text in config.beam.pipeline_args()]
    here = Here(config, tmp_path_factory.mktemp("on-flink"), arguments)
    examples = standard_artifacts.Examples()
    examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
    here.take("GtzanExampleGen", "examples", examples, uri(stages, "GtzanExampleGen", "examples"))
    for stage, key in (("StatisticsGen", "statistics"), (TRANSFORM, "transformed_examples")):
        here.take(stage, key, standard_artifacts.ExampleStatistics(), uri(stages, stage, key))
    here.take("Trainer-lstm", "model", standard_artifacts.Model(), model)
    here.run(EVALUATOR)
    return here


@pytest.fixture(scope="module")
def direct(config, stages, model, tmp_path_factory) -> Here:
    """The direct runner's outputs, with the schema of the Flink run and the same model."""
    here = Here(config, tmp_path_factory.mktemp("direct"), BeamConfig().pipeline_args())
    schema = uri(stages, "SchemaImport", "schema")
    here.take("SchemaImport", "schema", standard_artifacts.Schema(), schema)
    here.take("Trainer-lstm", "model", standard_artifacts.Model(), model)
    for stage in ("GtzanExampleGen", "StatisticsGen", TRANSFORM, EVALUATOR):
        here.run(stage)
    return here


def records(folder: str, split: str, *, compression: str = "") -> dict[bytes, dict[str, list]]:
    """The examples of a split by track id, as lists of values by feature."""
    files = [str(path) for path in sorted(Path(folder, f"Split-{split}").iterdir())]
    found = {}
    for record in tf.data.TFRecordDataset(files, compression_type=compression):
        features = tf.train.Example.FromString(record.numpy()).features.feature
        values = {
            name: list(getattr(value, value.WhichOneof("kind")).value)
            for name, value in features.items()
        }
        (track,) = values["track_id"]
        assert track not in found, f"{track} is there twice"
        found[track] = values
    return found


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_tracks_are_in_the_same_split(on_flink, direct, split):
    there = records(on_flink.uri("GtzanExampleGen", "examples"), split)
    here = records(direct.uri("GtzanExampleGen", "examples"), split)
    assert here and there == here


@pytest.mark.parametrize("split", SPLITS)
def test_statistics_are_the_same(on_flink, direct, split):
    place = f"Split-{split}/FeatureStats.pb"
    there = tfdv.load_stats_binary(f"{on_flink.uri('StatisticsGen', 'statistics')}/{place}")
    here = tfdv.load_stats_binary(f"{direct.uri('StatisticsGen', 'statistics')}/{place}")
    (there,), (here,) = there.datasets, here.datasets
    assert there.num_examples == here.num_examples > 0
    theirs = {feature.path.step[0]: feature for feature in there.features}
    assert {"genre", "peak", "rms_db"} <= theirs.keys()
    assert len(theirs) == len(here.features)
    for one in here.features:
        other = theirs[one.path.step[0]]
        kind = one.WhichOneof("stats")
        ours, flinks = getattr(one, kind), getattr(other, kind)
        assert flinks.common_stats.num_non_missing == ours.common_stats.num_non_missing
        if kind == "num_stats":
            for name in ("mean", "std_dev", "min", "median", "max", "num_zeros"):
                assert getattr(flinks, name) == pytest.approx(getattr(ours, name), rel=1e-6), name
        if kind == "string_stats":
            assert flinks.unique == ours.unique
            ranks = lambda stats: {rank.value: rank.frequency for rank in stats.top_values}  # noqa: E731
            assert ranks(flinks) == ranks(ours)


@pytest.mark.parametrize("split", SPLITS)
def test_features_are_the_same(on_flink, direct, split):
    key = (TRANSFORM, "transformed_examples")
    there = records(on_flink.uri(*key), split, compression="GZIP")
    here = records(direct.uri(*key), split, compression="GZIP")
    assert there.keys() == here.keys() and here
    for track, features in here.items():
        assert features.keys() == there[track].keys()
        assert features["label"] == there[track]["label"]
        # Standardised on the training split, whose means Flink adds up in another order.
        np.testing.assert_allclose(features["mfcc"], there[track]["mfcc"], rtol=1e-4, atol=1e-4)


def test_the_evaluation_is_the_same(on_flink, direct):
    there, here = (
        {
            json.dumps(key): value[""][""]
            for key, value in tfma.load_eval_result(place).slicing_metrics
        }
        for place in (
            on_flink.uri(EVALUATOR, "evaluation"),
            direct.uri(EVALUATOR, "evaluation"),
        )
    )
    assert there.keys() == here.keys() and len(here) > 1  # overall and by genre
    for key, metrics in here.items():
        assert metrics.keys() == there[key].keys()
        for name, value in metrics.items():
            if "doubleValue" in value:
                assert there[key][name]["doubleValue"] == pytest.approx(
                    value["doubleValue"], rel=1e-4, abs=1e-5, nan_ok=True
                ), (key, name)


def test_flink_itself_did_the_work(on_flink, server_log):
    assert on_flink
    text = server_log.read_text()
    finished = text.count("switched from state RUNNING to FINISHED")
    assert finished >= 4, "ingest, statistics, features and evaluation are a job or more each"
    assert "(2/2)" in text, "two task slots share the work"
