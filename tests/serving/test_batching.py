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
from serving.server.loading import LoadedVersion
from serving.server.prediction import Call, prepare_predict
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
    first.future.result()
    return [ticket.future for ticket in tickets], runs.sizes[1:]


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


def test_request_larger_than_a_batch_runs_alone(version: Gate) -> None:
    large = call_of(version, "classify_audio", audio=np.stack([tone("rock")] * 5))
    small = audio_call(version, tone("jazz"))
    futures, sizes = queued_behind_one(version, [small, large], max_batch_size=4)
    assert sizes == [(1, 1), (1, 5)]
    assert futures[1].result()["probabilities"].shape == (5, 10)


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
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    version.open.set()
    for ticket in (first, *waiting):
        assert ticket.future.result(30)
    assert queue.submit(call, timeout_seconds=None).future.result(30)
    queue.close()
    with pytest.raises(ServingError) as caught:
        queue.submit(call, timeout_seconds=None)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


def test_queue_is_bounded_in_bytes_too(version: Gate) -> None:
    call = audio_call(version, tone("pop"))
    queue = BatchQueue(BatchingSettings(queue_bytes=int(1.5 * call.input_bytes)), Runs())
    queue.submit(call, timeout_seconds=None)
    assert version.entered.wait(30)
    queue.submit(call, timeout_seconds=None)
    with pytest.raises(ServingError, match="full"):
        queue.submit(call, timeout_seconds=None)
    version.open.set()
    queue.close()


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
        late.future.result()
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert runs.sizes == [(1, 1)]


def test_cancelled_request_leaves_the_queue_and_is_not_run(version: Gate) -> None:
    runs = Runs()
    queue = BatchQueue(BatchingSettings(queue_length=1), runs)
    call = audio_call(version, tone("pop"))
    queue.submit(call, timeout_seconds=None)
    assert version.entered.wait(30)
    assert queue.submit(call, timeout_seconds=None).future.cancel()
    assert queue.length == 0
    replacing = queue.submit(call, timeout_seconds=None)  # there is room again
    version.open.set()
    queue.close()
    assert replacing.future.result()
    assert runs.sizes == [(1, 1), (1, 1)]


def test_batch_waits_for_others_only_as_long_as_told(path: str) -> None:
    version = LoadedVersion("genre", 1, path)
    runs = Runs()
    queue = BatchQueue(BatchingSettings(max_batch_size=3, batch_timeout_seconds=5.0), runs)
    calls = [audio_call(version, tone("rock")) for _ in range(3)]
    tickets = [queue.submit(call, timeout_seconds=None) for call in calls]
    concurrent.futures.wait([ticket.future for ticket in tickets], 4.0)
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
    gc.collect()
    assert gone() is None
