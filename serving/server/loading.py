"""One version of a model in memory, loaded and run as TF Serving does it.

`tf.compat.v1.saved_model.load` into a graph and session of its own is TF Serving's loader: a
model that fails there (a Keras 3 model saved with `tf.saved_model.save`, say) fails here too.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from components.common.releases import Release, read_release
from serving.protocol import message

_INIT_SIGNATURES = ("__saved_model_init_op", "__saved_model_train_op")


@dataclasses.dataclass(frozen=True)
class Signature:
    """What is needed to run one signature.

    Attributes:
      name: Its key in the SavedModel.
      definition: Its `tensorflow.SignatureDef`.
      batchable: Whether rows of several requests can be run as one: every input and output has
        an unknown first dimension.
      ragged: Whether the length of an input changes the shape of an output past the batch. Such
        requests share a run only with inputs of the same length.
    """

    name: str
    definition: Any
    batchable: bool
    ragged: bool


def _signature(name: str, definition: Any) -> Signature:
    outputs = [info.tensor_shape for info in definition.outputs.values()]
    inputs = [info.tensor_shape for info in definition.inputs.values()]
    batchable = all(shape.dim and shape.dim[0].size == -1 for shape in inputs + outputs)
    ragged = any(
        shape.unknown_rank or any(dim.size == -1 for dim in shape.dim[1:]) for shape in outputs
    )
    return Signature(name, definition, batchable, ragged)


class LoadedVersion:
    """A SavedModel in a session, which closes when nothing refers to the version any more.

    Attributes:
      model: Name of the model.
      number: The version.
      signatures: Its signatures by name.
      release: What it says of itself.
    """

    def __init__(self, model: str, number: int, path: str) -> None:
        """Loads version `number` of `model` from the folder `path`.

        Raises:
          tf.errors.OpError, OSError, RuntimeError: It cannot be loaded; says why.
        """
        self.model = model
        self.number = number
        self.release: Release = read_release(path, number)
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(self._session, ["serve"], path)
        signature_def = message("tensorflow.SignatureDef")
        self.signatures = {
            name: _signature(name, signature_def.FromString(definition.SerializeToString()))
            for name, definition in meta_graph.signature_def.items()
            if name not in _INIT_SIGNATURES
        }
        graph.finalize()

    def run(
        self, signature: Signature, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
          signature: One of `signatures`.
          inputs: Arrays by input name, of the signature's types and shapes.
          outputs: Names of the outputs to compute.

        Raises:
          tf.errors.OpError, UnicodeDecodeError: What the graph refuses.
        """
        definition = signature.definition
        values = self._session.run(
            [definition.outputs[name].name for name in outputs],
            {definition.inputs[name].name: array for name, array in inputs.items()},
        )
        return dict(zip(outputs, values, strict=True))
