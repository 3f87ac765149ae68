"""Versions come, go and fail under the watching server, and no request notices."""

import os
import pathlib
import shutil
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from components.common.releases import ReleaseStore
from serving.protocol import message
from serving.server.registry import Registry, parse_config
from serving.server.status import ServingError
from serving.server.version_policy import aspired
from tests.serving.core_in_process import one_model
from tests.serving.server_process import ServerProcess
from tests.serving.tone_model import tone

STATE = get_model_status_pb2.ModelVersionStatus


def request_for(model: str, genre: str = "jazz") -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "classify_audio"
    request.inputs["audio"].CopyFrom(tf.make_tensor_proto(tone(genre)[np.newaxis]))
    return request


def states(stub, model: str) -> dict[int, get_model_status_pb2.ModelVersionStatus]:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    return {s.version: s for s in stub.GetModelStatus(request).model_version_status}


def wait_for(condition, *, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


class Load:
    """Requests without a pause from several threads; keeps versions seen and errors."""

    def __init__(self, stub, model: str, *, threads: int = 4) -> None:
        self.versions: list[int] = []
        self.errors: list[grpc.RpcError] = []
        self._stub, self._request = stub, request_for(model)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        while not self._stop.is_set():
            try:
                response = self._stub.Predict(self._request, timeout=30)
                self.versions.append(response.model_spec.version.value)
            except grpc.RpcError as error:
                self.errors.append(error)


def test_versions_swap_under_load_and_broken_ones_are_passed_over(
    server: ServerProcess,
    swapping_base: pathlib.Path,
    versions: dict[str, pathlib.Path],
    tmp_path: pathlib.Path,
) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        status = model_service_pb2_grpc.ModelServiceStub(channel)
        with Load(stub, "swapping") as load:
            wait_for(lambda: load.versions)

            # A new version is copied file by file, as a pusher may, and takes over.
            shutil.copytree(versions["shifted"], swapping_base / "2")
            wait_for(lambda: load.versions[-1] == 2)
            wait_for(lambda: states(status, "swapping")[1].state == STATE.END)

            # A broken one is reported, and the one that runs goes on.
            shutil.copytree(versions["right"], tmp_path / "3")
            for file in (tmp_path / "3" / "variables").iterdir():
                file.write_bytes(b"")
            (tmp_path / "4").mkdir()
            (tmp_path / "4" / "saved_model.pb").write_bytes(b"not a model")
            for broken in ("3", "4"):  # whole at once: it is never there unbroken
                (tmp_path / broken).rename(swapping_base / broken)
            wait_for(lambda: {3, 4} <= states(status, "swapping").keys())
            wait_for(lambda: states(status, "swapping")[3].status.error_code != 0)
            seen = len(load.versions)
            wait_for(lambda: len(load.versions) > seen + 20)
            assert set(load.versions[seen:]) == {2}
            assert states(status, "swapping")[2].state == STATE.AVAILABLE
            for broken in (3, 4):
                state = states(status, "swapping")[broken]
                assert state.state == STATE.END
                assert state.status.error_message

            # Mended, it is taken up; deleted, the one before it comes back.
            shutil.rmtree(swapping_base / "4")
            shutil.copytree(versions["right"], swapping_base / "3", dirs_exist_ok=True)
            wait_for(lambda: load.versions[-1] == 3)
            shutil.rmtree(swapping_base / "3")
            wait_for(lambda: load.versions[-1] == 2)

            # Nothing is unloaded because its folder went away.
            swapping_base.rename(swapping_base.with_name("away"))
            looked = server.metric("gatefold_base_path_searches_total")
            wait_for(lambda: server.metric("gatefold_base_path_searches_total") >= looked + 2)
            assert states(status, "swapping")[2].state == STATE.AVAILABLE
            seen = len(load.versions)
            wait_for(lambda: len(load.versions) > seen + 10)
            assert set(load.versions[seen:]) == {2}
            swapping_base.with_name("away").rename(swapping_base)
        assert load.errors == []
    assert "version 3 is passed over" in server.output


def test_configuration_is_reloaded_over_grpc(
    server: ServerProcess, config_file: pathlib.Path, versions: dict[str, pathlib.Path]
) -> None:
    from google.protobuf import text_format

    with grpc.insecure_channel(server.address) as channel:
        status = model_service_pb2_grpc.ModelServiceStub(channel)
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = model_management_pb2.ReloadConfigRequest()
        text_format.Parse(config_file.read_text(), request.config)
        added = request.config.model_config_list.config.add(name="third")
        added.base_path = str(config_file.parent / "genre")
        assert status.HandleReloadConfigRequest(request, timeout=60).status.error_code == 0
        assert stub.Predict(request_for("third")).model_spec.version.value == 2
        assert stub.Predict(request_for("genre")).model_spec.version.value == 2

        del request.config.model_config_list.config[-1]
        assert status.HandleReloadConfigRequest(request, timeout=60).status.error_code == 0
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request_for("third"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        request.config.model_config_list.config[0].name = ""
        assert status.HandleReloadConfigRequest(request, timeout=60).status.error_code == 3


def test_start_beside_a_broken_release_serves_the_one_before(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path]
) -> None:
    base = tmp_path / "genre"
    base.mkdir()
    (base / "6").symlink_to(versions["right"])
    (base / "7").mkdir()
    (base / "not-a-version").mkdir()
    config = parse_config(f'model_config_list {{ config {{ name: "g" base_path: "{base}" }} }}')
    registry = Registry(config, poll_seconds=60)
    registry.poll()
    version = registry.acquire(message("ModelSpec")(name="g"))
    assert version.number == 6
    version.release()
    [model] = registry.models()
    assert model.states()[7].text
    model.unload_all()
    with pytest.raises(ServingError, match=r"Servable not found for request: Latest\(g\)"):
        registry.acquire(message("ModelSpec")(name="g"))


def test_names_that_are_no_version_are_passed_over(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path]
) -> None:
    base = tmp_path / "genre"
    base.mkdir()
    (base / "1").symlink_to(versions["right"])
    os.mkdir(os.fsencode(base) + b"/caf\xe9")  # noqa: PTH102
    for name in (str(2**63), "9" * 200, "٣", "²", "-5", "5x"):
        (base / name).mkdir()
    registry = Registry(parse_config(one_model(base)), poll_seconds=60)
    registry.poll()
    [model] = registry.models()
    assert list(model.states()) == model.numbers() == [1]
    assert ReleaseStore(str(base)).newest() == 1
    model.unload_all()


