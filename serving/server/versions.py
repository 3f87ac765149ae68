"""The versions of one model: listed, loaded, warmed, swapped and unloaded."""

import logging
import os
import re
import time
import weakref
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from serving.protocol import message
from serving.server import check, decode, encode
from serving.server.errors import ServingError, from_exception, invalid, not_found, short
from serving.server.loading import LoadedVersion

_LOG = logging.getLogger("gatefold.serving")
_VERSION = re.compile(r"[0-9]{1,19}/?")
LARGEST_VERSION = 2**63 - 1
_MOST_ENDED = 20  # states of unloaded versions that are remembered
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 2.0, 300.0
_WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_MOST_WARMUPS = 1000  # TF Serving's limit


def list_versions(base_path: str) -> dict[int, str]:
    """The version folders under `base_path` (local, gs:// or s3://), by number.

    As TF Serving does, it passes over names that are no number of 64 bits.

    Raises:
      tf.errors.OpError, OSError: It cannot be listed.
    """
    base = base_path.rstrip("/")
    # gfile fails where any name is not UTF-8.
    names = tf.io.gfile.listdir(base) if "://" in base else os.listdir(base or "/")  # noqa: PTH208
    numbers = {name.rstrip("/") for name in names if _VERSION.fullmatch(name)}
    return {int(name): f"{base}/{name}" for name in numbers if int(name) <= LARGEST_VERSION}


def aspired(policy: Any, versions: Iterable[int]) -> set[int]:
    """The versions that a policy asks for, of those that can be loaded.

    Unlike TF Serving, `latest` counts versions that can be loaded, so that a server that starts
    beside a broken release serves the one before it.

    Args:
      policy: A `FileSystemStoragePathSourceConfig.ServableVersionPolicy`.
      versions: The versions.
    """
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return set(versions)
    if kind == "specific":
        return set(versions) & set(policy.specific.versions)
    return set(sorted(versions)[-(policy.latest.num_versions or 1) :])


def warm(version: LoadedVersion, path: str) -> int:
    """Runs the version's own warmup requests, so that its first caller does not wait for its graph.

    Returns:
      How many there were; 0 where there is no such file.

    Raises:
      ServingError, tf.errors.OpError: A request cannot be read, or fails.
    """
    file = f"{path.rstrip('/')}/{_WARMUP_FILE}"
    if not tf.io.gfile.exists(file):
        return 0
    records = list(tf.compat.v1.io.tf_record_iterator(file))
    if len(records) > _MOST_WARMUPS:
        raise invalid(f"{file} holds over {_MOST_WARMUPS} requests")
    for record in records:
        try:
            log = message("PredictionLog").FromString(record)
        except Exception as error:  # the parser's error type differs between implementations
            raise invalid(f"{file} holds a record that cannot be read") from error
        if log.WhichOneof("log_type") != "predict_log":
            raise invalid(f"{file} holds a request that is not of Predict")
        request = log.predict_log.request
        signature = check.find_signature(version, request.model_spec.signature_name)
        inputs = decode.message_inputs(signature, request, None)
        call = check.Call(version, signature, inputs, check.output_names(signature))
        encode.message_answer(call, version.run(signature, inputs, call.outputs))
    return len(records)


