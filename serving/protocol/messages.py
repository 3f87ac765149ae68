"""Message classes of TF Serving's API, made from the descriptor set in this folder."""

import dataclasses
import functools
import pathlib
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

DESCRIPTOR_FILE = pathlib.Path(__file__).with_name("tensorflow_serving.desc")
PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"


@dataclasses.dataclass(frozen=True)
class Method:
    """One remote call of a service.

    Attributes:
      service: Full name of the service, "tensorflow.serving.PredictionService".
      name: Name of the call, "Predict".
      request: Class of the message sent.
      response: Class of the message received.
    """

    service: str
    name: str
    request: Any
    response: Any

    @property
    def path(self) -> str:
        """The call's path on the wire, "/tensorflow.serving.PredictionService/Predict"."""
        return f"/{self.service}/{self.name}"


def new_pool() -> descriptor_pool.DescriptorPool:
    """A new pool that holds TF Serving's descriptors and all that they depend on."""
    descriptors = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR_FILE.read_bytes())
    private = descriptor_pool.DescriptorPool()
    for file in descriptors.file:  # written in the order of dependence
        private.AddSerializedFile(file.SerializeToString())
    return private


@functools.cache
def pool() -> descriptor_pool.DescriptorPool:
    """The pool that this package's message classes are of."""
    return new_pool()


@functools.cache
def _factory() -> message_factory.MessageFactory:
    return message_factory.MessageFactory(pool())


@functools.cache
def message(name: str) -> Any:
    """Class of the message `name`.

    Args:
      name: Its full name ("tensorflow.TensorProto"), or the name alone where it lies in the
        package `tensorflow.serving` ("PredictRequest").

    Raises:
      KeyError: The API has no such message.
    """
    full_name = name if "." in name else f"tensorflow.serving.{name}"
    return _factory().GetPrototype(pool().FindMessageTypeByName(full_name))


@functools.cache
def methods(service: str) -> dict[str, Method]:
    """The calls of `service` (a full name) by their names."""
    descriptor = pool().FindServiceByName(service)
    return {
        method.name: Method(
            service,
            method.name,
            message(method.input_type.full_name),
            message(method.output_type.full_name),
        )
        for method in descriptor.methods
    }


def error_code_name(code: int) -> str:
    """Name of a `tensorflow.error.Code` ("INVALID_ARGUMENT" for 3)."""
    values = pool().FindEnumTypeByName("tensorflow.error.Code").values_by_number
    return values[code].name if code in values else str(code)
