"""Versions come, go and fail under the watching server, and no request notices."""

import os
import pathlib
import shutil
import threading
import time
import weakref

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from components.common.releases import ReleaseStore
from serving.protocol import message
from serving.server import versions as versions_module
from serving.server.errors import ServingError
from serving.server.loading import LoadedVersion
from serving.server.registry import Registry, parse_config
from serving.server.versions import ModelVersions, aspired
from tests.serving.server_process import ServerProcess
from tests.serving.service_in_process import one_model, polled
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
            time.sleep(1.0)  # it looks five times a second
            assert states(status, "swapping")[2].state == STATE.AVAILABLE
            seen = len(load.versions)
            wait_for(lambda: len(load.versions) > seen + 10)
            assert set(load.versions[seen:]) == {2}
            swapping_base.with_name("away").rename(swapping_base)
        assert load.errors == []
    assert "version 3 is passed over" in server.output


@pytest.fixture
def base(tmp_path: pathlib.Path, versions: dict[str, pathlib.Path]) -> pathlib.Path:
    """A base path whose version 1 is right."""
    base = tmp_path / "genre"
    base.mkdir()
    (base / "1").symlink_to(versions["right"])
    return base


def only_model(registry: Registry) -> ModelVersions:
    (model,) = registry.models.values()
    return model


def test_start_beside_a_broken_release_serves_the_one_before(base: pathlib.Path) -> None:
    (base / "7").mkdir()
    (base / "not-a-version").mkdir()
    model = only_model(polled(one_model(base)))
    assert model.version().number == 1
    assert model.states[7].status.error_message
    with pytest.raises(ServingError) as caught:
        model.version(7)
    assert caught.value.code is grpc.StatusCode.NOT_FOUND


def test_names_that_are_no_version_are_passed_over(base: pathlib.Path) -> None:
    os.mkdir(os.fsencode(base) + b"/caf\xe9")  # noqa: PTH102
    for name in (str(2**63), "9" * 200, "٣", "²", "-5", "5x"):
        (base / name).mkdir()
    model = only_model(polled(one_model(base)))
    assert list(model.states) == model.numbers() == [1]
    assert ReleaseStore(str(base)).newest() == 1


def test_broken_version_with_a_name_that_is_not_utf_8_stops_no_other_model(
    tmp_path: pathlib.Path, base: pathlib.Path
) -> None:
    (tmp_path / "a" / "7").mkdir(parents=True)
    (tmp_path / "a" / "7" / "saved_model.pb").write_bytes(b"not a model")
    with open(os.fsencode(tmp_path) + b"/a/7/x\xff", "wb"):  # noqa: PTH123
        pass
    config = parse_config(one_model(tmp_path / "a", "a"))
    config.MergeFrom(parse_config(one_model(base, "b")))
    registry = Registry(config, poll_seconds=60)
    registry.poll()
    registry.poll()
    assert registry.models["a"].states[7].status.error_message
    assert registry.models["b"].numbers() == [1]


def test_empty_base_path_changes_nothing(base: pathlib.Path) -> None:
    registry = polled(one_model(base))
    (base / "1").unlink()
    registry.poll()
    assert only_model(registry).numbers() == [1]


def test_warmup_that_fails_breaks_the_version(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path]
) -> None:
    shutil.copytree(versions["right"], tmp_path / "genre" / "1")
    log = message("PredictionLog")()
    log.predict_log.request.model_spec.signature_name = "classify_audio"
    warmup = tmp_path / "genre" / "1" / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(warmup)) as writer:
        writer.write(log.SerializeToString())
    model = only_model(polled(one_model(tmp_path / "genre")))
    assert model.numbers() == []
    assert "audio" in model.states[1].status.error_message


def test_version_that_goes_while_it_is_used_answers_first_and_leaves_memory(
    base: pathlib.Path, versions: dict[str, pathlib.Path]
) -> None:
    registry = polled(one_model(base))
    model = only_model(registry)
    used = model.version()
    session = weakref.ref(used._session)
    (base / "2").symlink_to(versions["shifted"])
    registry.poll()
    assert model.numbers() == [2]
    assert model.states[1].state == model.states[1].UNLOADING
    signature = used.signatures["classify_audio"]
    assert used.run(signature, {"audio": tone("jazz")[np.newaxis]}, ["genres"])
    del used
    registry.poll()
    assert session() is None, "closed, and its memory freed"
    assert model.states[1].state == model.states[1].END


def test_version_that_is_still_loaded_is_not_served(
    base: pathlib.Path, versions: dict[str, pathlib.Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go = threading.Event(), threading.Event()

    class SlowVersion(LoadedVersion):
        def __init__(self, *arguments) -> None:
            entered.set()
            assert go.wait(30)
            super().__init__(*arguments)

    registry = polled(one_model(base))
    model = only_model(registry)
    monkeypatch.setattr(versions_module, "LoadedVersion", SlowVersion)
    (base / "2").symlink_to(versions["shifted"])
    watcher = threading.Thread(target=registry.poll)
    watcher.start()
    assert entered.wait(30)
    assert model.version().number == 1
    assert model.states[2].state == model.states[2].LOADING
    go.set()
    watcher.join(60)
    assert model.numbers() == [2]


def test_load_that_failed_is_tried_again_with_growing_pauses(
    tmp_path: pathlib.Path, versions: dict[str, pathlib.Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "genre"
    shutil.copytree(versions["right"], base / "1")
    (base / "1" / "saved_model.pb").write_bytes(b"not a model")
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    tries: list[float] = []
    note = ModelVersions._note_failure

    def noted(self, *arguments) -> None:
        tries.append(clock[0] - 1000)
        note(self, *arguments)

    monkeypatch.setattr(ModelVersions, "_note_failure", noted)
    registry = polled(one_model(base))
    model = only_model(registry)
    for _ in range(20):
        clock[0] += 1.0
        registry.poll()
    assert tries == [0, 2, 6, 14]
    shutil.copy(versions["right"] / "saved_model.pb", base / "1" / "saved_model.pb")
    clock[0] += 20.0
    registry.poll()
    assert model.numbers() == [1]
    assert model.states[1].status.error_message == ""


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
    assert aspired(model.model_version_policy, [1, 3, 5]) == wanted


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
            "twice",
        ),
    ],
)
def test_configuration_that_is_wrong_says_why(text: str, reason: str) -> None:
    with pytest.raises(ServingError, match=reason):
        parse_config(text)