def test_broken_version_with_a_name_that_is_not_utf_8_stops_no_other_model(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path]
) -> None:
    (tmp_path / "a" / "7").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1").symlink_to(versions["right"])
    (tmp_path / "a" / "7" / "saved_model.pb").write_bytes(b"not a model")
    with open(os.fsencode(tmp_path) + b"/a/7/x\xff", "wb"):  # noqa: PTH123
        pass
    config = parse_config(one_model(tmp_path / "a", "a"))
    config.MergeFrom(parse_config(one_model(tmp_path / "b", "b")))
    registry = Registry(config, poll_seconds=60)
    registry.poll()
    registry.poll()
    broken, other = registry.models()
    assert broken.states()[7].text
    assert other.numbers() == [1]
    other.unload_all()


def test_empty_base_path_changes_nothing(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path]
) -> None:
    (tmp_path / "genre").mkdir()
    link = tmp_path / "genre" / "1"
    link.symlink_to(versions["right"])
    registry = Registry(parse_config(one_model(tmp_path / "genre")), poll_seconds=60)
    registry.poll()
    [model] = registry.models()
    link.unlink()
    registry.poll()
    assert model.numbers() == [1]
    model.unload_all()


def test_warmup_that_fails_breaks_the_version(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path]
) -> None:
    base = tmp_path / "genre"
    shutil.copytree(versions["right"], base / "1")
    log = message("PredictionLog")()
    log.predict_log.request.model_spec.signature_name = "classify_audio"
    warmup = base / "1" / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(warmup)) as writer:
        writer.write(log.SerializeToString())
    config = parse_config(f'model_config_list {{ config {{ name: "g" base_path: "{base}" }} }}')
    registry = Registry(config, poll_seconds=60)
    registry.poll()
    [model] = registry.models()
    assert model.numbers() == []
    assert "Missing but required: {audio}" in model.states()[1].text


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("", {5}),
        ("latest { num_versions: 2 }", {3, 5}),
        ("all {}", {1, 3, 5}),
        ("specific { versions: 1 versions: 5 versions: 9 }", {1, 5}),
    ],
)
def test_version_policies(policy: str, wanted: set[int]) -> None:
    text = f"""model_config_list {{ config {{
      name: "g" base_path: "/g" model_version_policy {{ {policy} }} }} }}"""
    [model] = parse_config(text).model_config_list.config
    assert aspired(model.model_version_policy, [1, 3, 5, 8], broken=[8]) == wanted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model_config_list {", "cannot be parsed"),
        ("", "needs a model_config_list"),
        ('model_config_list { config { name: "g" } }', "needs a name and a base_path"),
        (
            'model_config_list { config { name: "g" base_path: "/g" model_platform: "onnx" } }',
            "only the platform tensorflow",
        ),
        (
            'model_config_list { config { name: "g" base_path: "/a" } '
            'config { name: "g" base_path: "/b" } }',
            "multiple times",
        ),
    ],
)
def test_configuration_that_is_wrong_says_why(text: str, reason: str) -> None:
    with pytest.raises(ServingError, match=reason):
        parse_config(text)
