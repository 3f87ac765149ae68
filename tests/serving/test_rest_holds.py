"""REST callers that send nonsense, too much, too slowly, or hang up."""

import asyncio
import base64
import binascii
import contextlib
import gzip
import json
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

from serving.protocol import message
from serving.server import json_body, json_tensors, rest_json
from serving.server.json_body import JsonError, Numbers
from serving.server.rest_server import rest_server
from serving.server.settings import ServerSettings, listening_socket
from serving.server.status import ServingError
from tests.serving.server_process import ServerProcess
from tests.serving.test_rest import best, call, wav_base64
from tests.serving.test_unfolding import stairs
from tests.serving.tone_model import SETTINGS, tone


def deep(levels: int) -> object:
    value: object = 0.5
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"inputs": [[[1.0]], [2.0]]}, "2.0 found at incorrect level: 3"),
        ({"inputs": [[1.0, 2.0], 3.0]}, "found at incorrect level: 2"),
        ({"inputs": [[[0.5]] * 5000, [0.5] * 5000]}, "in the JSON DOM. Expected at level: 3"),
        ({"inputs": [[0.5] * 5000, [0.5] * 4999]}, "unexpected size: 4999"),
        ({"inputs": stairs(0.5, 4, 32)}, "found at incorrect level: 32"),
        ({"signature_name": "classify_wav", "inputs": stairs("x", 75, 4)}, "at incorrect level: 4"),
        ({"inputs": deep(32)}, "must have shape [-1, -1]"),
        ({"inputs": deep(33)}, "nested more than 33 deep"),
        (b'{"inputs":' + b"[" * 100_000, "nested more than 33 deep"),
        (b'{"inputs":[' + b"[]," * 300_000, "more than 262144 elements"),
        ({"inputs": [[0.5, 16777217]]}, "16777217 to float without loss of precision"),
        ({"inputs": [[0.5] * 5000 + [16777217]]}, "16777217 to float without loss of precision"),
        ({"inputs": [[1e39]]}, "to float without loss of precision"),
        ({"inputs": [[1e39] * 5000]}, "to float without loss of precision"),
        ({"inputs": [[0.5]] * 9}, "Task size 9 is larger than maximum input batch size 8"),
    ],
)
def test_lists_that_are_no_tensor_are_refused_with_a_sentence(
    server: ServerProcess, body: object, text: str
) -> None:
    if isinstance(body, dict):
        body = {"signature_name": "classify_audio", **body}
    status, answer = call(server, "genre:predict", body)
    assert (status, text in answer["error"]) == (400, True), answer


@pytest.mark.parametrize(
    "body",
    [
        rb'{"signature_name":"\ud800","instances":[1]}',
        rb'{"signature_name":"classify_wav","instances":["\udfff"]}',
        rb'{"inputs":{"\ud800":1}}',
        rb'{"examples":[{"\ud800":"\ud800"}]}',
    ],
)
def test_half_a_surrogate_pair_is_refused_with_a_sentence(
    server: ServerProcess, body: bytes
) -> None:
    for method in ("predict", "classify"):
        status, answer = call(server, f"genre:{method}", body)
        assert status == 400
        assert "The surrogate pair in string is invalid." in answer["error"]


def test_base64_without_padding_and_with_line_ends_is_taken(server: ServerProcess) -> None:
    samples = tone("jazz")[:66_151]  # 132346 bytes, one more than a multiple of three
    wav = tf.audio.encode_wav(samples[:, None], SETTINGS.sample_rate_hz).numpy()
    text = base64.b64encode(wav).decode()
    assert text.endswith("=")
    wrapped = "\n".join(text[i : i + 76] for i in range(0, len(text), 76))
    for written in (text, text.rstrip("="), wrapped):
        body = {"signature_name": "classify_wav", "instances": [{"b64": written}]}
        assert best(call(server, "genre:predict", body)[1]["predictions"][0]) == "jazz"


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 1.0, True, "1"])
def test_number_that_its_type_cannot_hold_is_refused(value: object) -> None:
    """TF Serving writes a number that is too large for the type, or a part of it."""
    info = message("tensorflow.TensorInfo")(dtype=3)
    for written in ([value], [1] * 5000 + [value]):
        document = json_body.parse(json.dumps(written).encode())
        with pytest.raises(ServingError, match="is not of expected type: int32"):
            json_tensors.array_of(document, info)
    np.testing.assert_array_equal(json_tensors.array_of([1, 2], info), np.array([1, 2], np.int32))


