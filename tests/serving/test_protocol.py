"""The messages and tensors that the client carries are TensorFlow's."""

import subprocess
import sys

import numpy as np
import pytest

from serving.protocol import TensorError, decode_tensor, encode_tensor, message
from serving.protocol.extract import installed_descriptors
from serving.protocol.messages import DESCRIPTOR_FILE
from tests.serving.server_process import REPOSITORY

ARRAYS = (
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.array([[1.5, -2.0]], np.float64),
    np.array([1, -2], np.int32),
    np.array([2**40], np.int64),
    np.array([0, 255], np.uint8),
    np.array([-7], np.int8),
    np.array([-300], np.int16),
    np.array([2**31], np.uint32),
    np.array([2**63], np.uint64),
    np.array([[True], [False]]),
    np.float32(3.5),
    np.zeros((0, 4), np.float32),
    np.array([b"a\0\0", b"", b"RIFF"], object),
)


def test_carried_descriptors_equal_the_installed_packages() -> None:
    assert DESCRIPTOR_FILE.read_bytes() == installed_descriptors().SerializeToString(
        deterministic=True
    ), "run `python -m serving.protocol.extract`"


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_tensors_are_those_of_tensorflow(array: np.ndarray) -> None:
    import tensorflow as tf

    theirs = tf.make_tensor_proto(array)
    ours = tf.make_ndarray(type(theirs).FromString(encode_tensor(array).SerializeToString()))
    as_fields = encode_tensor(array, as_fields=True).SerializeToString()
    np.testing.assert_array_equal(ours, array)
    np.testing.assert_array_equal(tf.make_ndarray(type(theirs).FromString(as_fields)), array)
    np.testing.assert_array_equal(decode_tensor(theirs), array)


def test_few_values_stand_for_many_as_in_tensorflow() -> None:
    proto = message("tensorflow.TensorProto")(dtype=1, float_val=[1.0, 2.0])
    proto.tensor_shape.dim.add(size=4)
    np.testing.assert_array_equal(decode_tensor(proto), np.array([1, 2, 2, 2], np.float32))
    proto.ClearField("float_val")
    np.testing.assert_array_equal(decode_tensor(proto), np.zeros(4, np.float32))


@pytest.mark.parametrize(
    ("fields", "sizes", "text"),
    [
        ({"dtype": 1, "tensor_content": b"abc"}, [1], "needs 4 bytes"),
        ({"dtype": 1, "float_val": [1, 2]}, [1], "needs 1 values"),
        ({"dtype": 20}, [1], "this type"),
        ({"dtype": 1}, [-1], "sizes must be known"),
        ({"dtype": 1}, [2**40], "too large"),
    ],
)
def test_tensor_that_lies_is_refused(fields: dict, sizes: list[int], text: str) -> None:
    proto = message("tensorflow.TensorProto")(**fields)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    with pytest.raises(TensorError, match=text):
        decode_tensor(proto, max_bytes=1 << 20)


def test_client_starts_without_tensorflow() -> None:
    program = """
import sys
import serving.client, serving.client.cli
assert not [name for name in sys.modules if name.split('.')[0].startswith(('tensorflow', 'tfx'))]
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, cwd=REPOSITORY)


def test_messages_live_beside_the_installed_ones() -> None:
    from tensorflow_serving.apis import predict_pb2

    ours = message("PredictRequest")(model_spec={"name": "genre"})
    theirs = predict_pb2.PredictRequest.FromString(ours.SerializeToString())
    assert theirs.model_spec.name == "genre"
    assert type(ours) is not type(theirs)


@pytest.mark.parametrize(
    ("module", "arguments", "code", "text"),
    [
        ("serving.server", ["--help"], 0, "TF Serving"),
        ("serving.server", [], 2, "nothing to serve"),
        ("serving.server", ["--model-base-path", "nowhere"], 2, "make run"),
        ("serving.server", ["--model-base-path", ".", "--port", "many"], 2, "many"),
        ("serving.server", ["--model-base-path", ".", "--tls-key", "no.pem"], 2, "--tls-key"),
        ("serving.server", ["--model-config-file", "no.config"], 2, "no.config"),
        ("serving.client", ["--help"], 0, "SONG"),
        ("serving.client", [], 2, "SONG"),
        ("serving.client", ["a.wav", "--version", "1", "--label", "x"], 2, "not allowed with"),
    ],
)
def test_command_lines_answer_without_tensorflow_and_without_a_stack_trace(
    module: str, arguments: list[str], code: int, text: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", module, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    errors = done.stderr.splitlines()
    imports = [line.rpartition("|")[2].strip() for line in errors if _is_import(line)]
    printed = done.stdout + "\n".join(line for line in errors if not _is_import(line))
    assert done.returncode == code, printed
    assert text in printed
    assert "Traceback" not in printed
    assert module.partition(".")[0] in imports
    heavy = ("tensorflow", "tensorflow_serving", "tfx", "keras")
    assert [name for name in imports if name.partition(".")[0] in heavy] == []


def _is_import(line: str) -> bool:
    return line.startswith("import time:")
