"""The versions of one model: found, loaded, warmed, swapped and unloaded."""

import dataclasses
import logging
import threading
import time
from typing import Any

import tensorflow as tf

from serving.protocol import error_code_name
from serving.server.loading import LoadedVersion
from serving.server.status import from_exception, not_found
from serving.server.version_policy import aspired, fingerprint, list_versions
from serving.server.warmup import warm

_LOG = logging.getLogger("gatefold.serving")
_MOST_ENDED = 20  # states of unloaded versions that are remembered


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
        self._broken: dict[int, frozenset[tuple[str, int, int]]] = {}
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
            wanted = max(self._available, default=None) if number is None else number
            version = self._available.get(wanted) if wanted is not None else None
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
            found = list_versions(self.config.base_path)
        except tf.errors.OpError as error:
            _LOG.debug("%s: cannot list %s: %s", self.name, self.config.base_path, error)
            return changed
        if not found:
            return changed
        self._broken = {
            number: files
            for number, files in self._broken.items()
            if number in found and files == fingerprint(found[number])
        }
        policy = self.config.model_version_policy
        while new := sorted(
            aspired(policy, found, broken=self._broken) - self._available.keys(), reverse=True
        ):
            self._load(new[0], found[new[0]])
            changed = True
        wanted = aspired(policy, found, broken=self._broken)
        if wanted:
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

    def _load(self, number: int, path: str) -> None:
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
            self._broken[number] = files
            self._set_state(number, VersionState("END", reason.code.value[0], reason.text))
            serving = ", ".join(map(str, self.numbers())) or "none"
            _LOG.error(
                "%s: version %d is passed over, it cannot be served: %s: %s (serving: %s)",
                self.name,
                number,
                error_code_name(reason.code.value[0]),
                reason.text.strip().splitlines()[0] if reason.text.strip() else "no reason given",
                serving,
            )
            return
        with self._lock:
            self._available[number] = version
        self._set_state(number, VersionState("AVAILABLE"))
        seconds = time.monotonic() - start
        _LOG.info(
            "%s: version %d serves (loaded in %.1f s, %d warmup requests)",
            self.name,
            number,
            seconds,
            warmed,
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
