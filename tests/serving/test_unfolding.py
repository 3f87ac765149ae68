"""A few bytes that stand for millions of values are refused before they are unfolded."""

import asyncio
import pathlib
import threading
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.protocol import (
    TensorError,
    WireError,
    check_parsed_size,
    decode_tensor,
    encode_tensor,
    message,
)
from serving.server import core as core_module
from serving.server import json_body, json_tensors, rest_json
from serving.server.access_log import CallRecord
from serving.server.calls import Limits
from serving.server.core import Arrival, Core
from serving.server.loading import LoadedVersion
from serving.server.prediction import prepare_predict
from serving.server.status import ServingError
from tests.serving.core_in_process import listening_core, running_core
from tests.serving.tone_model import serialized_example, tone

MEBIBYTE = 1 << 20
TENSOR = message("tensorflow.TensorProto")
PREDICT = message("PredictRequest")


@contextmanager
def little_memory(most_bytes: int = MEBIBYTE) -> Iterator[None]:
    """What Python and numpy allocate inside stays under `most_bytes`."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most_bytes
    finally:
        tracemalloc.stop()


def tensor(dtype: int, sizes: list[int], **fields):
    proto = TENSOR(dtype=dtype, **fields)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    return proto


def packed_bools(count: int) -> bytes:
    """A serialized TensorProto of `count` bool_val, as a client writes them."""
    length, varint = count, b""
    while length >= 0x80:
        varint += bytes([length & 0x7F | 0x80])
        length >>= 7
    return b"\x08\x0a" + b"\x5a" + varint + bytes([length]) + bytes(count)


def test_strings_that_a_shape_alone_stands_for_are_refused() -> None:
    proto = tensor(7, [8_388_608])
    assert len(proto.SerializeToString()) < 20
    with little_memory(), pytest.raises(TensorError, match="too large"):
        decode_tensor(proto, max_bytes=64 * MEBIBYTE)


def test_rows_over_the_maximum_are_refused_before_they_are_unfolded(
    versions: dict[str, pathlib.Path],
) -> None:
    version = LoadedVersion("genre", 1, str(versions["right"]))
    for signature, name, dtype, sizes in (
        ("classify_wav", "wav", 7, [1_000_000]),
        ("classify_audio", "audio", 1, [1_000_000, 0]),
        ("classify_audio", "audio", 1, [9, 70_000]),
    ):
        request = PREDICT()
        request.model_spec.signature_name = signature
        request.inputs[name].CopyFrom(tensor(dtype, sizes))
        with little_memory(), pytest.raises(ServingError, match=r"larger than maximum .* size 8"):
            prepare_predict(version, request, limits=Limits(64 * MEBIBYTE, 8))
    version.retire()


def test_values_are_counted_against_the_shape_before_they_are_copied() -> None:
    proto = TENSOR.FromString(packed_bools(8 * MEBIBYTE))
    proto.tensor_shape.dim.add(size=1)
    with little_memory(), pytest.raises(TensorError, match=r"needs 1 values\. Received: 8388608"):
        decode_tensor(proto, max_bytes=64 * MEBIBYTE)


def test_bools_take_little_more_than_their_array_while_they_are_unfolded() -> None:
    count = 4 * MEBIBYTE
    proto = TENSOR.FromString(packed_bools(count))
    proto.tensor_shape.dim.add(size=count)
    with little_memory(count + 2 * MEBIBYTE):
        assert not decode_tensor(proto).any()


def stairs(leaf: object, count: int, levels: int) -> object:
    """`count` leaves a level, the first of them replaced by the next level."""
    value: object = [leaf] * count
    for _ in range(levels - 1):
        value = [value, *[leaf] * (count - 1)]
    return value


@pytest.mark.parametrize(
    ("dtype", "value"),
    [(7, stairs("x", 75, 4)), (1, stairs(0.5, 4, 32)), (1, [[0.5] * 1000] + [[]] * 100_000)],
)
def test_lists_of_unequal_lengths_take_no_more_than_they_hold(dtype: int, value: object) -> None:
    info = message("tensorflow.TensorInfo")(dtype=dtype)
    with little_memory(), pytest.raises(ServingError, match=r"incorrect level|unexpected size"):
        json_tensors.array_of(value, info)


def test_values_are_counted_before_their_array_is_made() -> None:
    info = message("tensorflow.TensorInfo")(dtype=9)
    numbers = json_body.parse(b"[" + b"1," * 500_000 + b"1]")
    with little_memory(), pytest.raises(ServingError, match=r"too large\. Received: 500001 values"):
        json_tensors.array_of(numbers, info, max_bytes=4_000_000)


def test_rows_of_a_body_over_the_maximum_are_refused_before_they_are_arrays(
    versions: dict[str, pathlib.Path],
) -> None:
    version = LoadedVersion("genre", 1, str(versions["right"]))
    for instances in ([["a"]] * 100_000, json_body.parse(b"[" + b"1," * 500_000 + b"1]")):
        document = {"signature_name": "classify_wav", "instances": instances}
        with little_memory(), pytest.raises(ServingError, match=r"larger than maximum .* size 8"):
            rest_json.prepare_predict(version, document, limits=Limits(64 * MEBIBYTE, 8))
    version.retire()


def test_short_lists_are_read_without_copies_of_what_follows() -> None:
    """Each once copied the next 64 KiB: 60,000 of them, four gigabytes."""
    copied = 0

    class Counted(str):
        def __getitem__(self, where: int | slice) -> str:
            nonlocal copied
            piece = super().__getitem__(where)
            copied += len(piece)
            return piece

    text = Counted("[" + "[1]," * 60_000 + "[1]]")
    assert json_body.Reader(text, 1 << 24).value(0, 0) == ([[1]] * 60_001, len(text))
    assert copied < 10 * len(text)


@pytest.mark.parametrize("array", [np.arange(200_000, dtype=np.int64), np.full(70_001, b"x", "O")])
def test_values_in_portions_are_the_same_values(array: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_tensor(encode_tensor(array, as_fields=True)), array)


def test_message_that_grows_when_parsed_is_refused_before_it_is() -> None:
    descriptor = PREDICT.DESCRIPTOR
    empty_strings = PREDICT(output_filter=[""] * 100_000).SerializeToString()
    assert len(empty_strings) == 200_000
    with pytest.raises(WireError, match="more than 10000 values"):
        check_parsed_size(empty_strings, descriptor, max_fields=10_000, max_bytes=1 << 40)
    with pytest.raises(WireError, match="more than 1048576 bytes"):
        check_parsed_size(empty_strings, descriptor, max_fields=1 << 40, max_bytes=MEBIBYTE)
    integers = PREDICT()
    integers.inputs["x"].int64_val.extend([1] * MEBIBYTE)  # one byte each, and eight when parsed
    with pytest.raises(WireError, match="bytes once read"):
        check_parsed_size(
            integers.SerializeToString(), descriptor, max_fields=1 << 18, max_bytes=4 * MEBIBYTE
        )
    with pytest.raises(WireError, match="more than 100000 values"):
        check_parsed_size(
            integers.SerializeToString(), descriptor, max_fields=100_000, max_bytes=1 << 40
        )
    sound = PREDICT()
    sound.inputs["x"].CopyFrom(encode_tensor(np.zeros(MEBIBYTE, np.float32)))
    check_parsed_size(sound.SerializeToString(), descriptor, max_fields=20, max_bytes=5 * MEBIBYTE)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.binary(max_size=400))
def test_any_bytes_can_be_measured(data: bytes) -> None:
    check_parsed_size(data, PREDICT.DESCRIPTOR, max_fields=1000, max_bytes=1 << 40)


def test_requests_are_read_outside_of_the_event_loop(versions: dict[str, pathlib.Path]) -> None:
    readers: list[threading.Thread] = []

    async def use(core) -> None:
        request = PREDICT()  # some fifty bytes that stand for a minute of silence
        request.model_spec.name, request.model_spec.signature_name = "genre", "classify_audio"
        request.inputs["audio"].CopyFrom(tensor(1, [1, 1_323_000]))
        read_message = core.reader(prepare_predict, lambda: request)

        def read(record):
            readers.append(threading.current_thread())
            return read_message(record)

        lease = await core.budget.read_lease(1)
        answer = await core.infer(read, Arrival(CallRecord("grpc", "Predict", "test"), lease))
        assert answer.model_spec.version.value == 1
        readers.append(await core.off_loop(1000, threading.current_thread))
        readers.append(await core.off_loop(MEBIBYTE, threading.current_thread))

    running_core(versions["right"], use)
    request, small_answer, large_answer = readers
    assert small_answer is threading.current_thread()
    assert small_answer not in (request, large_answer)


@pytest.mark.parametrize("method", ["predict", "classify", "regress"])
def test_bodies_are_read_outside_of_the_event_loop(
    versions: dict[str, pathlib.Path], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    readers: list[threading.Thread] = []
    parse = rest_json.parse_object

    def noted(*arguments: object, **options: object) -> object:
        readers.append(threading.current_thread())
        return parse(*arguments, **options)

    def post(address: tuple[str, int]) -> bytes:
        url = f"http://{address[0]}:{address[1]}/v1/models/genre:{method}"
        try:
            return urllib.request.urlopen(url, b'{"examples": []}', timeout=60).read()
        except urllib.error.HTTPError as error:
            return error.read()

    async def use(core: Core) -> None:
        async with listening_core(core) as address:
            assert b"error" in await asyncio.to_thread(post, address)

    monkeypatch.setattr(rest_json, "parse_object", noted)
    running_core(versions["right"], use)
    (reader,) = readers
    assert reader.name.startswith("messages")


def test_tasks_of_a_multi_inference_are_made_outside_of_the_event_loop(
    versions: dict[str, pathlib.Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    makers: list[threading.Thread] = []

    def noted(name: str):
        kind = message(name)

        def make(**fields):
            makers.append(threading.current_thread())
            return kind(**fields)

        return make if name == "ClassificationRequest" else kind

    async def use(core: Core) -> None:
        request = message("MultiInferenceRequest")()
        task = request.tasks.add(method_name="tensorflow/serving/classify")
        task.model_spec.name, task.model_spec.signature_name = "genre", "classify_examples"
        request.input.example_list.examples.add().MergeFromString(serialized_example(tone("metal")))
        lease = await core.budget.read_lease(1)
        arrival = Arrival(CallRecord("grpc", "MultiInference", "test"), lease)
        (result,) = (await core.multi_inference(request, arrival)).results
        assert len(result.classification_result.classifications) == 1

    monkeypatch.setattr(core_module, "message", noted)
    running_core(versions["right"], use)
    (maker,) = makers
    assert maker.name.startswith("messages")