def test_text_that_is_not_utf_8_is_answered_with_a_mark() -> None:
    """TF Serving writes the bytes as they are, which is no JSON."""
    outputs = {"name": np.array([b"caf\xe9"], object), "id_bytes": np.array([b"\xff"], object)}
    answer = json.loads(rest_json.encode(rest_json.predict_response(outputs, rows=True)))
    assert answer == {"predictions": [{"name": "caf\ufffd", "id_bytes": {"b64": "/w=="}}]}


def test_compressed_body_is_read_up_to_the_limit(server: ServerProcess) -> None:
    body = {"signature_name": "classify_wav", "instances": [wav_base64("metal")]}
    packed = gzip.compress(json.dumps(body).encode())
    bomb = gzip.compress(b" " * (64 << 20))
    for data, encoding, status in (
        (packed, "gzip", 200),
        (packed[:-9], "gzip", 400),
        (b"no gzip", "gzip", 400),
        (bomb, "gzip", 400),
        (packed, "br", 400),
    ):
        request = urllib.request.Request(
            f"{server.rest_url}/v1/models/genre:predict",
            data,
            headers={"Content-Encoding": encoding},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                actual, answer = response.status, json.load(response)
                assert best(answer["predictions"][0]) == "metal"
        except urllib.error.HTTPError as error:
            actual, answer = error.code, json.load(error)
            assert answer["error"]
        assert actual == status


def test_model_without_a_name_is_refused(server: ServerProcess) -> None:
    with contextlib.closing(connection(server)) as caller:
        caller.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: caller.recv(65536), b""))
    assert b" 400 " in answer.splitlines()[0]
    assert b"Missing model name in request." in answer


def connection(server: ServerProcess) -> socket.socket:
    url = urllib.parse.urlsplit(server.rest_url)
    return socket.create_connection((url.hostname, url.port), timeout=30)


