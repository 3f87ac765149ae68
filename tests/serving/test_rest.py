"""TF Serving's REST calls, as curl makes them."""

import base64
import json
import math
import urllib.error
import urllib.request

import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.gtzan.genres import GENRES
from serving.server.errors import from_exception
from tests.serving.server_process import ServerProcess
from tests.serving.tone_model import SETTINGS, serialized_example, tone

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["instances", "inputs", "audio", "wav", "b64", "signature_name"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def call(server: ServerProcess, path: str, body: object = None) -> tuple[int, dict]:
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    url = f"{server.rest_url}/v1/models/{path}"
    try:
        with urllib.request.urlopen(url, data, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def wav_base64(genre: str) -> dict[str, str]:
    samples = tone(genre)
    wav = tf.audio.encode_wav(samples[:, None], SETTINGS.sample_rate_hz).numpy()
    return {"b64": base64.b64encode(wav).decode()}


def nested(value: object, levels: int) -> object:
    for _ in range(levels):
        value = [value]
    return value


def test_what_a_graph_asserts_is_answered_as_its_sentence() -> None:
    message = "assertion failed: [audio is silent]\n\t [[{{node Assert}}]]"
    error = tf.errors.InvalidArgumentError(None, None, message)
    assert from_exception(error).text == "audio is silent"


def best(row: dict) -> str:
    return row["genres"][max(range(10), key=row["probabilities"].__getitem__)]


def test_base64_without_padding_and_with_line_ends_is_taken(server: ServerProcess) -> None:
    samples = tone("jazz")[:66_151]  # 132346 bytes, one more than a multiple of three
    wav = tf.audio.encode_wav(samples[:, None], SETTINGS.sample_rate_hz).numpy()
    text = base64.b64encode(wav).decode()
    assert text.endswith("=")
    wrapped = "\n".join(text[i : i + 76] for i in range(0, len(text), 76))
    for written in (text, text.rstrip("="), wrapped):
        body = {"signature_name": "classify_wav", "instances": [{"b64": written}]}
        assert best(call(server, "genre:predict", body)[1]["predictions"][0]) == "jazz"


def test_status(server: ServerProcess) -> None:
    status, answer = call(server, "genre/versions/2")
    assert status == 200
    assert answer == {
        "model_version_status": [
            {
                "version": "2",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    assert call(server, "genre/labels/stable")[1]["model_version_status"][0]["version"] == "1"
    assert len(call(server, "genre")[1]["model_version_status"]) == 2
    assert call(server, "mood")[0] == 404


def test_metadata(server: ServerProcess) -> None:
    status, answer = call(server, "genre/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "genre", "signature_name": "", "version": "2"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    audio = signatures["classify_audio"]["inputs"]["audio"]
    assert audio["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in audio["tensor_shape"]["dim"]] == ["-1", "-1"]
    assert "release" not in answer["metadata"]
    release = call(server, "others/metadata")[1]["metadata"]["release"]
    assert release == {"model": "cnn", "data": "/data/composed", "synthetic": True}


def test_rows_in_rows_out(server: ServerProcess) -> None:
    body = {
        "signature_name": "classify_wav",
        "instances": [{"wav": wav_base64("jazz")}, {"wav": wav_base64("metal")}],
    }
    status, answer = call(server, "genre:predict", body)
    assert status == 200
    assert [best(row) for row in answer["predictions"]] == ["jazz", "metal"]
    assert all(
        math.isclose(sum(r["probabilities"]), 1, abs_tol=1e-5) for r in answer["predictions"]
    )
    body["instances"] = [wav_base64("pop")]  # a single input needs no name
    assert best(call(server, "genre:predict", body)[1]["predictions"][0]) == "pop"


def test_columns_in_columns_out(server: ServerProcess) -> None:
    samples = [round(float(x), 4) for x in tone("reggae", seconds=3.1)]
    for inputs in ({"audio": [samples]}, [samples]):
        body = {"signature_name": "classify_audio", "inputs": inputs}
        status, answer = call(server, "genre/versions/2:predict", body)
        assert status == 200
        outputs = answer["outputs"]
        assert set(outputs) == {"probabilities", "genres", "window_probabilities"}
        assert outputs["genres"] == [list(GENRES)]
        assert max(outputs["probabilities"][0]) == outputs["probabilities"][0][8]


def test_label_in_the_path_chooses_the_version(server: ServerProcess) -> None:
    example = base64.b64encode(serialized_example(tone("blues"))).decode()
    body = {"instances": [{"b64": example}]}
    assert best(call(server, "genre/labels/canary:predict", body)[1]["predictions"][0]) == "blues"
    stable = call(server, "genre/labels/stable:predict", body)[1]["predictions"][0]
    assert best(stable) == "classical"


AUDIO = {"signature_name": "classify_audio"}
WAV = {"signature_name": "classify_wav"}


@pytest.mark.parametrize(
    ("path", "body", "status", "name"),
    [
        ("genre:predict", b"", 400, "JSON"),
        ("genre:predict", b"{", 400, "JSON"),
        ("genre:predict", b'{"inputs":' + b"[" * 60_000, 400, "JSON"),
        ("genre:predict", rb'{"inputs":"\ud800"}', 400, "JSON"),
        ("genre:predict", b"[1]", 400, "object"),
        ("genre:predict", {}, 400, "'inputs'"),
        ("genre:predict", {"inputs": [], "instances": []}, 400, "'instances'"),
        ("genre:predict", {"instances": []}, 400, "'instances'"),
        ("genre:predict", {"instances": [{"wav": 1}]}, 400, "examples"),
        ("genre:predict", {"instances": [1.5]}, 400, "examples"),
        ("genre:predict", {"instances": [{"b64": "?"}]}, 400, "base64"),
        ("genre:predict", {"instances": [{"b64": "aGVs-G8="}]}, 400, "base64"),
        ("genre:predict", {"inputs": {"wrong": 1}}, 400, "wrong"),
        ("genre:predict", {**AUDIO, "inputs": [[1, 2], [3]]}, 400, "equal lengths"),
        ("genre:predict", {**AUDIO, "inputs": [[0.0, True]]}, 400, "bool"),
        ("genre:predict", {**AUDIO, "inputs": [[0.0, None]]}, 400, "NoneType"),
        ("genre:predict", {**AUDIO, "inputs": [["0.5"]]}, 400, "str"),
        ("genre:predict", {**AUDIO, "inputs": [[1e39]]}, 400, "too large"),
        ("genre:predict", {**AUDIO, "inputs": [[0.5]] * 9}, 400, "--max-batch-size"),
        ("genre:predict", {**AUDIO, "inputs": [[0.5] * 100]}, 400, "66150 samples"),
        ("genre:predict", {**WAV, "instances": ["a"] * 9}, 400, "--max-batch-size"),
        ("genre:predict", {**WAV, "inputs": nested("a", 900)}, 400, "nested"),
        ("genre:predict", {"signature_name": "guess", "inputs": []}, 400, "guess"),
        ("genre:predict", {"signature_name": 1, "inputs": []}, 400, "signature_name"),
        ("mood:predict", {"inputs": []}, 404, "mood"),
        ("genre/versions/7:predict", {"inputs": []}, 404, "7"),
        (f"genre/versions/{2**63}:predict", {"inputs": []}, 400, "version"),
        (f"genre/versions/{'9' * 5000}", None, 400, "version"),
        ("genre/labels/x:predict", {"inputs": []}, 400, "x"),
        ("genre:guess", {}, 400, "genre:guess"),
        ("", None, 400, "/v1/models/"),
    ],
)
def test_bad_requests_are_refused_by_name(
    server: ServerProcess, path: str, body: object, status: int, name: str
) -> None:
    actual, answer = call(server, path, body)
    assert actual == status, answer
    assert name in answer["error"]
    assert len(answer["error"]) < 1100


def test_body_over_the_limit_is_refused(server: ServerProcess) -> None:
    assert call(server, "genre:predict", b" " * (22 << 20))[0] == 400


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    body=JSON_VALUES,
    key=st.sampled_from(["instances", "inputs"]),
    signature=st.sampled_from(["", "classify_audio", "classify_wav", "transform_features"]),
)
def test_no_json_breaks_the_server(server: ServerProcess, body, key, signature) -> None:
    for document in (body, {key: body, "signature_name": signature}):
        status, answer = call(server, "genre:predict", document)
        assert status in (200, 400), answer
