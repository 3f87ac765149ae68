"""What an executor's process is prepared with."""

import gc
import importlib
import importlib.metadata
import subprocess
import sys

import apache_beam as beam
import pytest
from absl import flags
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to
from tfx.types import standard_artifacts
from tfx_bsl.coders import batch_util

from components.common import runtime


def model(uri: str):
    artifact = standard_artifacts.Model()
    artifact.uri = uri
    return artifact


def test_object_stores_are_those_of_artifacts_and_of_texts_in_parameters():
    places = runtime.object_stores(
        {"model": [model("s3://one/a/b")], "other": [model("/local")]},
        {"pushed": [model("gs://two/c"), model("s3://one/d")]},
        {
            "base_directory": "s3://three",
            "settings": '{"lists": "s3://four/x", "uri": "http://host:5000"}',
            "seed": 3,
            "tracking_uri": "postgresql://host/db",
        },
    )
    assert places == ["gs://two", "s3://four", "s3://one", "s3://three"]


def test_batches_are_bounded_and_no_store_is_opened_for_local_places(monkeypatch):
    monkeypatch.setattr(runtime, "open_object_stores", lambda *_: pytest.fail("opened"))
    runtime.prepare({"model": [model("/local")]}, {}, {})
    assert flags.FLAGS.tfxio_use_byte_size_batching
    tracks = [bytes(1_323_000)] * 30  # 30 s each
    batching = beam.BatchElements(**batch_util.GetBatchElementsKwargs(None))
    with test_pipeline.TestPipeline() as pipeline:
        sizes = pipeline | beam.Create([tracks]) | beam.FlatMap(iter) | batching | beam.Map(len)
        assert_that(sizes | beam.combiners.Top.Of(1), equal_to([[8]]))


def test_the_module_costs_no_import_of_tensorflow():
    code = "import sys, components.common.runtime; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_importing_leaves_the_garbage_collector_and_importlib_as_they_were():
    listing, frozen = importlib.metadata.packages_distributions, gc.get_freeze_count()
    with pytest.raises(ModuleNotFoundError), runtime.importing():
        assert not gc.isenabled()
        importlib.import_module("no.such.module")
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen
    assert importlib.metadata.packages_distributions is listing
