"""Writes tensorflow_serving.desc anew from the installed tensorflow-serving-api.

    python -m serving.protocol.extract

Run it when the pinned tensorflow-serving-api or tensorflow changes. It imports TensorFlow.
"""

from typing import Any

from google.protobuf import descriptor_pb2

from serving.protocol.messages import DESCRIPTOR_FILE


def installed_descriptors() -> descriptor_pb2.FileDescriptorSet:
    """The installed packages' definitions of TF Serving's API, each after what it depends on."""
    from tensorflow_serving.apis import (
        model_service_pb2,
        prediction_log_pb2,
        prediction_service_pb2,
    )

    files: dict[str, Any] = {}

    def add(file: Any) -> None:
        if file.name not in files:
            for dependency in file.dependencies:
                add(dependency)
            files[file.name] = file

    for module in (prediction_service_pb2, model_service_pb2, prediction_log_pb2):
        add(module.DESCRIPTOR)
    descriptors = descriptor_pb2.FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(descriptors.file.add())
    return descriptors


def main() -> None:
    """Writes the descriptor set and says what is in it."""
    descriptors = installed_descriptors()
    DESCRIPTOR_FILE.write_bytes(descriptors.SerializeToString(deterministic=True))
    print(f"{DESCRIPTOR_FILE.name}: {len(descriptors.file)} files")


if __name__ == "__main__":
    main()
