"""Whatever is sent, the answer is a status with a reason, and the next caller is served."""

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.protocol import decode_tensor, encode_tensor, message
from tests.serving.server_process import ServerProcess
from tests.serving.tone_model import tone

PATH = "/tensorflow.serving.PredictionService/Predict"
CALLER_ERRORS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
}
FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SIZES = st.lists(st.integers(-2, 70_000) | st.just(2**40), max_size=3)
SIGNATURES = st.sampled_from(
    ["", "serving_default", "classify_audio", "classify_wav", "transform_features", "guess"]
)


def good_request():
    request = message("PredictRequest")()
    request.model_spec.name = "genre"
    request.model_spec.signature_name = "classify_audio"
    request.inputs["audio"].CopyFrom(encode_tensor(tone("jazz", seconds=3)[np.newaxis]))
    return request


GOOD = good_request().SerializeToString()


@pytest.fixture(scope="module")
def send(server: ServerProcess):
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary(PATH)

        def sender(data: bytes) -> grpc.StatusCode:
            try:
                call(data, timeout=30)
            except grpc.RpcError as error:
                assert error.details()
                return error.code()
            return grpc.StatusCode.OK

        yield sender
        answer = message("PredictResponse").FromString(call(GOOD, timeout=30))
        assert decode_tensor(answer.outputs["probabilities"]).argmax() == 5


@FUZZ
@given(data=st.binary(max_size=300))
def test_bytes_that_are_no_message(send, data: bytes) -> None:
    assert send(data) in CALLER_ERRORS


@FUZZ
@given(
    start=st.integers(0, 200) | st.integers(0, len(GOOD)),
    insert=st.binary(max_size=8),
    skip=st.integers(0, 2000),
)
def test_damaged_messages(send, start: int, insert: bytes, skip: int) -> None:
    assert send(GOOD[:start] + insert + GOOD[start + skip :]) in CALLER_ERRORS | {
        grpc.StatusCode.OK
    }


@FUZZ
@given(
    signature=SIGNATURES,
    name=st.sampled_from(["audio", "wav", "examples", "song"]),
    dtype=st.integers(0, 24),
    sizes=SIZES,
    content=st.binary(max_size=64),
    floats=st.lists(st.floats(width=32), max_size=4),
    strings=st.lists(st.binary(max_size=60), max_size=3),
    unknown_rank=st.booleans(),
    outputs=st.lists(st.sampled_from(["genres", "probabilities", "none"]), max_size=2),
)
def test_well_formed_messages_of_nonsense(
    send, signature, name, dtype, sizes, content, floats, strings, unknown_rank, outputs
) -> None:
    request = message("PredictRequest")(output_filter=outputs)
    request.model_spec.name = "genre"
    request.model_spec.signature_name = signature
    tensor = request.inputs[name]
    tensor.dtype = dtype
    tensor.tensor_content = content
    tensor.float_val.extend(floats)
    tensor.string_val.extend(strings)
    tensor.tensor_shape.unknown_rank = unknown_rank
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    # Zeros that a shape alone stands for are sound, if silence: OK is then right.
    assert send(request.SerializeToString()) in CALLER_ERRORS | {grpc.StatusCode.OK}
