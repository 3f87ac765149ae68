"""The server as tensorflow-serving-api's own stubs see it: nothing of ours on the client's side."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from components.gtzan.genres import GENRES
from tests.serving.server_process import ServerProcess
from tests.serving.tone_model import SETTINGS, serialized_example, tone

CODE = grpc.StatusCode


@pytest.fixture(scope="module")
def channel(server: ServerProcess):
    with grpc.insecure_channel(
        server.address, options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def model_stub(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def predict_request(signature: str = "", **inputs) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "genre"
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def wav(samples: np.ndarray) -> bytes:
    return tf.audio.encode_wav(samples[:, np.newaxis], SETTINGS.sample_rate_hz).numpy()


def top_genres(response: predict_pb2.PredictResponse) -> list[str]:
    probabilities = tf.make_ndarray(response.outputs["probabilities"])
    genres = tf.make_ndarray(response.outputs["genres"])
    best = probabilities.argmax(axis=1)
    return [row[i].decode() for row, i in zip(genres, best, strict=True)]


def refusal(call, request) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    return caught.value.code(), caught.value.details()


def test_every_genre_is_told_by_every_signature(stub) -> None:
    for genre in GENRES:
        samples = tone(genre)
        for request in (
            predict_request("classify_audio", audio=samples[np.newaxis]),
            predict_request("classify_wav", wav=[wav(samples)]),
            predict_request("", examples=[serialized_example(samples)]),
        ):
            assert top_genres(stub.Predict(request, timeout=30)) == [genre]


def test_answer_names_model_version_and_signature(stub) -> None:
    response = stub.Predict(predict_request("", examples=[serialized_example(tone("pop"))]))
    assert (response.model_spec.name, response.model_spec.version.value) == ("genre", 2)
    assert response.model_spec.signature_name == "serving_default"
    assert response.model_spec.version_label == ""
    assert set(response.outputs) == {"probabilities", "genres"}
    probabilities = response.outputs["probabilities"]  # field by field, as TF Serving's
    assert len(probabilities.float_val) == 10 and probabilities.tensor_content == b""


def test_any_length_from_one_window_up_and_several_clips_in_one_request(stub) -> None:
    for seconds, windows in ((3.0, 1), (30.0, 10), (75.0, 25)):
        clips = np.stack([tone(genre, seconds=seconds) for genre in ("metal", "blues")])
        response = stub.Predict(predict_request("classify_audio", audio=clips[:1]), timeout=30)
        assert tf.make_ndarray(response.outputs["window_probabilities"]).shape == (1, windows, 10)
    response = stub.Predict(predict_request("classify_audio", audio=clips[:, :70_000]))
    assert top_genres(response) == ["metal", "blues"]


def test_transformed_features_and_label(stub) -> None:
    example = serialized_example(tone("disco"), genre="disco")
    response = stub.Predict(predict_request("transform_features", examples=[example]))
    assert tf.make_ndarray(response.outputs["label"]).tolist() == [GENRES.index("disco")]
    assert tf.make_ndarray(response.outputs["log_mel"]).shape == (1, 1291, 1)


def test_output_filter_is_honoured(stub) -> None:
    request = predict_request("classify_audio", audio=tone("rock")[np.newaxis])
    request.output_filter.append("genres")
    assert set(stub.Predict(request).outputs) == {"genres"}
    for wrong in (["genres", "genres"], ["loudness"]):
        request.output_filter[:] = wrong
        code, text = refusal(stub.Predict, request)
        assert code is CODE.INVALID_ARGUMENT and "output" in text


def test_versions_and_labels(stub) -> None:
    request = predict_request("classify_audio", audio=tone("blues")[np.newaxis])
    request.model_spec.version.value = 1
    assert top_genres(stub.Predict(request)) == ["classical"]
    request.model_spec.version_label = "canary"
    response = stub.Predict(request)
    assert (top_genres(response), response.model_spec.version.value) == (["blues"], 2)
    request.model_spec.version_label = "stable"
    assert stub.Predict(request).model_spec.version.value == 1


def set_audio(request: predict_pb2.PredictRequest, samples: np.ndarray) -> None:
    request.inputs["audio"].CopyFrom(tf.make_tensor_proto(samples))


@pytest.mark.parametrize(
    ("change", "code", "name"),
    [
        (lambda r: r.ClearField("model_spec"), CODE.INVALID_ARGUMENT, "model"),
        (lambda r: setattr(r.model_spec, "name", "mood"), CODE.NOT_FOUND, "mood"),
        (lambda r: setattr(r.model_spec.version, "value", 77), CODE.NOT_FOUND, "77"),
        (lambda r: setattr(r.model_spec, "version_label", "old"), CODE.INVALID_ARGUMENT, "old"),
        (lambda r: setattr(r.model_spec, "signature_name", "x"), CODE.FAILED_PRECONDITION, "'x'"),
        (lambda r: r.inputs.pop("audio"), CODE.INVALID_ARGUMENT, "audio"),
        (lambda r: r.inputs["song"].CopyFrom(r.inputs["audio"]), CODE.INVALID_ARGUMENT, "song"),
        (lambda r: set_audio(r, np.zeros((1, 9))), CODE.INVALID_ARGUMENT, "double"),
        (lambda r: set_audio(r, np.zeros(9, "f")), CODE.INVALID_ARGUMENT, "[-1, -1]"),
        (lambda r: set_audio(r, np.zeros((1, 0), "f")), CODE.INVALID_ARGUMENT, "66150 samples"),
        (lambda r: set_audio(r, np.zeros((1, 66_149), "f")), CODE.INVALID_ARGUMENT, "66150"),
        (lambda r: set_audio(r, np.full((1, 70_000), np.nan, "f")), CODE.INVALID_ARGUMENT, "NaN"),
        (lambda r: set_audio(r, np.zeros((9, 70_000), "f")), CODE.INVALID_ARGUMENT, "--max-batch"),
        (
            lambda r: setattr(r.inputs["audio"], "tensor_content", b"odd"),
            CODE.INVALID_ARGUMENT,
            "audio",
        ),
    ],
)
def test_bad_input_is_refused_by_name(stub, change, code, name) -> None:
    request = predict_request("classify_audio", audio=tone("pop")[np.newaxis])
    change(request)
    actual = refusal(stub.Predict, request)
    assert actual[0] is code
    assert name in actual[1]


NO_WAV = {
    "empty": b"",
    "unknown format": b"not a WAV",
    "MP3": b"\xff\xfb\x90\x64" + bytes(range(256)),
    "FLAC": b"fLaC\x00\xff\xfe",
    "RIFF": b"RIFF\xff\xff\xff\xff" + bytes(range(128, 200)),
}


@pytest.mark.parametrize("name", NO_WAV)
def test_what_is_not_wav_is_refused_by_the_name_of_what_it_is(server, stub, name: str) -> None:
    failed = server.metric("gatefold_requests_total", status="INTERNAL")
    refused = server.metric("gatefold_requests_total", status="INVALID_ARGUMENT", model="genre")
    code, text = refusal(stub.Predict, predict_request("classify_wav", wav=[NO_WAV[name]]))
    assert code is CODE.INVALID_ARGUMENT
    assert name in text and "send WAV" in text
    assert server.metric("gatefold_requests_total", status="INTERNAL") == failed
    counted = server.metric("gatefold_requests_total", status="INVALID_ARGUMENT", model="genre")
    assert counted == refused + 1


@pytest.mark.parametrize("data", [b"\xff\xfe\xfd" * 50, b"\x0a\xff\xff\xff\xff", b""])
def test_what_is_no_example_is_refused(stub, data: bytes) -> None:
    code, text = refusal(stub.Predict, predict_request("", examples=[data]))
    assert code is CODE.INVALID_ARGUMENT
    assert text


@pytest.mark.parametrize("letter", ["n", "é", "\U0001f3b5"])
def test_long_name_is_refused_with_a_short_sentence(server, stub, letter: str) -> None:
    request = predict_request("classify_audio", audio=tone("pop")[np.newaxis])
    long = letter * (1 << 20)
    for change, expected in (
        (lambda r: setattr(r.model_spec, "name", long), CODE.NOT_FOUND),
        (lambda r: setattr(r.model_spec, "version_label", long), CODE.INVALID_ARGUMENT),
        (lambda r: setattr(r.model_spec, "signature_name", long), CODE.FAILED_PRECONDITION),
        (lambda r: r.output_filter.append(long), CODE.INVALID_ARGUMENT),
        (lambda r: r.inputs[long].CopyFrom(r.inputs["audio"]), CODE.INVALID_ARGUMENT),
    ):
        changed = type(request).FromString(request.SerializeToString())
        change(changed)
        code, text = refusal(stub.Predict, changed)
        assert code is expected
        assert letter * 200 in text and len(text.encode()) < 1100


def test_message_over_the_limit_is_refused(stub) -> None:
    request = predict_request("classify_audio", audio=np.zeros((1, 5 << 20), "f"))
    code, text = refusal(stub.Predict, request)
    assert code is CODE.RESOURCE_EXHAUSTED
    assert "larger than max" in text


def test_metadata_holds_the_signatures(stub) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "genre"
    response = stub.GetModelMetadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert response.model_spec.version.value == 2
    audio = signatures.signature_def["classify_audio"].inputs["audio"]
    assert audio.dtype == tf.float32.as_datatype_enum
    assert [dim.size for dim in audio.tensor_shape.dim] == [-1, -1]
    assert {"serving_default", "classify_wav", "transform_features"} <= set(
        signatures.signature_def
    )
    request.metadata_field[:] = ["weights"]
    assert refusal(stub.GetModelMetadata, request)[0] is CODE.INVALID_ARGUMENT


def test_status_of_versions(model_stub) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "genre"
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    states = {s.version: s.state for s in model_stub.GetModelStatus(request).model_version_status}
    assert states == {1: available, 2: available}
    request.model_spec.version.value = 9
    assert refusal(model_stub.GetModelStatus, request)[0] is CODE.NOT_FOUND
    request.model_spec.name = "mood"
    request.model_spec.ClearField("version")
    assert refusal(model_stub.GetModelStatus, request)[0] is CODE.NOT_FOUND


def test_calls_that_are_not_served_are_unimplemented(channel, model_stub, stub) -> None:
    from tensorflow_serving.apis import classification_pb2, model_management_pb2

    for call, request in (
        (stub.Classify, classification_pb2.ClassificationRequest()),
        (model_stub.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest()),
    ):
        assert refusal(call, request)[0] is CODE.UNIMPLEMENTED


def test_health_is_answered(channel) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "tensorflow.serving.PredictionService"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_describes_every_service(channel) -> None:
    from google.protobuf import descriptor_pb2
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="tensorflow.serving.PredictionService"
        ),
    ]
    listing, file = list(stub.ServerReflectionInfo(iter(requests)))
    names = {service.name for service in listing.list_services_response.service}
    assert {
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "grpc.health.v1.Health",
    } <= names
    [data] = file.file_descriptor_response.file_descriptor_proto[:1]
    described = descriptor_pb2.FileDescriptorProto.FromString(data)
    assert "Predict" in [method.name for method in described.service[0].method]