class ModelVersions:
    """The versions of one model under one base path.

    The watching thread changes them, and replaces a mapping rather than changing it, so that
    other threads need no lock.

    Attributes:
      name: The model's name.
      config: Its `tensorflow.serving.ModelConfig`.
      states: The `tensorflow.serving.ModelVersionStatus` of every version that was ever seen (of
        unloaded ones, the last 20).
    """

    def __init__(self, config: Any) -> None:
        """Loads nothing by itself: call `poll`."""
        self.name: str = config.name
        self.config = config
        self.states: dict[int, Any] = {}
        self._available: dict[int, LoadedVersion] = {}
        self._unloading: dict[int, weakref.ref[LoadedVersion]] = {}
        self._failures: dict[int, tuple[int, float]] = {}  # how often, and when to try again

    def numbers(self) -> list[int]:
        """The versions that serve, in order."""
        return sorted(self._available)

    def version(self, number: int | None = None) -> LoadedVersion:
        """A version that serves; it stays open as long as the caller refers to it.

        Args:
          number: Which; None for the latest.

        Raises:
          ServingError: NOT_FOUND.
        """
        available = self._available
        chosen = max(available, default=-1) if number is None else number
        if chosen not in available:
            raise self.missing(number)
        return available[chosen]

    def missing(self, number: int | None) -> ServingError:
        """The error for a version that does not serve, which names those that do."""
        which = "no version" if number is None else f"no version {number}"
        serving = ", ".join(map(str, self.numbers())) or "none"
        return not_found(f"{which} of model {short(self.name)} is served. Serving: {serving}")

    def poll(self) -> bool:
        """Loads what has come and unloads what should go. Returns whether anything changed.

        What is new serves before what it replaces goes. Nothing is unloaded because the base
        path cannot be listed or is empty: what serves goes on.
        """
        before = self.states
        self._note_unloaded()
        try:
            folders = list_versions(self.config.base_path)
        except (tf.errors.OpError, OSError) as error:
            _LOG.debug("%s: cannot list %s: %s", self.name, self.config.base_path, error)
            return self.states != before
        now = time.monotonic()
        self._failures = {n: f for n, f in self._failures.items() if n in folders}
        usable = {n for n in folders if n not in self._failures or self._failures[n][1] <= now}
        policy = self.config.model_version_policy
        while new := aspired(policy, usable) - self._available.keys():
            if not self._load(max(new), folders[max(new)]):
                usable.discard(max(new))
        if required := aspired(policy, usable):
            self._unload(self._available.keys() - required)
        return self.states != before

    def _load(self, number: int, path: str) -> bool:
        """Loads, warms and serves a version. Returns whether that succeeded."""
        self._set_state(number, "LOADING")
        start = time.monotonic()
        try:
            version = LoadedVersion(self.name, number, path)
            warmed = warm(version, path)
        except Exception as error:  # a broken model is its author's fault and must not stop us
            self._note_failure(number, error)
            return False
        self._available = {**self._available, number: version}
        self._failures.pop(number, None)
        self._set_state(number, "AVAILABLE")
        _LOG.info(
            "%s: version %d serves (loaded in %.1f s, %d warmup requests)",
            *(self.name, number, time.monotonic() - start, warmed),
        )
        return True

    def _note_failure(self, number: int, error: Exception) -> None:
        """Says why a version could not be loaded, and when that is tried again.

        A slow copy, a network, a quota: most reasons pass, so it is tried without end.
        """
        times = self._failures.get(number, (0, 0.0))[0] + 1
        pause = min(_FIRST_RETRY_SECONDS * 2 ** min(times - 1, 10), _LONGEST_RETRY_SECONDS)
        self._failures[number] = times, time.monotonic() + pause
        reason = from_exception(error)
        self._set_state(number, "END", reason.code.value[0], reason.text)
        _LOG.error(
            "%s: version %d is passed over, it cannot be served: %s: %s "
            "(serving: %s; next try in %g s)",
            *(self.name, number, reason.code.name, (reason.text.split("\n") or [""])[0]),
            *(", ".join(map(str, self.numbers())) or "none", pause),
        )

    def _unload(self, numbers: set[int]) -> None:
        """Serves these no more; each closes when the last call that runs it has ended."""
        for number in sorted(numbers):
            self._unloading[number] = weakref.ref(self._available[number])
            self._set_state(number, "UNLOADING")
        self._available = {n: v for n, v in self._available.items() if n not in numbers}
        self._note_unloaded()

    def _note_unloaded(self) -> None:
        for number in [number for number, version in self._unloading.items() if not version()]:
            del self._unloading[number]
            self._set_state(number, "END")
            _LOG.info("%s: version %d is unloaded", self.name, number)

    def _set_state(self, number: int, state: str, code: int = 0, text: str = "") -> None:
        status = message("ModelVersionStatus")(version=number, state=state)
        status.status.error_code, status.status.error_message = code, text
        states = {n: s for n, s in self.states.items() if n != number} | {number: status}
        ended = [n for n, s in states.items() if s.state == status.END]
        self.states = {n: s for n, s in states.items() if n not in ended[:-_MOST_ENDED]}
