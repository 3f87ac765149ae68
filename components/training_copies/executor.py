"""TrainingCopies' executor: adds copies of the training and validation tracks."""

import json
from typing import Any

import apache_beam as beam
import tensorflow as tf
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.audio.settings import AudioSettings
from components.common import raw_examples, runtime, storage
from components.common.errors import UserError
from components.training_copies.copies import TEST, TRAIN, VALIDATION, WriteCopies, tasks


class Executor(BaseBeamExecutor):
    """Writes the three splits again, with copies."""

    def Do(  # noqa: N802 - TFX's own interface
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes tracks and copies; a copy that cannot be made is left out with a warning.

        Args:
          input_dict: `raw_examples`, with the splits `train`, `validation` and `test`.
          output_dict: `examples`.
          exec_properties: `audio`, JSON of `AudioSettings`, and `copies`, the number of copies.

        Raises:
          UserError: The disk has no room for the copies.
        """
        runtime.prepare(input_dict, output_dict, exec_properties)
        audio = AudioSettings(**json.loads(exec_properties["audio"]))
        source = artifact_utils.get_single_uri(input_dict["raw_examples"])
        output = artifact_utils.get_single_instance(output_dict["examples"])
        splits = (TRAIN, VALIDATION, TEST)
        files = {split: raw_examples.split_files(source, split) for split in splits}
        to_write = tasks(files, output.uri, exec_properties["copies"])
        size = sum(tf.io.gfile.stat(task.source).length for task in to_write)
        shortage = storage.shortage(output.uri, size)
        if shortage:
            raise UserError(
                f"{shortage} for copies of the training tracks. Make room, give another --output, "
                "or train without them (--copies 0)."
            )
        try:
            with self._make_beam_pipeline() as pipeline:
                (
                    pipeline
                    | "List" >> beam.Create(to_write)
                    | "WriteCopies" >> WriteCopies(audio=audio)
                )
        except Exception as error:  # Beam raises what its workers raise, or a RuntimeError of it
            disk_error = storage.disk_full(error, output.uri)
            if disk_error is None:
                raise
            raise disk_error from error
        output.split_names = artifact_utils.encode_split_names(list(splits))
        examples_utils.set_payload_format(output, example_gen_pb2.FORMAT_TF_EXAMPLE)
