"""Stages in this process: what they report, and what is logged."""

import dataclasses
import logging

from tfx.orchestration.pipeline import Pipeline

from pipeline.config import DataConfig, PipelineConfig
from pipeline.local.dag import cached_nodes
from pipeline.local.stages import run_stages
from tests.pipeline.local import stub_nodes


def test_stages_report_what_they_took_and_log_no_false_alarm(tmp_path):
    (tmp_path / "orders").mkdir()
    config = PipelineConfig(DataConfig("music"), output=str(tmp_path))
    dag = stub_nodes.create_pipeline(config, orders=str(tmp_path / "orders"), setting="")
    records: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("absl").addHandler(handler)
    try:
        first = run_stages(dag, only=["Import", "Work"])
        again = run_stages(dag, only=["Import", "Work"])
    finally:
        logging.getLogger("absl").removeHandler(handler)
    assert list(first) == ["Import", "Work"]
    assert first["Work"].peak_bytes > 0
    assert not first["Work"].cached and again["Work"].cached
    assert again["Work"].outputs == first["Work"].outputs
    assert again["Work"].peak_bytes == again["Work"].processor_seconds == 0
    assert not any("ArtifactQuery" in text for text in records)


def test_a_look_at_the_dag_finds_what_is_cached_and_executes_nothing(tmp_path):
    (tmp_path / "orders").mkdir()
    config = PipelineConfig(DataConfig("music"), output=str(tmp_path))
    # The look writes elsewhere.
    look = dataclasses.replace(
        config, output=str(tmp_path / "look"), metadata=str(config.metadata_file)
    )

    def dag(setting: str, config: PipelineConfig = look) -> Pipeline:
        return stub_nodes.create_pipeline(config, orders=str(tmp_path / "orders"), setting=setting)

    assert cached_nodes(dag("")) == set()
    run_stages(dag("", config))
    assert cached_nodes(dag("")) == {"Import", "Work", "Finish"}
    assert cached_nodes(dag(" louder")) == {"Import"}
    for name in stub_nodes.NAMES:
        assert len((tmp_path / "orders" / f"{name}.executed").read_text().splitlines()) == 1
