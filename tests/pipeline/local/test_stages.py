"""Stages in this process: what they report, and what is logged."""

import logging

from pipeline.config import DataConfig, PipelineConfig
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
    assert first["Work"].peak_bytes > 0 and first["Work"].processor_seconds > 0
    assert not first["Work"].cached and again["Work"].cached
    assert again["Work"].outputs == first["Work"].outputs
    assert again["Work"].peak_bytes == again["Work"].processor_seconds == 0
    assert not any("ArtifactQuery" in text for text in records)
