"""Samples requests for `python -m serving.monitor`, without slowing, failing or changing an answer.

Sounds are described and written in a thread of its own, after the caller was answered. What does
not fit into a short queue is dropped and counted.
"""

import collections
import logging
import queue
import random
import re
import threading
import time
from collections.abc import Callable, Mapping

import numpy as np

from components.audio.codec import AudioError
from serving.server.access_log import CallRecord
from serving.server.backlog import Backlog
from serving.server.calls import Call, Outputs
from serving.server.sample_files import SampleFiles
from serving.server.sampled_sound import describe_answer, sound_of

_LOG = logging.getLogger("gatefold.serving")
_MOST_CALLS = 16
_MOST_BYTES = 64 << 20
_COUNTS_SECONDS = 10.0
_MOST_REASONS = 20
_REASON_LENGTH = 100
_METHODS = ("predict", "classify", "regress", "multiinference")
_PROBABILITIES = "probabilities"

# Told of every sampled call what came of it.
Observe = Callable[[str], None]
WRITTEN, DROPPED, FAILED = "written", "dropped", "failed"


class Sample:
    """A call that is described once its caller has an answer."""

    def __init__(self, sampler: "Sampler", call: Call) -> None:
        self.model, self.version = call.version.model, call.version.number
        self.signature = call.signature.name
        self.inputs: Mapping[str, np.ndarray] = call.inputs
        self.input_bytes = call.input_bytes
        self.outputs: Outputs = {}
        self._sampler = sampler

    def answered(self, outputs: Outputs) -> None:
        """Hands the sample over. Never waits, never fails."""
        self.outputs = outputs
        self._sampler.take(self)

    def forget(self) -> None:
        """Makes room: the caller was not answered, or the sample was written."""
        self.inputs = {}
        self._sampler.make_room(self.input_bytes)


class Sampler:
    """Chooses requests at random, and writes what they were like."""

    def __init__(
        self, files: SampleFiles, *, share: float, sound: bool = False, observe: Observe
    ) -> None:
        """Starts the thread.

        Args:
          files: Where to write.
          share: Which part of the calls to sample, over 0 and up to 1.
          sound: Whether the sound itself is kept, too.
          observe: Told of every sampled call what came of it.
        """
        self._files = files
        self._share = share
        self._sound = sound
        self._observe = observe
        self._lock = threading.Lock()
        self._backlog = Backlog()
        self._calls: collections.Counter[str] = collections.Counter()
        self._refused: collections.Counter[tuple[str, str, str]] = collections.Counter()
        self._failing = False
        self._samples: queue.SimpleQueue[Sample | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="sampling", daemon=True)
        self._thread.start()

    def offer(self, call: Call) -> Sample | None:
        """Chooses a call or not; None also where there is no room. Never waits, never fails."""
        if _PROBABILITIES not in call.outputs or random.random() >= self._share:
            return None
        if not self._backlog.take_room(
            call.input_bytes, most_calls=_MOST_CALLS, most_bytes=_MOST_BYTES
        ):
            self._observe(DROPPED)
            return None
        return Sample(self, call)

    def take(self, sample: Sample) -> None:
        """Puts an answered call into the queue; `offer` bounds its length."""
        self._samples.put(sample)

    def make_room(self, size: int) -> None:
        """Gives back what a sample held."""
        self._backlog.give_room(size)

    def count(self, record: CallRecord) -> None:
        """Counts an ended call of a model, sampled or not, and why it was refused."""
        if not record.model or record.method.lower() not in _METHODS:
            return
        with self._lock:
            self._calls[record.model] += 1
            if record.status == "OK":
                return
            key = record.model, record.status, _reason(record.error)
            if key not in self._refused and len(self._refused) >= _MOST_REASONS:
                key = record.model, record.status, "other reasons"
            self._refused[key] += 1

    def close(self, timeout_seconds: float) -> None:
        """Writes what is left, as far as that is done in time."""
        self._samples.put(None)
        self._thread.join(timeout_seconds)

    def _work(self) -> None:
        last = time.monotonic()
        while True:
            try:
                sample = self._samples.get(timeout=_COUNTS_SECONDS)
            except queue.Empty:
                self._write_counts()
                last = time.monotonic()
                continue
            if sample is None:
                self._write_counts()
                return
            self._write(sample)
            sample.forget()
            del sample
            if time.monotonic() > last + _COUNTS_SECONDS:
                self._write_counts()
                last = time.monotonic()

    def _write(self, sample: Sample) -> None:
        try:
            for row in range(len(sample.outputs[_PROBABILITIES])):
                self._write_row(sample, row)
        except Exception as error:
            self._observe(FAILED)
            self._note(error)
        else:
            self._failing = False
            self._observe(WRITTEN)

    def _write_row(self, sample: Sample, row: int) -> None:
        fields = {
            "kind": "answer",
            "model": sample.model,
            "version": sample.version,
            "signature": sample.signature,
            **describe_answer(sample.outputs, row),
        }
        try:
            sound = sound_of(sample.inputs, row)
        except (AudioError, ValueError):  # the model understood it, we do not
            sound = None
        wav = b""
        if sound is not None:
            fields |= sound.descriptors()
            wav = sound.wav() if self._sound else b""
        self._files.write(fields, wav)

    def _write_counts(self) -> None:
        with self._lock:
            calls, self._calls = self._calls, collections.Counter()
            refused, self._refused = self._refused, collections.Counter()
        for model, count in calls.items():
            reasons = [
                {"status": status, "reason": reason, "calls": number}
                for (of_model, status, reason), number in refused.items()
                if of_model == model
            ]
            try:
                self._files.write(
                    {"kind": "counts", "model": model, "calls": count, "refused": reasons}
                )
            except Exception as error:
                self._note(error)

    def _note(self, error: Exception) -> None:
        """Logs the first of several failures in a row."""
        if not self._failing:
            self._failing = True
            _LOG.error("samples cannot be written: %s: %s", type(error).__name__, error)


def _reason(error: str) -> str:
    """A refusal's sentence without what is the caller's own, so that equal reasons are equal."""
    line = error.partition("\n")[0]
    without_quoted = re.sub(r"(\"[^\"]*\"|'[^']*')", "…", line)
    return re.sub(r"\d+", "#", without_quoted)[:_REASON_LENGTH] or "no reason given"
