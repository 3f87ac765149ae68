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
from collections.abc import Callable

from components.audio.codec import AudioError
from serving.server.access_log import CallRecord
from serving.server.batching import Outputs
from serving.server.check import Call
from serving.server.sample_files import SampleFiles
from serving.server.sampled_sound import describe_answer, sound_of

_LOG = logging.getLogger("gatefold.serving")
_MOST_CALLS = 8  # that wait, each with inputs of at most the largest request
_COUNTS_SECONDS = 10.0
_MOST_REASONS = 20
_REASON_LENGTH = 100
_PROBABILITIES = "probabilities"
WRITTEN, DROPPED, FAILED = "written", "dropped", "failed"


class Sampler:
    """Chooses answered calls at random, and writes what they were like."""

    def __init__(
        self,
        files: SampleFiles,
        *,
        share: float,
        sound: bool = False,
        observe: Callable[[str], None],
    ) -> None:
        """Starts the thread.

        Args:
          files: Where to write.
          share: Which part of the calls to sample, over 0 and up to 1.
          sound: Whether the sound itself is kept, too.
          observe: Called with what came of every sampled call.
        """
        self._files = files
        self._share = share
        self._sound = sound
        self._observe = observe
        self._lock = threading.Lock()
        self._calls: collections.Counter[str] = collections.Counter()
        self._refused: collections.Counter[tuple[str, str, str]] = collections.Counter()
        self._failing = False
        self._samples: queue.Queue[tuple[Call, Outputs] | None] = queue.Queue(_MOST_CALLS)
        self._thread = threading.Thread(target=self._work, name="sampling", daemon=True)
        self._thread.start()

    def offer(self, call: Call, outputs: Outputs) -> None:
        """Chooses an answered call or not. Never waits, never fails."""
        if _PROBABILITIES not in outputs or random.random() >= self._share:
            return
        try:
            self._samples.put_nowait((call, outputs))
        except queue.Full:
            self._observe(DROPPED)

    def count(self, record: CallRecord) -> None:
        """Counts an ended Predict of a model, sampled or not, and why it was refused."""
        if not record.model or record.method != "Predict":
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
        try:
            self._samples.put(None, timeout=timeout_seconds)
        except queue.Full:
            return
        self._thread.join(timeout_seconds)

    def _work(self) -> None:
        due = time.monotonic() + _COUNTS_SECONDS
        while self._write_next(max(0.0, due - time.monotonic())):
            if time.monotonic() >= due:
                self._write_counts()
                due = time.monotonic() + _COUNTS_SECONDS
        self._write_counts()

    def _write_next(self, timeout_seconds: float) -> bool:
        """Writes the next sample, if one comes in time. Returns whether more may come."""
        try:
            sample = self._samples.get(timeout=timeout_seconds)
        except queue.Empty:
            return True
        if sample is not None:
            self._write(*sample)
        return sample is not None

    def _write(self, call: Call, outputs: Outputs) -> None:
        try:
            for row in range(len(outputs[_PROBABILITIES])):
                self._write_row(call, outputs, row)
        except Exception as error:
            self._observe(FAILED)
            self._note(error)
        else:
            self._failing = False
            self._observe(WRITTEN)

    def _write_row(self, call: Call, outputs: Outputs, row: int) -> None:
        fields = {
            "kind": "answer",
            "model": call.version.model,
            "version": call.version.number,
            "signature": call.signature.name,
            **describe_answer(outputs, row),
        }
        wav = b""
        try:
            sound = sound_of(call.inputs, row)
        except (AudioError, ValueError):  # the model understood it, we do not
            sound = None
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
