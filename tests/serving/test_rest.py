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
    request = urllib.request.Request(f"{server.rest_url}/v1/models/{path}", data)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def wav_base64(genre: str) -> dict[str, str]:
    samples = tone(genre)
    wav = tf.audio.encode_wav(samples[:, None], SETTINGS.sample_rate_hz).numpy()
    return {"b64": base64.b64encode(wav).decode()}


def best(row: dict) -> str:
    return row["genres"][max(range(10), key=row["probabilities"].__getitem__)]


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
    assert call(server, "mood") == (404, {"error": "Could not find any versions of model mood"})


def test_metadata(server: ServerProcess) -> None:
    status, answer = call(server, "genre/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "genre", "signature_name": "", "version": "2"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    audio = signatures["classify_audio"]["inputs"]["audio"]
    assert audio["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in audio["tensor_shape"]["dim"]] == ["-1", "-1"]


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


def test_classify(server: ServerProcess) -> None:
    feature = tf.train.Example.FromString(serialized_example(tone("disco"))).features.feature
    audio = base64.b64encode(feature["audio"].bytes_list.value[0]).decode()
    body = {"signature_name": "classify_examples", "examples": [{"audio": {"b64": audio}}]}
    status, answer = call(server, "genre:classify", body)
    assert status == 200
    [row] = answer["results"]
    assert max(row, key=lambda entry: entry[1])[0] == "disco"
    body["signature_name"] = "serving_default"
    status, answer = call(server, "genre:classify", body)
    assert (status, answer["error"]) == (
        400,
        "Expected classification signature method_name to be tensorflow/serving/classify. "
        "Was: tensorflow/serving/predict",
    )


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("genre:predict", b"", 400, "The document is empty"),
        ("genre:predict", b"{", 400, "JSON Parse error"),
        ("genre:predict", b"[1]", 400, "Is not object"),
        ("genre:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("genre:predict", {"inputs": [], "instances": []}, 400, "only one of"),
        ("genre:predict", {"instances": []}, 400, "No values in 'instances' array"),
        ("genre:predict", {"instances": [{"wav": 1}]}, 400, "keys must be equal to: examples"),
        ("genre:predict", {"instances": [1.5]}, 400, "is not of expected type: string"),
        ("genre:predict", {"instances": [{"b64": "?"}]}, 400, "Unable to base64 decode"),
        ("genre:predict", {"inputs": {"wrong": 1}}, 400, "Missing named input: examples"),
        (
            "genre:predict",
            {"signature_name": "classify_audio", "inputs": [[1, 2], [3]]},
            400,
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        ),
        (
            "genre:predict",
            {"signature_name": "classify_audio", "inputs": [[0.0, True]]},
            400,
            "is not of expected type: float",
        ),
        (
            "genre:predict",
            {"signature_name": "guess", "inputs": []},
            400,
            'Serving signature name: "guess" not found in signature def',
        ),
        (
            "genre:predict",
            {"signature_name": "classify_audio", "inputs": [[0.5] * 100]},
            400,
            "shorter than 66150 samples",
        ),
        ("mood:predict", {"inputs": []}, 404, "Servable not found for request: Latest(mood)"),
        ("genre/versions/7:predict", {"inputs": []}, 404, "Specific(genre, 7)"),
        ("genre/labels/x:predict", {"inputs": []}, 400, "Unrecognized servable version label: x"),
        ("genre:guess", {}, 400, "Malformed request: POST /v1/models/genre:guess"),
    ],
)
def test_bad_requests_are_refused_with_a_sentence(
    server: ServerProcess, path: str, body: object, status: int, text: str
) -> None:
    actual, answer = call(server, path, body)
    assert actual == status
    assert text in answer["error"]


def test_body_over_the_limit_is_refused(server: ServerProcess) -> None:
    assert call(server, "genre:predict", b" " * (33 << 20))[0] == 400


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    body=JSON_VALUES,
    key=st.sampled_from(["instances", "inputs", "examples"]),
    signature=st.sampled_from(["", "classify_audio", "classify_wav", "transform_features"]),
)
def test_no_json_breaks_the_server(server: ServerProcess, body, key, signature) -> None:
    for document in (body, {key: body, "signature_name": signature}):
        status, answer = call(server, "genre:predict", document)
        assert status in (200, 400), answer
