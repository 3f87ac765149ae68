"""The command of every container: corrects what Kubeflow hands over, then calls TFX's entry point.

`python -m kubeflow.entry_point` takes the arguments of TFX's own (TFX 1.16,
kubeflow_v2_run_executor). Each correction names the releases of Kubeflow Pipelines that need it;
docs/notes/kubeflow.md#releases has them as a table.
"""

import argparse
import os
from pathlib import Path

from absl import app
from absl.flags import argparse_flags
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

from kubeflow import pictures

COMMAND = ("python", "-m", "kubeflow.entry_point")

_DISK_FOLDERS = {"gs": "gcs", "s3": "s3", "minio": "minio"}


def corrected(
    invocation: pipeline_spec_pb2.ExecutorInput, inputs: pipeline_spec_pb2.ComponentInputsSpec
) -> pipeline_spec_pb2.ExecutorInput:
    """Makes an invocation that TFX can read.

    Args:
      invocation: What Kubeflow hands over instead of `{{$}}`.
      inputs: The node's inputs as they were compiled.
    """
    result = pipeline_spec_pb2.ExecutorInput()
    result.CopyFrom(invocation)
    # Every release: an input comes without its type. The development branch (after 2.17) puts the
    # whole schema where a name belongs, so this is done always.
    for key, artifacts in result.inputs.artifacts.items():
        for artifact in artifacts.artifacts:
            artifact.type.CopyFrom(inputs.artifacts[key].artifact_type)
    # From 2.5: an output `executor-logs` that no node declares. TFX's types are schemas, Kubeflow's
    # are titles; those of the pictures are filled by `main`.
    for key, artifacts in invocation.outputs.artifacts.items():
        if not artifacts.artifacts[0].type.instance_schema:
            del result.outputs.artifacts[key]
    return result


def disk_path(uri: str, disk: Path = Path("/")) -> Path | None:
    """Where Kubeflow's launcher looks for an output after the container's command.

    Args:
      uri: The output's.
      disk: Root of the container's disk.

    Returns:
      A path on the volume that the launcher copies from; None without such a volume.
    """
    scheme, separator, path = uri.partition("://")
    if not separator:
        return Path(uri)
    volume = disk / _DISK_FOLDERS.get(scheme, scheme)
    return volume / path if volume.is_dir() else None


def make_folders(outputs: pipeline_spec_pb2.ExecutorInput.Outputs, disk: Path = Path("/")) -> None:
    """Makes an empty folder for each output that is not on the container's disk.

    Executors write to the object store. The launcher uploads what is on the disk: where nothing is,
    releases up to 2.17 warn, and the development branch fails the task.

    Args:
      outputs: The invocation's, Kubeflow's own among them.
      disk: Root of the container's disk.
    """
    for artifacts in outputs.artifacts.values():
        path = disk_path(artifacts.artifacts[0].uri, disk)
        if path is not None and not path.exists():
            path.mkdir(parents=True)


def main(arguments: tuple[argparse.Namespace, list[str]]) -> None:
    """Runs an executor.

    Args:
      arguments: Those that TFX's entry point takes, and Beam's.
    """
    parsed, beam_arguments = arguments
    # From 2.17: Kubeflow's MLflow plugin may name a run of its own. Ours are found by tags.
    os.environ.pop("MLFLOW_RUN_ID", None)
    invocation = json_format.Parse(
        parsed.json_serialized_invocation_args,
        pipeline_spec_pb2.ExecutorInput(),
        ignore_unknown_fields=True,
    )
    inputs = json_format.Parse(
        parsed.json_serialized_inputs_spec_args, pipeline_spec_pb2.ComponentInputsSpec()
    )
    parsed.json_serialized_invocation_args = json_format.MessageToJson(
        corrected(invocation, inputs)
    )
    kubeflow_v2_run_executor.main((parsed, beam_arguments))
    _draw_pictures(invocation.outputs)
    make_folders(invocation.outputs)


def _draw_pictures(outputs: pipeline_spec_pb2.ExecutorInput.Outputs) -> None:
    keys = sorted(pictures.PICTURES.keys() & outputs.artifacts.keys())
    if not keys:
        return
    # Up to 2.14 it lies in /tmp/kfp_outputs, from 2.15 below /s3/<bucket> (or /gcs/<bucket>).
    output_file = Path(outputs.output_file)
    written = json_format.Parse(output_file.read_text(), pipeline_spec_pb2.ExecutorOutput())
    for key in keys:
        uri = outputs.artifacts[key].artifacts[0].uri
        artifact = pictures.draw(key, uri, outputs.artifacts)
        written.artifacts[key].artifacts.append(artifact)
    output_file.write_text(json_format.MessageToJson(written))


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse_flags.ArgumentParser()
    for name in (
        "--executor_class_path",
        "--json_serialized_invocation_args",
        "--json_serialized_inputs_spec_args",
    ):
        parser.add_argument(name, required=True)
    namespace, others = parser.parse_known_args(arguments[1:])
    return namespace, others


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
