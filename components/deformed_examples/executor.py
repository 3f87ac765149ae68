"""DeformedExamples' executor: writes the test split again, once for each deformation."""

import json
from typing import Any

import apache_beam as beam
import tensorflow as tf
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.audio.deformations import DEFORMATIONS
from components.audio.settings import AudioSettings
from components.common import raw_examples, runtime, storage
from components.common.errors import UserError
from components.deformed_examples.deform import DeformFiles, tasks

SPLIT = "test"


class Executor(BaseBeamExecutor):
    """Deforms the tracks of the test split and writes them as examples."""

    def Do(  # noqa: N802 - TFX's own interface
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes one split a deformation.

        A track that cannot be deformed is in its split all the same, without sound and with the
        reason as `failure`.

        Args:
          input_dict: `raw_examples`, with a split `test`.
          output_dict: `examples`.
          exec_properties: `audio`, JSON of `AudioSettings`.

        Raises:
          UserError: The disk has no room for the splits.
        """
        runtime.prepare(input_dict, output_dict, exec_properties)
        audio = AudioSettings(**json.loads(exec_properties["audio"]))
        source = artifact_utils.get_single_uri(input_dict["raw_examples"])
        output = artifact_utils.get_single_instance(output_dict["examples"])
        files = raw_examples.split_files(source, SPLIT)
        self._check_room(files, output.uri)
        try:
            with self._make_beam_pipeline() as pipeline:
                (
                    pipeline
                    | "List" >> beam.Create(tasks(files, output.uri))
                    | "DeformFiles" >> DeformFiles(audio=audio)
                )
        except Exception as error:  # Beam raises what its workers raise, or a RuntimeError of it
            disk_error = storage.disk_full(error, output.uri)
            if disk_error is None:
                raise
            raise disk_error from error
        output.split_names = artifact_utils.encode_split_names(
            [deformation.name for deformation in DEFORMATIONS]
        )
        examples_utils.set_payload_format(output, example_gen_pb2.FORMAT_TF_EXAMPLE)

    def _check_room(self, files: list[str], output: str) -> None:
        """Raises if the disk is too small; no deformation makes a sound longer."""
        size = sum(tf.io.gfile.stat(file).length for file in files) * len(DEFORMATIONS)
        shortage = storage.shortage(output, size)
        if shortage:
            raise UserError(
                f"{shortage} for the deformed test tracks, which the gate asks the models about. "
                "Make room or give another --output."
            )
