"""Stages of a chain of three nodes in this process: cache, results, what is logged."""

import logging
from pathlib import Path

import pytest

from pipeline.config import DataConfig, PipelineConfig
from pipeline.local.stages import Here, run_stages
from tests.pipeline.local import stub_nodes


class Noting(Here):
    """Runs executors here, and notes those that it is asked for."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def execute(self, spec, execution):
        self.stages.append(execution.pipeline_node.node_info.id)
        return super().execute(spec, execution)


@pytest.fixture
def chain(tmp_path):
    """Makes the chain, whose middle node has a setting."""
    (tmp_path / "orders").mkdir()
    config = PipelineConfig(DataConfig("music"), output=str(tmp_path))
    return lambda setting="": stub_nodes.create_pipeline(
        config, orders=str(tmp_path / "orders"), setting=setting
    )


def test_a_cached_stage_calls_no_executor_and_has_the_same_outputs(chain):
    executors = Noting()
    first = run_stages(chain(), executors=executors)
    assert executors.stages == list(first) == list(stub_nodes.NAMES)
    assert not any(result.cached for result in first.values())
    assert first["Work"].peak_bytes > 0 and first["Work"].processor_seconds > 0
    again = run_stages(chain(), executors=executors)
    assert executors.stages == list(stub_nodes.NAMES)
    for stage, result in again.items():
        assert result.cached and result.outputs == first[stage].outputs
        assert result.peak_bytes == result.processor_seconds == 0
    changed = run_stages(chain("=2"), executors=executors)
    assert [stage for stage in changed if not changed[stage].cached] == ["Work", "Finish"]
    (model,) = changed["Finish"].outputs["model"]
    assert Path(model.uri, "text").read_text() == "music Work=2 Finish"


def test_stages_may_be_left_out(chain):
    assert list(run_stages(chain(), only=["Import", "Work"])) == ["Import", "Work"]


def test_the_log_is_free_of_warnings_about_inputs_that_are_as_they_should_be(chain):
    records: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("absl").addHandler(handler)
    try:
        run_stages(chain())
    finally:
        logging.getLogger("absl").removeHandler(handler)
    assert not any("ArtifactQuery" in text for text in records)
