"""Three nodes that need no TensorFlow, and do what files in a folder tell them."""

import os
import time
from pathlib import Path

# Not `tfx.v1`, which takes seconds to import.
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.types.standard_artifacts import Model

from components.common import progress
from components.common.errors import UserError
from pipeline.config import PipelineConfig

NAMES = ("Import", "Work", "Finish")


def act(name: str, orders: str) -> None:
    """Notes that a node was executed, and does as the files `<name>.<order>` say."""
    folder = Path(orders)
    with (folder / f"{name}.executed").open("a") as log:
        log.write(f"{os.getpid()}\n")
    progress.report("steps", 1, 2)
    begun = time.process_time()
    while time.process_time() < begun + 0.02:
        pass  # so that there is something to measure
    if (folder / f"{name}.fail").exists():
        raise ValueError(f"{name} is broken")
    if (folder / f"{name}.mistake").exists():
        raise UserError(f"{name}: wrong music", page="<html>all of it", page_name="ingest.html")
    while (folder / f"{name}.wait").exists():
        try:
            time.sleep(0.05)
        except KeyboardInterrupt:
            lossy = folder / f"{name}.loses-an-interrupt"
            if not lossy.exists():
                raise
            lossy.unlink()


@component
def source(
    model: OutputArtifact[Model],
    orders: Parameter[str],
):
    act("Import", orders)
    Path(model.uri, "text").write_text("music")


@component
def step(
    before: InputArtifact[Model],
    model: OutputArtifact[Model],
    name: Parameter[str],
    orders: Parameter[str],
    setting: Parameter[str],
):
    act(name, orders)
    Path(model.uri, "text").write_text(Path(before.uri, "text").read_text() + f" {name}{setting}")


def create_pipeline(config: PipelineConfig, *, orders: str, setting: str) -> Pipeline:
    """A chain of the three nodes; only `Work` has the setting."""
    first = source(orders=orders).with_id("Import")
    work = step(before=first.outputs["model"], name="Work", orders=orders, setting=setting)
    work = work.with_id("Work")
    last = step(before=work.outputs["model"], name="Finish", orders=orders, setting="")
    return Pipeline(
        "stub",
        config.pipeline_root,
        components=[first, work, last.with_id("Finish")],
        enable_cache=True,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(
            str(config.metadata_file)
        ),
    )
