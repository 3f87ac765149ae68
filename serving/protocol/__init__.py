"""TF Serving's messages and tensors without TensorFlow.

`tensorflow_serving.apis` imports all of TensorFlow (over ten seconds, 400 MB). What a client
needs of it is the wire format, so this package carries the same definitions as a compiled
`FileDescriptorSet`, `tensorflow_serving.desc`, and loads it into a descriptor pool of its own:
a process that also imports TensorFlow has both, and they do not collide.

`python -m serving.protocol.extract` writes the set anew from the installed packages; a test holds
the two equal.
"""

from serving.protocol.messages import (
    MODEL_SERVICE,
    PREDICTION_SERVICE,
    Method,
    error_code_name,
    message,
    methods,
    new_pool,
    pool,
)
from serving.protocol.tensors import TensorError, decode_tensor, encode_tensor, tensor_shape
from serving.protocol.wire import parse

__all__ = [
    "MODEL_SERVICE",
    "PREDICTION_SERVICE",
    "Method",
    "TensorError",
    "decode_tensor",
    "encode_tensor",
    "error_code_name",
    "message",
    "methods",
    "new_pool",
    "parse",
    "pool",
    "tensor_shape",
]
