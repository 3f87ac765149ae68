"""Requests run together without a trace of it in their answers, inside bounds."""

import asyncio
import gc
import pathlib
import threading
import weakref
from collections.abc import Sequence

import grpc
import numpy as np
import pytest
import tensorflow as tf

from serving.protocol import encode_tensor, message
from serving.server import check, decode
from serving.server.batching import BatchQueue
from serving.server.errors import ServingError
from serving.server.loading import LoadedVersion
from serving.server.settings import BatchingSettings
from tests.serving.tone_model import SETTINGS, tone


class Runs:
    """Remembers every run of the model."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def observe_batch(self, *, requests: int, rows: int, seconds: float) -> None:
        self.sizes.append((requests, rows))

    def observe_queue(self, seconds: float) -> None:
        assert seconds >= 0


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


def call_of(version: LoadedVersion, signature: str, **inputs) -> check.Call:
    request = message("PredictRequest")()
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(encode_tensor(value))
    found = check.find_signature(version, signature)
    arrays = decode.message_inputs(found, request, None)
    return check.Call(version, found, arrays, check.output_names(found))


def audio_call(version: LoadedVersion, samples: np.ndarray) -> check.Call:
    return call_of(version, "classify_audio", audio=samples[np.newaxis])


def wav_of(samples: np.ndarray, *, channels: int = 1) -> bytes:
    columns = np.repeat(samples[:, np.newaxis], channels, axis=1)
    return tf.audio.encode_wav(columns, SETTINGS.sample_rate_hz).numpy()


def queued_behind_one(version: Gate, calls: Sequence[check.Call], **settings):
    """Lets `calls` queue behind a first one. Gives their outputs or errors, and their runs."""

    async def use():
        runs = Runs()
        queue = BatchQueue(BatchingSettings(**settings), runs)
        first = asyncio.ensure_future(queue.run(audio_call(version, tone("pop")), None))
        await asyncio.to_thread(version.entered.wait, 30)
        waiting = [asyncio.ensure_future(queue.run(call, None)) for call in calls]
        await asyncio.sleep(0)
        assert queue.length == len(calls)
        version.open.set()
        results = await asyncio.gather(first, *waiting, return_exceptions=True)
        await queue.close()
        return results[1:], runs.sizes[1:]

    return asyncio.run(use())


def test_queued_requests_share_a_run_and_get_their_own_answers(version: Gate) -> None:
    genres = ["rock", "jazz", "blues", "disco"]
    calls = [audio_call(version, tone(genre)) for genre in genres]
    results, sizes = queued_behind_one(version, calls, max_batch_size=8)
    assert sizes == [(4, 4)]
    for genre, call, together in zip(genres, calls, results, strict=True):
        single = version.run(call.signature, call.inputs, call.outputs)
        assert together["genres"][0, together["probabilities"].argmax()].decode() == genre
        for name in ("probabilities", "window_probabilities"):
            np.testing.assert_allclose(together[name], single[name], atol=1e-6)


@pytest.mark.parametrize("bound", ["rows", "bytes"])
def test_a_run_is_bounded_in_rows_and_bytes(version: Gate, bound: str) -> None:
    calls = [audio_call(version, tone("rock")) for _ in range(5)]
    most = {
        "rows": {"max_batch_size": 2},
        "bytes": {"max_batch_bytes": calls[0].input_bytes * 5 // 2},
    }
    _, sizes = queued_behind_one(version, calls, **most[bound])
    assert sizes == [(2, 2), (2, 2), (1, 1)]


def test_different_lengths_do_not_share_a_run(version: Gate) -> None:
    calls = [
        audio_call(version, tone("rock", seconds=3)),
        audio_call(version, tone("rock", seconds=6)),
        call_of(version, "classify_wav", wav=[wav_of(tone("jazz", seconds=3))]),
        call_of(version, "classify_wav", wav=[wav_of(tone("jazz", seconds=6))]),
        call_of(version, "classify_wav", wav=[wav_of(tone("pop", seconds=3), channels=2)]),
        call_of(version, "classify_wav", wav=[wav_of(tone("rock", seconds=6))]),
    ]
    results, sizes = queued_behind_one(version, calls)
    windows = [result["window_probabilities"].shape[1] for result in results]
    assert windows == [1, 2, 1, 2, 1, 2]
    assert sorted(sizes) == [(1, 1)] * 4 + [(2, 2)]


def test_one_bad_request_does_not_fail_those_it_ran_with(version: Gate) -> None:
    calls = [audio_call(version, tone("rock")) for _ in range(3)]
    bad = audio_call(version, np.full_like(tone("rock"), np.nan))
    results, _ = queued_behind_one(version, [calls[0], bad, *calls[1:]])
    for result in (results[0], results[2], results[3]):
        assert result["probabilities"].shape == (1, 10)
    assert results[1].code is grpc.StatusCode.INVALID_ARGUMENT


def test_late_and_cancelled_requests_leave_the_queue_and_are_not_run(version: Gate) -> None:
    async def use() -> None:
        runs = Runs()
        queue = BatchQueue(BatchingSettings(), runs)
        call = audio_call(version, tone("pop"))
        first = asyncio.ensure_future(queue.run(call, None))
        await asyncio.to_thread(version.entered.wait, 30)
        gone = asyncio.ensure_future(queue.run(call, None))
        with pytest.raises(ServingError) as caught:
            await queue.run(call, 0.01)
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert queue.length == 1
        gone.cancel()
        await asyncio.wait([gone])
        assert queue.length == 0
        version.open.set()
        await first
        await queue.close()
        assert runs.sizes == [(1, 1)]

    asyncio.run(use())


def test_full_queue_refuses_and_a_closed_one_answers_what_it_holds(version: Gate) -> None:
    async def use() -> None:
        queue = BatchQueue(BatchingSettings(queue_length=2), Runs())

        async def held() -> object:
            with queue.place():
                return await queue.run(audio_call(version, tone("pop")), None)

        waiting = [asyncio.ensure_future(held()) for _ in range(2)]
        await asyncio.to_thread(version.entered.wait, 30)
        closing = None
        for _ in range(2):
            with pytest.raises(ServingError) as caught:
                await held()
            assert caught.value.code is grpc.StatusCode.UNAVAILABLE
            closing = closing or asyncio.ensure_future(queue.close())
            await asyncio.sleep(0)
        assert queue.held == 2 and not closing.done()
        version.open.set()
        assert all(await asyncio.gather(*waiting))
        await closing
        assert queue.held == 0

    asyncio.run(use())


def test_batch_waits_for_others_only_until_it_is_full(path: str) -> None:
    version = LoadedVersion("genre", 1, path)

    async def use() -> list[tuple[int, int]]:
        runs = Runs()
        queue = BatchQueue(BatchingSettings(max_batch_size=3, batch_timeout_seconds=600), runs)
        calls = [audio_call(version, tone("rock")) for _ in range(3)]
        await asyncio.gather(*(queue.run(call, None) for call in calls))
        await queue.close()
        return runs.sizes

    assert asyncio.run(use()) == [(3, 3)]
    version.retire()


def test_retired_version_closes_after_its_last_user_and_leaves_memory(path: str) -> None:
    version = LoadedVersion("genre", 1, path)
    call = audio_call(version, tone("rock"))
    with version.use():
        version.retire()
        assert not version.closed
        assert version.run(call.signature, call.inputs, call.outputs)
    assert version.closed
    gone = weakref.ref(version)
    del version, call
    gc.collect()  # a TensorFlow graph is a tangle of references of its own
    assert gone() is None
