"""Two nodes that start in a moment, to see what a release of Kubeflow does to any node."""

import json
import os
from typing import Any

from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import BaseChannel, Channel, ComponentSpec, artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter
from tfx.utils import io_utils

from components.common.artifacts import Report


class WritingExecutor(base_executor.BaseExecutor):
    """Writes one of its two outputs, as TFX's Evaluator does without thresholds."""

    def Do(  # noqa: N802 (the name that TFX calls)
        self, input_dict: Any, output_dict: Any, exec_properties: dict[str, Any]
    ) -> None:
        (examples,) = output_dict["examples"]
        examples.split_names = artifact_utils.encode_split_names(["train", "test"])
        examples.set_int_custom_property("tracks", 3)
        fileio.makedirs(examples.uri)
        io_utils.write_string_file(f"{examples.uri}/examples.txt", "three")


class ReadingExecutor(base_executor.BaseExecutor):
    """Reads an input with its properties, and notes what it sees."""

    def Do(  # noqa: N802
        self, input_dict: Any, output_dict: Any, exec_properties: dict[str, Any]
    ) -> None:
        (examples,) = input_dict["examples"]
        seen = {
            "text": io_utils.read_string_file(f"{examples.uri}/examples.txt"),
            "splits": artifact_utils.decode_split_names(examples.split_names),
            "tracks": examples.get_int_custom_property("tracks"),
            "outputs": sorted(output_dict),
            "mlflow_run": os.environ.get("MLFLOW_RUN_ID"),
        }
        (report,) = output_dict["report"]
        fileio.makedirs(report.uri)
        io_utils.write_string_file(f"{report.uri}/seen.json", json.dumps(seen))


class WriterSpec(ComponentSpec):
    PARAMETERS: dict[str, Any] = {}
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "unwritten": ChannelParameter(type=Report),
    }


class ReaderSpec(ComponentSpec):
    PARAMETERS: dict[str, Any] = {}
    INPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"report": ChannelParameter(type=Report)}


class Writer(base_component.BaseComponent):
    SPEC_CLASS = WriterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(WritingExecutor)

    def __init__(self) -> None:
        outputs = {key: Channel(type=one.type) for key, one in WriterSpec.OUTPUTS.items()}
        super().__init__(spec=WriterSpec(**outputs))


class Reader(base_component.BaseComponent):
    SPEC_CLASS = ReaderSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(ReadingExecutor)

    def __init__(self, examples: BaseChannel) -> None:
        super().__init__(spec=ReaderSpec(examples=examples, report=Channel(type=Report)))
