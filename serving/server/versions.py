"""The versions of one model: listed, loaded, warmed, swapped and unloaded."""

import contextlib
import dataclasses
import logging
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf

from serving.protocol import message
from serving.server import check, decode, encode
from serving.server.errors import from_exception, invalid, not_found, short
from serving.server.loading import LoadedVersion

_LOG = logging.getLogger("gatefold.serving")
_VERSION = re.compile(r"[0-9]{1,19}/?")
LARGEST_VERSION = 2**63 - 1
_MOST_ENDED = 20  # states of unloaded versions that are remembered
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 2.0, 300.0
_WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_MOST_WARMUPS = 1000  # TF Serving's limit


@dataclasses.dataclass(frozen=True)
class VersionState:
    """What GetModelStatus says of a version.

    Attributes:
      state: LOADING, AVAILABLE, UNLOADING or END.
      code: Number of the status code; 0 unless it could not be loaded.
      text: Why it could not be loaded.
    """

    state: str
    code: int = 0
    text: str = ""


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

    The watching thread changes them; the event loop uses them.

    Attributes:
      name: The model's name.
      config: Its `tensorflow.serving.ModelConfig`.
    """

    def __init__(self, config: Any, *, intra_op_threads: int = 0) -> None:
        """Loads nothing by itself: call `poll`."""
        self.name: str = config.name
        self.config = config
        self._intra_op_threads = intra_op_threads
        self._lock = threading.Lock()
        self._available: dict[int, LoadedVersion] = {}
        self._unloading: dict[int, LoadedVersion] = {}
        self._states: dict[int, VersionState] = {}
        self._failures: dict[int, tuple[int, float]] = {}  # how often, and when to try again

    def states(self) -> dict[int, VersionState]:
        """The state of every version that was ever seen (of unloaded ones, the last 20)."""
        with self._lock:
            return dict(self._states)

    def numbers(self) -> list[int]:
        """The versions that serve, in order."""
        with self._lock:
            return sorted(self._available)

    @contextlib.contextmanager
    def use(self, number: int | None = None) -> Iterator[LoadedVersion]:
        """Keeps a version open.

        Args:
          number: Which; None for the latest that serves.

        Raises:
          ServingError: NOT_FOUND.
        """
        with contextlib.ExitStack() as used:
            with self._lock:
                chosen = max(self._available, default=-1) if number is None else number
                if chosen not in self._available:
                    which = "no version" if number is None else f"no version {number}"
                    raise not_found(f"{which} of model {short(self.name)} is served")
                version = used.enter_context(self._available[chosen].use())
            yield version

    def poll(self) -> bool:
        """Loads what has come and unloads what should go. Returns whether anything changed.

        What is new serves before what it replaces goes. Nothing is unloaded because the base
        path cannot be listed or is empty: what serves goes on.
        """
        changed = self._finish_unloading()
        try:
            folders = list_versions(self.config.base_path)
        except (tf.errors.OpError, OSError) as error:
            _LOG.debug("%s: cannot list %s: %s", self.name, self.config.base_path, error)
            return changed
        now = time.monotonic()
        self._failures = {n: f for n, f in self._failures.items() if n in folders}
        usable = {n for n in folders if n not in self._failures or self._failures[n][1] <= now}
        policy = self.config.model_version_policy
        while new := aspired(policy, usable) - self._available.keys():
            if not self._load(max(new), folders[max(new)]):
                usable.discard(max(new))
            changed = True
        if wanted := aspired(policy, usable):
            for number in sorted(self._available.keys() - wanted):
                self._unload(number)
                changed = True
        return changed

    def unload_all(self) -> None:
        """Stops serving the model; versions close when their last request is done."""
        for number in self.numbers():
            self._unload(number)

    def _set_state(self, number: int, state: VersionState) -> None:
        with self._lock:
            self._states.pop(number, None)
            self._states[number] = state
            ended = [n for n, s in self._states.items() if s.state == "END"]
            for old in ended[:-_MOST_ENDED]:
                del self._states[old]

    def _load(self, number: int, path: str) -> bool:
        """Loads, warms and serves a version. Returns whether that succeeded."""
        self._set_state(number, VersionState("LOADING"))
        start = time.monotonic()
        version = None
        try:
            version = LoadedVersion(
                self.name, number, path, intra_op_threads=self._intra_op_threads
            )
            warmed = warm(version, path)
        except Exception as error:  # a broken model is its author's fault and must not stop us
            if version is not None:
                version.retire()
            self._note_failure(number, error)
            return False
        with self._lock:
            self._available[number] = version
        self._failures.pop(number, None)
        self._set_state(number, VersionState("AVAILABLE"))
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
        self._set_state(number, VersionState("END", reason.code.value[0], reason.text))
        _LOG.error(
            "%s: version %d is passed over, it cannot be served: %s: %s "
            "(serving: %s; next try in %g s)",
            *(self.name, number, reason.code.name, (reason.text.split("\n") or [""])[0]),
            *(", ".join(map(str, self.numbers())) or "none", pause),
        )

    def _unload(self, number: int) -> None:
        with self._lock:
            version = self._available.pop(number)
        self._set_state(number, VersionState("UNLOADING"))
        self._unloading[number] = version
        version.retire()
        self._finish_unloading()

    def _finish_unloading(self) -> bool:
        done = [number for number, version in self._unloading.items() if version.closed]
        for number in done:
            del self._unloading[number]
            self._set_state(number, VersionState("END"))
            _LOG.info("%s: version %d is unloaded", self.name, number)
        return bool(done)
