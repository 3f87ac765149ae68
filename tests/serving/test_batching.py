"""Requests run together without a trace of it in their answers, inside bounds."""

import concurrent.futures
import gc
import pathlib
import threading
import time
import weakref

import grpc
import numpy as np
import pytest
import tensorflow as tf

from serving.protocol import decode_tensor, encode_tensor, message
from serving.server.batching import BatchQueue
from serving.server.calls import Call, Limits
from serving.server.loading import LoadedVersion
from serving.server.prediction import prepare_predict
from serving.server.settings import BatchingSettings
from serving.server.status import ServingError
from tests.serving.tone_model import SETTINGS, tone


class Runs:
    """Remembers every run of the model."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def observe_batch(self, *, requests: int, rows: int, seconds: float) -> None:
        self.sizes.append((requests, rows))


class Gate(LoadedVersion):
    """A version whose runs wait for `open`, so that a test decides what queues up behind one."""

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.open = threading.Event()
        self.entered = threading.Event()

    def run(self, *arguments):
        self.entered.set()
        assert self.open.wait(30)
        return super().run(*arguments)


@pytest.fixture(scope="module")
def path(versions: dict[str, pathlib.Path]) -> str:
    return str(versions["right"])


@pytest.fixture
def version(path: str):
    version = Gate("genre", 1, path)
    yield version
    version.open.set()
    version.retire()


def call_of(version: LoadedVersion, signature: str, **inputs) -> Call:
    request = message("PredictRequest")()
    request.model_spec.name = "genre"
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(encode_tensor(value))
    return prepare_predict(version, request)


def audio_call(version: LoadedVersion, samples: np.ndarray) -> Call:
    return call_of(version, "classify_audio", audio=samples[np.newaxis])


def wav_of(samples: np.ndarray, *, channels: int = 1) -> bytes:
    columns = np.repeat(samples[:, np.newaxis], channels, axis=1)
    return tf.audio.encode_wav(columns, SETTINGS.sample_rate_hz).numpy()


def answer(call: Call, outputs) -> dict[str, np.ndarray]:
    return {name: decode_tensor(p) for name, p in call.answer(outputs).outputs.items()}


def queued_behind_one(version: Gate, calls: list[Call], **settings):
    """Lets `calls` queue behind a first one, runs them, and gives their futures and the runs."""
    runs = Runs()
    queue = BatchQueue(BatchingSettings(**settings), runs)
    first = queue.submit(audio_call(version, tone("pop")), timeout_seconds=None)
    assert version.entered.wait(30)
    tickets = [queue.submit(call, timeout_seconds=None) for call in calls]
    version.open.set()
    queue.close()
    first.result()
    return list(tickets), runs.sizes[1:]


def test_queued_requests_share_a_run_and_get_their_own_answers(version: Gate) -> None:
    genres = ["rock", "jazz", "blues", "disco"]
    calls = [audio_call(version, tone(genre)) for genre in genres]
    futures, sizes = queued_behind_one(version, calls, max_batch_size=8)
    assert sizes == [(4, 4)]
    for genre, call, future in zip(genres, calls, futures, strict=True):
        together = answer(call, future.result())
        alone = answer(call, version.run(call.signature, call.inputs, call.outputs))
        assert together["genres"][0, together["probabilities"].argmax()].decode() == genre
        for name in ("probabilities", "window_probabilities"):
            np.testing.assert_allclose(together[name], alone[name], atol=1e-6)


def test_batch_size_is_kept(version: Gate) -> None:
    calls = [audio_call(version, tone("rock")) for _ in range(5)]
    _, sizes = queued_behind_one(version, calls, max_batch_size=2)
    assert sizes == [(2, 2), (2, 2), (1, 1)]


def test_request_larger_than_a_batch_is_refused_as_tf_serving_does(version: Gate) -> None:
    request = message("PredictRequest")()
    request.model_spec.signature_name = "classify_audio"
    request.inputs["audio"].CopyFrom(encode_tensor(np.stack([tone("rock")] * 5)))
    assert prepare_predict(version, request, limits=Limits(1 << 30, 5)).rows == 5
    with pytest.raises(ServingError) as caught:
        prepare_predict(version, request, limits=Limits(1 << 30, 4))
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "Task size 5 is larger than maximum input batch size 4" in caught.value.text


def test_different_lengths_do_not_share_a_run(version: Gate) -> None:
    calls = [
        audio_call(version, tone("rock", seconds=3)),
        audio_call(version, tone("rock", seconds=6)),
        call_of(version, "classify_wav", wav=[wav_of(tone("jazz", seconds=3))]),
        call_of(version, "classify_wav", wav=[wav_of(tone("jazz", seconds=6))]),
        call_of(version, "classify_wav", wav=[wav_of(tone("pop", seconds=3), channels=2)]),
        call_of(version, "classify_wav", wav=[wav_of(tone("rock", seconds=6))]),
    ]
    futures, sizes = queued_behind_one(version, calls)
    windows = [future.result()["window_probabilities"].shape[1] for future in futures]
    assert windows == [1, 2, 1, 2, 1, 2]
    assert sorted(sizes) == [(1, 1)] * 4 + [(2, 2)]


def test_one_bad_request_does_not_fail_those_it_ran_with(version: Gate) -> None:
    calls = [audio_call(version, tone("rock")) for _ in range(3)]
    bad = audio_call(version, np.full_like(tone("rock"), np.nan))
    futures, _ = queued_behind_one(version, [calls[0], bad, *calls[1:]])
    for future in (futures[0], futures[2], futures[3]):
        assert future.result()["probabilities"].shape == (1, 10)
    with pytest.raises(ServingError) as caught:
        futures[1].result()
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_full_queue_refuses_and_recovers(version: Gate) -> None:
    queue = BatchQueue(BatchingSettings(queue_length=2), Runs())
    call = audio_call(version, tone("pop"))
    first = queue.submit(call, timeout_seconds=None)
    assert version.entered.wait(30)
    waiting = [queue.submit(call, timeout_seconds=None) for _ in range(2)]
    with pytest.raises(ServingError) as caught:
        queue.submit(call, timeout_seconds=None)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert "queue to which this task was submitted is full" in caught.value.text
    version.open.set()
    for ticket in (first, *waiting):
        assert ticket.result(30)
    assert queue.submit(call, timeout_seconds=None).result(30)
    queue.close()
    with pytest.raises(ServingError) as caught:
        queue.submit(call, timeout_seconds=None)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


def test_a_place_is_kept_for_a_request_that_is_being_read(version: Gate) -> None:
    queue = BatchQueue(BatchingSettings(queue_length=2), Runs())
    call = audio_call(version, tone("pop"))
    first = queue.submit(call, timeout_seconds=None)
    assert version.entered.wait(30)
    places = [queue.reserve() for _ in range(2)]
    for refused in (queue.reserve, lambda: queue.submit(call, timeout_seconds=None)):
        with pytest.raises(ServingError) as caught:
            refused()
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    second = queue.submit(call, timeout_seconds=None, place=places[0])
    for place in places:  # one has become a request, which stays; the other is free
        place.release()
        place.release()
    third = queue.submit(call, timeout_seconds=None, place=queue.reserve())
    with pytest.raises(ServingError):
        queue.reserve()
    version.open.set()
    for ticket in (first, second, third):
        assert ticket.result(30)
    queue.close()
    with pytest.raises(ServingError):
        queue.reserve()


def test_a_run_of_several_requests_is_bounded_in_bytes(version: Gate) -> None:
    calls = [audio_call(version, tone("rock")) for _ in range(5)]
    size = calls[0].input_bytes
    _, sizes = queued_behind_one(version, calls, max_batch_bytes=int(2.5 * size))
    assert sizes == [(2, 2), (2, 2), (1, 1)]


def test_request_past_its_deadline_is_not_run(version: Gate) -> None:
    runs = Runs()
    queue = BatchQueue(BatchingSettings(), runs)
    call = audio_call(version, tone("pop"))
    queue.submit(call, timeout_seconds=None)
    assert version.entered.wait(30)
    late = queue.submit(call, timeout_seconds=0.01)
    time.sleep(0.05)
    version.open.set()
    queue.close()
    with pytest.raises(ServingError) as caught:
        late.result()
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert runs.sizes == [(1, 1)]


def test_cancelled_request_leaves_the_queue_and_is_not_run(version: Gate) -> None:
    runs = Runs()
    queue = BatchQueue(BatchingSettings(queue_length=1), runs)
    call = audio_call(version, tone("pop"))
    queue.submit(call, timeout_seconds=None)
    assert version.entered.wait(30)
    assert queue.submit(call, timeout_seconds=None).cancel()
    assert queue.length == 0
    replacing = queue.submit(call, timeout_seconds=None)  # there is room again
    version.open.set()
    queue.close()
    assert replacing.result()
    assert runs.sizes == [(1, 1), (1, 1)]


def test_batch_waits_for_others_only_as_long_as_told(path: str) -> None:
    version = LoadedVersion("genre", 1, path)
    runs = Runs()
    queue = BatchQueue(BatchingSettings(max_batch_size=3, batch_timeout_seconds=5.0), runs)
    calls = [audio_call(version, tone("rock")) for _ in range(3)]
    tickets = [queue.submit(call, timeout_seconds=None) for call in calls]
    concurrent.futures.wait(list(tickets), 4.0)
    assert runs.sizes == [(3, 3)]  # full: it did not wait for the five seconds
    queue.close()
    version.retire()


def test_retired_version_closes_after_its_last_user_and_leaves_memory(path: str) -> None:
    version = LoadedVersion("genre", 1, path)
    call = audio_call(version, tone("rock"))
    assert version.acquire()
    version.retire()
    assert not version.closed
    assert version.run(call.signature, call.inputs, call.outputs)
    version.release()
    assert version.closed
    assert not version.acquire()
    gone = weakref.ref(version)
    del version, call
    gc.collect()  # a TensorFlow graph is a tangle of references of its own
    assert gone() is None