def post(length: int, path: str = "genre:predict") -> bytes:
    return (
        f"POST /v1/models/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def log_lines(server: ServerProcess, since: int, method: str) -> list[dict]:
    lines = server.access_log.read_text()[since:].splitlines()
    return [line for line in map(json.loads, lines) if line["method"] == method]


@contextlib.contextmanager
def logged(server: ServerProcess, method: str) -> Iterator[list[dict]]:
    """Fills the list with what is logged of the calls inside, waiting for the first of it."""
    since = len(server.access_log.read_text())
    lines: list[dict] = []
    yield lines
    end = time.monotonic() + 30
    while not (found := log_lines(server, since, method)):
        assert time.monotonic() < end, "nothing was logged"
        time.sleep(0.02)
    lines += found


def test_caller_who_hangs_up_leaves_no_stack_trace(server: ServerProcess) -> None:
    long = json.dumps({"signature_name": "classify_audio", "inputs": [[0.5] * 1_000_000]}).encode()
    for sent in (post(1000) + b'{"inst', post(len(long)) + long):
        with logged(server, "Predict") as lines:
            caller = connection(server)
            caller.sendall(sent)
            caller.close()
        assert [line["status"] for line in lines] in (["CANCELLED"], ["OK"])
    assert "Traceback" not in server.output
    assert "ASGI" not in server.output


def test_idle_connections_do_not_shut_out_others(server: ServerProcess) -> None:
    idle = [connection(server) for _ in range(400)]  # the server holds 200 calls
    try:
        assert call(server, "genre")[0] == 200
        body = {"signature_name": "classify_wav", "instances": [wav_base64("pop")]}
        assert best(call(server, "genre:predict", body)[1]["predictions"][0]) == "pop"
    finally:
        for caller in idle:
            caller.close()


def test_numbers_in_portions_are_those_of_json() -> None:
    random = np.random.default_rng(1)
    floats = random.normal(size=100_000).tolist()
    integers = random.integers(-9, 9, 100_000).tolist()
    large = [2**60 + i for i in range(5000)]
    for values in (floats, integers, floats[:10], [*integers, *floats], large):
        document = {"a": [values, [values]], "b": {"c": values}}
        read = json_body.parse(json.dumps(document).encode())
        for found in (read["a"][0], read["a"][1][0], read["b"]["c"]):
            if len(values) > 10:
                assert isinstance(found, Numbers)
                assert found.integers == all(isinstance(value, int) for value in values)
                found = found.values.tolist()
            assert found == values


@pytest.mark.parametrize(
    "text",
    [
        '{"a":[1,{"b":"x]"}],"c":null}',
        ' [ 1.5 , "é", -2e3 ,true ] ',
        '"[1,2]"',
        "[[1],[2],[[3]]]",
        "[1,2,]",
        "[,1]",
        "[1 2]",
        '{"a":1,}',
        '{"a" 1}',
        "[1]]",
        "[01]",
        "[-]",
        "[tru]",
        '"open',
        r'"open\"',
        r'["a\"b\\", "\u00e9\ud83d\ude00\/\n", {"\t": "\\"}]',
        '"' + r"\ud83d\ude00" * 6_000 + '"',  # cut inside an escape, and inside a pair
        '"' + r"a\ud83d\ude00" * 6_000 + '"',
        '"' + r"\\" * 70_000 + '"',
        '"' + "é" * 140_000 + r'\u00e9"',
        '"' + "é" * 140_000 + '"',
        r'"\x"',
        r'"\u12"',
        '"a\nb"',
        '"' + "a" * 70_000 + '\x1f"',
        '"\x7f"',
        "[1" + ",1" * 70_000 + ",]",
        "[1" + ",1" * 70_000 + ',"a"]',
    ],
)
def test_json_in_portions_is_json(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(JsonError):
            json_body.parse(text.encode())
    else:
        assert json_body.parse(text.encode()) == expected


def test_large_text_is_read_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else runs while C code is at work on one, which took 0.3 s for 60 MiB."""
    sizes = []

    def measured(work):
        def measure(data, *arguments):
            sizes.append(len(data))
            return work(data, *arguments)

        return measure

    monkeypatch.setattr(json_tensors.binascii, "a2b_base64", measured(binascii.a2b_base64))
    monkeypatch.setattr(json_body, "_decode", measured(json_body._decode))
    monkeypatch.setattr(json_body.json, "loads", measured(json.loads))
    content = np.random.default_rng(1).bytes(4 << 20)
    text = base64.b64encode(content).decode()
    assert text.count("/") > 10_000
    for written in (text, text.replace("/", r"\/"), text.replace("/", r"\n/")):  # PHP writes \/
        value = json_body.parse(f'{{"b64":"{written}"}}'.encode())
        assert json_tensors.decode_base64(value) == content
    assert len(sizes) > 3 * 16
    assert max(sizes) <= 262_144 + 3


def test_answers_are_sent_at_once() -> None:
    """Their body does not wait for the caller's acknowledgement of the headers (40 ms)."""
    listening = listening_socket("127.0.0.1", 0)
    server = rest_server(lambda *_: None, ServerSettings(model_config=""))

    async def option_of_a_connection() -> int:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        _, writer = await asyncio.open_connection(*listening.getsockname())
        while not server.server_state.connections:
            await asyncio.sleep(0.01)
        (connection,) = server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        option = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()
        server.should_exit = True
        await serving
        return option

    assert asyncio.run(option_of_a_connection())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("aGVsbG8=", b"hello"),
        ("aGVsbG8", b"hello"),
        (" aGVs\nbG8= ", b"hello"),
        ("aGVs\u00a0bG8=", b"hello"),
        ("+/+/", b"\xfb\xff\xbf"),
        ("", b""),
        ("aGVsbG8h====", b"hello!"),
        ("aG=sbG8=", None),
        ("a", None),
        ("a===", None),
        ("aGVs-G8=", None),
        ("aGVsbGé=", None),
        ("\ud800abc", None),
    ],
)
def test_base64_is_decoded_or_refused(text: str, expected: bytes | None) -> None:
    if expected is not None:
        assert json_tensors.decode_base64({"b64": text}) == expected
        return
    with pytest.raises(ServingError, match="Unable to base64 decode"):
        json_tensors.decode_base64({"b64": text})
