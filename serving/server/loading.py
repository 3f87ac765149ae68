"""One version of a model in memory, loaded and run as TF Serving does it.

`tf.compat.v1.saved_model.load` into a graph and session of its own is TF Serving's loader: a
model that fails there (a Keras 3 model saved with `tf.saved_model.save`, say) fails here too.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

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
    def dims(info: Any) -> list[int] | None:
        if info.tensor_shape.unknown_rank:
            return None
        return [dim.size for dim in info.tensor_shape.dim]

    inputs = [dims(info) for info in definition.inputs.values()]
    outputs = [dims(info) for info in definition.outputs.values()]
    batchable = all(sizes is not None and sizes[:1] == [-1] for sizes in inputs + outputs)
    ragged = any(sizes is None or -1 in sizes[1:] for sizes in outputs)
    return Signature(name, definition, batchable, ragged)


class LoadedVersion:
    """A SavedModel in a session, counted by its users and closed when it has none.

    Attributes:
      model: Name of the model.
      number: The version.
      signatures: Its signatures by name.
    """

    def __init__(self, model: str, number: int, path: str, *, intra_op_threads: int = 0) -> None:
        """Loads version `number` of `model` from the folder `path`.

        Raises:
          tf.errors.OpError, OSError, RuntimeError: It cannot be loaded; says why.
        """
        self.model = model
        self.number = number
        self._users = 0
        self._retired = False
        self._lock = threading.Lock()
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=intra_op_threads)
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(self._session, ["serve"], path)
            signature_def = message("tensorflow.SignatureDef")
            self.signatures = {
                name: _signature(name, signature_def.FromString(definition.SerializeToString()))
                for name, definition in meta_graph.signature_def.items()
                if name not in _INIT_SIGNATURES
            }
            graph.finalize()
        except BaseException:
            self._session.close()
            raise

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

    @contextlib.contextmanager
    def use(self) -> Iterator["LoadedVersion"]:
        """Keeps the version open. Not for one that is already closed."""
        with self._lock:
            assert not self._closed_now, "a closed version cannot be used"
            self._users += 1
        try:
            yield self
        finally:
            with self._lock:
                self._users -= 1
                last = self._closed_now
            if last:
                self._session.close()

    def retire(self) -> None:
        """Closes the version as soon as its last user is done."""
        with self._lock:
            self._retired = True
            unused = self._closed_now
        if unused:
            self._session.close()

    @property
    def closed(self) -> bool:
        """Whether the session is closed."""
        with self._lock:
            return self._closed_now

    @property
    def _closed_now(self) -> bool:
        return self._retired and not self._users
