"""Samples requests for `python -m serving.monitor`, without slowing, failing or changing an answer.

Sounds are described and written in a thread of its own, after the caller was answered. What does
not fit into a short queue is dropped and counted.
"""

import collections
import concurrent.futures
import logging
import random
import re
import threading
from typing import Any

from serving.server.check import Call
from serving.server.metrics import CallRecord, Metrics
from serving.server.queue import Outputs
from serving.server.sample_files import SampleFiles
from serving.server.sampled_sound import describe_answer, describe_sound

_LOG = logging.getLogger("gatefold.serving")
_MOST_CALLS = 8  # that wait, each with inputs of at most the largest request
_MOST_REASONS = 20
_REASON_LENGTH = 100
_PROBABILITIES = "probabilities"


class Sampler:
    """Chooses answered calls at random, and writes what they were like."""

    def __init__(self, files: SampleFiles, share: float, metrics: Metrics) -> None:
        """Starts the thread.

        Args:
          files: Where to write.
          share: Which part of the calls to sample, over 0 and up to 1.
          metrics: Counts what came of every sampled call.
        """
        self._files = files
        self._share = share
        self._samples = metrics.samples
        self._lock = threading.Lock()
        self._calls: collections.Counter[str] = collections.Counter()
        self._refused: collections.Counter[tuple[str, str, str]] = collections.Counter()
        self._failing = False
        self._room = threading.Semaphore(_MOST_CALLS)
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "sampling")

    def offer(self, call: Call, outputs: Outputs) -> None:
        """Chooses an answered call or not. Never waits, never fails."""
        probabilities = outputs.get(_PROBABILITIES)
        if probabilities is None or probabilities.ndim != 2 or random.random() >= self._share:
            return
        if self._room.acquire(blocking=False):
            self._thread.submit(self._write, call, outputs)
        else:
            self._samples.labels("dropped").inc()

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

    def write_counts(self) -> None:
        """Has the calls that were counted since the last time written, in the thread."""
        with self._lock:
            calls, self._calls = self._calls, collections.Counter()
            refused, self._refused = self._refused, collections.Counter()
        for model, count in calls.items():
            reasons = [
                {"status": status, "reason": reason, "calls": number}
                for (its_model, status, reason), number in refused.items()
                if its_model == model
            ]
            line = {"kind": "counts", "model": model, "calls": count, "refused": reasons}
            self._thread.submit(self._write_line, line)

    def close(self, timeout_seconds: float) -> None:
        """Writes what is left, as far as that is done in time."""
        self.write_counts()
        concurrent.futures.wait([self._thread.submit(lambda: None)], timeout_seconds)

    def _write(self, call: Call, outputs: Outputs) -> None:
        answer = {
            "kind": "answer",
            "model": call.version.model,
            "version": call.version.number,
            "signature": call.signature.name,
        }
        try:
            written = all(
                self._write_line(
                    answer | describe_answer(outputs, row) | describe_sound(call.inputs, row)
                )
                for row in range(len(outputs[_PROBABILITIES]))
            )
        finally:
            self._room.release()
        self._samples.labels("written" if written else "failed").inc()

    def _write_line(self, fields: dict[str, Any]) -> bool:
        """Writes a line. Returns whether that succeeded; logs the first of several failures."""
        try:
            self._files.write(fields)
        except Exception as error:
            if not self._failing:
                _LOG.error("samples cannot be written: %s: %s", type(error).__name__, error)
            self._failing = True
            return False
        self._failing = False
        return True


def _reason(error: str) -> str:
    """A refusal's sentence without what is the caller's own, so that equal reasons are equal."""
    line = error.partition("\n")[0]
    without_quoted = re.sub(r"(\"[^\"]*\"|'[^']*')", "…", line)
    return re.sub(r"\d+", "#", without_quoted)[:_REASON_LENGTH] or "no reason given"
