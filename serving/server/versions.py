"""The versions of one model: found, loaded, warmed, swapped and unloaded."""

import dataclasses
import logging
import math
import threading
import time
from collections.abc import Mapping
from typing import Any

import grpc
import tensorflow as tf

from serving.protocol import error_code_name
from serving.server.loading import LoadedVersion
from serving.server.status import ServingError, from_exception, not_found
from serving.server.version_policy import Fingerprint, aspired, fingerprint, list_versions
from serving.server.warmup import warm

_LOG = logging.getLogger("gatefold.serving")
_MOST_ENDED = 20  # states of unloaded versions that are remembered
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 2.0, 300.0
# What a network, a quota or a full machine answers, and may pass without a change of the files.
# A path with a scheme is always tried again: tensorflow-io says NOT_FOUND for "out of reach".
_PASSING = {
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
}


@dataclasses.dataclass(frozen=True)
class VersionState:
    """What GetModelStatus tells of a version.

    Attributes:
      state: START, LOADING, AVAILABLE, UNLOADING or END.
      code: Number of the status code; 0 unless it could not be loaded.
      text: Why it could not be loaded.
    """

    state: str
    code: int = 0
    text: str = ""


@dataclasses.dataclass(frozen=True)
class _Failure:
    """A version that could not be loaded.

    Attributes:
      files: Its files then, where they could be listed; it is tried again when they change.
      times: How often it failed with these files.
      retry_at: When it is tried again with the same files (`time.monotonic`); infinity for never.
    """

    files: Fingerprint | None
    times: int
    retry_at: float


class ModelVersions:
    """The versions of one model under one base path.

    Attributes:
      name: The model's name.
      config: Its `tensorflow.serving.ModelConfig`.
    """

    def __init__(self, config: Any, *, intra_op_threads: int = 0) -> None:
        """Watches nothing by itself: call `poll`."""
        self.name: str = config.name
        self.config = config
        self._intra_op_threads = intra_op_threads
        self._lock = threading.Lock()
        self._available: dict[int, LoadedVersion] = {}
        self._states: dict[int, VersionState] = {}
        self._broken: dict[int, _Failure] = {}
        self._unloading: dict[int, LoadedVersion] = {}

    def states(self) -> dict[int, VersionState]:
        """The state of every version that was ever seen (of unloaded ones, the last 20)."""
        with self._lock:
            return dict(self._states)

    def numbers(self) -> list[int]:
        """The versions that serve, in order."""
        with self._lock:
            return sorted(self._available)

    def acquire(self, number: int | None = None) -> LoadedVersion:
        """Keeps a version open; the caller releases it.

        Args:
          number: Which; None for the latest that serves.

        Raises:
          ServingError: NOT_FOUND, in TF Serving's words.
        """
        with self._lock:
            chosen = max(self._available, default=None) if number is None else number
            version = self._available.get(chosen) if chosen is not None else None
            if version is not None and version.acquire():
                return version
        which = f"Latest({self.name})" if number is None else f"Specific({self.name}, {number})"
        raise not_found(f"Servable not found for request: {which}")

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
        if not folders:
            return changed
        failed = self._failures(folders)
        policy = self.config.model_version_policy
        while new := sorted(
            aspired(policy, folders, broken=failed) - self._available.keys(), reverse=True
        ):
            if not self._load(new[0], folders[new[0]]):
                failed.add(new[0])
            changed = True
        serving = aspired(policy, folders, broken=failed)
        if serving:
            for number in sorted(self._available.keys() - serving):
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

    def _failures(self, found: Mapping[int, str]) -> set[int]:
        """The versions that are not to be tried now; forgets those that changed or went."""
        now = time.monotonic()
        waiting = set()
        for number, failure in list(self._broken.items()):
            files = fingerprint(found[number]) if number in found else None
            comparable = files is not None and failure.files is not None
            if number not in found or (comparable and files != failure.files):
                del self._broken[number]
            elif failure.retry_at > now:
                waiting.add(number)
        return waiting

    def _remember_failure(
        self, number: int, path: str, files: Fingerprint | None, error: ServingError
    ) -> str:
        """Notes when to try again. Returns that in words."""
        known = self._broken.get(number)
        times = known.times + 1 if known is not None and known.files == files else 1
        if error.code in _PASSING or "://" in path or files is None:
            pause = min(_FIRST_RETRY_SECONDS * 2 ** (times - 1), _LONGEST_RETRY_SECONDS)
            self._broken[number] = _Failure(files, times, time.monotonic() + pause)
            return f"next try in {pause:g} s"
        self._broken[number] = _Failure(files, times, math.inf)
        return "next try when its files change"

    def _load(self, number: int, path: str) -> bool:
        """Loads, warms and serves a version. Returns whether that succeeded."""
        self._set_state(number, VersionState("LOADING"))
        files = fingerprint(path)
        start = time.monotonic()
        try:
            version = LoadedVersion(
                self.name, number, path, intra_op_threads=self._intra_op_threads
            )
            try:
                warmed = warm(version, path)
            except BaseException:
                version.retire()
                raise
        except Exception as error:  # a broken model is its author's fault and must not stop us
            reason = from_exception(error)
            retry = self._remember_failure(number, path, files, reason)
            self._set_state(number, VersionState("END", reason.code.value[0], reason.text))
            serving = ", ".join(map(str, self.numbers())) or "none"
            _LOG.error(
                "%s: version %d is passed over, it cannot be served: %s: %s (serving: %s; %s)",
                self.name,
                number,
                error_code_name(reason.code.value[0]),
                reason.text.strip().splitlines()[0] if reason.text.strip() else "no reason given",
                serving,
                retry,
            )
            return False
        with self._lock:
            self._available[number] = version
        self._broken.pop(number, None)
        self._set_state(number, VersionState("AVAILABLE"))
        seconds = time.monotonic() - start
        _LOG.info(
            "%s: version %d serves (loaded in %.1f s, %d warmup requests)",
            self.name,
            number,
            seconds,
            warmed,
        )
        return True

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
