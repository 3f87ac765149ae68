"""Whatever is sent, the answer is a status with a reason, and the next caller is served."""

import json
import pathlib
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.protocol import decode_tensor, encode_tensor, message, parse
from serving.server import decode, encode
from serving.server.check import Call, Limits
from serving.server.errors import ServingError
from serving.server.loading import LoadedVersion, Signature
from tests.serving.server_process import ServerProcess
from tests.serving.tone_model import tone

MEBIBYTE = 1 << 20
PATH = "/tensorflow.serving.PredictionService/Predict"
CALLER_ERRORS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
}
FUZZ = settings(
    max_examples=25,
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


@contextmanager
def little_memory(most_bytes: int) -> Iterator[None]:
    """What Python and numpy allocate inside stays under `most_bytes`."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most_bytes
    finally:
        tracemalloc.stop()


def claiming(signature: str, name: str, dtype: int, sizes: list[int]):
    """A request of some forty bytes whose tensor claims these sizes."""
    request = message("PredictRequest")()
    request.model_spec.name, request.model_spec.signature_name = "genre", signature
    tensor = request.inputs[name]
    tensor.dtype = dtype
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    return request


def test_sizes_that_a_request_claims_are_refused_before_anything_is_made_of_it(
    versions: dict[str, pathlib.Path],
) -> None:
    version = LoadedVersion("genre", 1, str(versions["right"]))
    for request in (
        claiming("classify_wav", "wav", 7, [8_388_608]),
        claiming("classify_audio", "audio", 1, [1_000_000, 0]),
        claiming("classify_audio", "audio", 1, [9, 70_000]),
        claiming("classify_audio", "audio", 1, [1, 70_000_000]),
    ):
        assert len(request.SerializeToString()) < 70
        signature = version.signatures[request.model_spec.signature_name]
        with little_memory(MEBIBYTE), pytest.raises(ServingError) as caught:
            decode.message_inputs(signature, request, Limits(16 * MEBIBYTE, 8))
        assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_message_that_grows_when_parsed_is_refused_before_it_is() -> None:
    kind = message("PredictRequest")
    for data in (
        kind(output_filter=[""] * 200_000).SerializeToString(),
        b"\x12\x00" * 200_000,  # empty inputs
        b"\x0a\x04\x12\x02\x1a\x00" * 100_000,  # messages in messages
    ):
        with little_memory(4 * MEBIBYTE), pytest.raises(ValueError, match="10000 fields"):
            parse(kind, data, max_fields=10_000)
    assert parse(kind, GOOD) == kind.FromString(GOOD)


@pytest.mark.parametrize("part", [b"[],", b"{},", b"1,", b'"",'])
def test_json_that_grows_when_parsed_is_refused_before_it_is(part: bytes) -> None:
    body = b'{"inputs":[' + part * (16 * MEBIBYTE // len(part)) + b"1]}"
    with little_memory(MEBIBYTE), pytest.raises(ServingError) as caught:
        decode.parse_json(body)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 1.0, True, "1"])
def test_number_that_its_type_cannot_hold_is_refused(value: object) -> None:
    info = message("tensorflow.TensorInfo")(dtype=3)
    info.tensor_shape.unknown_rank = True
    definition = message("tensorflow.SignatureDef")()
    definition.inputs["x"].CopyFrom(info)
    signature = Signature("s", definition, batchable=False, ragged=False)
    limits = Limits(16 * MEBIBYTE, 8)
    with pytest.raises(ServingError) as caught:
        decode.json_inputs(signature, {"inputs": [value, 1]}, limits)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    array = decode.json_inputs(signature, {"inputs": [2**31 - 1, 2]}, limits)["x"]
    np.testing.assert_array_equal(array, np.array([2**31 - 1, 2], np.int32))


def answered(*, as_rows: bool) -> Call:
    """A call of which nothing else counts."""
    return Call(None, None, {}, (), as_rows)


def test_text_that_is_not_utf_8_is_answered_with_a_mark() -> None:
    """TF Serving writes the bytes as they are, which is no JSON."""
    outputs = {"name": np.array([b"caf\xe9"], object), "id_bytes": np.array([b"\xff"], object)}
    answer = json.loads(encode.json_answer(answered(as_rows=True), outputs))
    assert answer == {"predictions": [{"name": "caf\ufffd", "id_bytes": {"b64": "/w=="}}]}


def test_answers_of_several_rows_and_columns() -> None:
    outputs = {"p": np.array([[0.5], [0.25]], np.float32), "n": np.array([1, 2], np.int64)}
    rows = json.loads(encode.json_answer(answered(as_rows=True), outputs))
    assert rows == {"predictions": [{"n": 1, "p": [0.5]}, {"n": 2, "p": [0.25]}]}
    columns = json.loads(encode.json_answer(answered(as_rows=False), {"p": outputs["p"]}))
    assert columns == {"outputs": [[0.5], [0.25]]}
    with pytest.raises(ServingError) as caught:
        encode.json_answer(answered(as_rows=True), {**outputs, "n": np.array(1)})
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
