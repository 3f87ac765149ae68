"""TensorFlow Serving's stubs, curl and the SavedModel itself, asked about one WAV file."""

import base64
import json
import pathlib
import subprocess

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.serving.server_process import ServerProcess


def assert_one_answer(
    serving: ServerProcess, version: pathlib.Path, wav: bytes, folder: pathlib.Path
) -> None:
    """Checks that a version says the same by gRPC, by REST and in this process.

    Args:
      serving: A server of the version as `genre`.
      version: Its folder, whose name is its number.
      wav: A 16-bit WAV file at the model's sample rate.
      folder: Where the request for curl is written.
    """
    genres = (version / "assets" / "genres.txt").read_text().splitlines()
    expected = tf.saved_model.load(str(version)).signatures["classify_wav"](wav=tf.constant([wav]))
    probabilities = expected["probabilities"].numpy()[0]
    windows = expected["window_probabilities"].numpy()[0]

    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "genre", "classify_wav"
    request.inputs["wav"].CopyFrom(tf.make_tensor_proto([wav]))
    with grpc.insecure_channel(serving.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.Predict(request, timeout=60)
    assert answer.model_spec.version.value == int(version.name)
    by_grpc = {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}
    assert [name.decode() for name in by_grpc["genres"][0]] == genres
    np.testing.assert_allclose(by_grpc["probabilities"][0], probabilities, atol=1e-5)
    np.testing.assert_allclose(by_grpc["window_probabilities"][0], windows, atol=1e-5)

    body = folder / "body.json"
    row = {"wav": {"b64": base64.b64encode(wav).decode()}}
    body.write_text(json.dumps({"signature_name": "classify_wav", "instances": [row]}))
    url = f"{serving.rest_url}/v1/models/genre:predict"
    curl = ["curl", "--silent", "--show-error", "--fail-with-body", "--data", f"@{body}", url]
    done = subprocess.run(curl, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    [by_rest] = json.loads(done.stdout)["predictions"]
    assert by_rest["genres"] == genres
    np.testing.assert_allclose(by_rest["probabilities"], probabilities, atol=1e-5)
    np.testing.assert_allclose(by_rest["window_probabilities"], windows, atol=1e-5)
