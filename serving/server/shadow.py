"""Asks a shadow version what callers ask, after they were answered, and compares.

A shadow is a version that `python -m serving.release promote --shadow` marked. It can neither slow,
fail nor change an answer: it runs in a process of its own with the lowest priority, is asked in a
thread of its own, and what does not fit into a short queue is dropped.
"""

import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from components.common.release_shadow import read_shadow
from serving.server.backlog import Backlog
from serving.server.calls import Call, Outputs
from serving.server.registry import Registry
from serving.server.shadow_log import ShadowLog, disagreements

_LOG = logging.getLogger("gatefold.serving")
_ROOT = Path(__file__).resolve().parents[2]
_MOST_CALLS = 16
_MOST_BYTES = 64 << 20
_ANSWER_SECONDS = 60.0
_RETRY_SECONDS = 60.0
_PROBABILITIES = "probabilities"

# Told of every call that was to be compared: model, shadow's version, what came of it.
Observe = Callable[[str, int, str], None]
AGREES, DISAGREES, DROPPED, FAILED = "agrees", "disagrees", "dropped", "failed"


class Question:
    """A call that the shadow is asked too, once its caller has an answer."""

    def __init__(self, shadow: "Shadow", call: Call) -> None:
        self.signature = call.signature.name
        self.version = call.version.number
        self.inputs: Mapping[str, np.ndarray] | None = call.inputs
        self.input_bytes = call.input_bytes
        self.names = call.outputs
        self.outputs: Outputs = {}
        self._shadow = shadow

    def answered(self, outputs: Outputs) -> None:
        """Lets the shadow be asked. Never waits, never fails."""
        self.outputs = outputs
        self._shadow.ask(self)

    def forget(self) -> None:
        """Makes room: the caller was not answered, or the shadow was asked."""
        if self.inputs is not None:
            self.inputs = None
            self._shadow.make_room(self.input_bytes)


class Shadow:
    """One shadow version: its process, and the thread that asks it.

    Attributes:
      number: The version.
      failed_at: When it turned out that it cannot be asked (`time.monotonic`); None if it can.
    """

    def __init__(
        self, model: str, number: int, path: str, *, observe: Observe, log: ShadowLog
    ) -> None:
        """Starts its process, which loads the version meanwhile."""
        self.number = number
        self.failed_at: float | None = None
        self._model = model
        self._observe = observe
        self._log = log
        self._backlog = Backlog()
        self._ready = self._closed = False
        self._questions: queue.SimpleQueue[Question | None] = queue.SimpleQueue()
        self._connection, self._process = _start(model, number, path)
        threading.Thread(target=self._work, name="shadow", daemon=True).start()

    def offer(self, call: Call) -> Question | None:
        """Takes note of a call that the shadow could be asked, if there is room for it."""
        if not self._ready or call.version.number == self.number:
            return None
        if not self._backlog.take_room(
            call.input_bytes, most_calls=_MOST_CALLS, most_bytes=_MOST_BYTES
        ):
            self._observe(self._model, self.number, DROPPED)
            return None
        return Question(self, call)

    def ask(self, question: Question) -> None:
        """Puts a question into the queue; `offer` bounds its length."""
        self._questions.put(question)

    def make_room(self, size: int) -> None:
        """Gives back what a question held."""
        self._backlog.give_room(size)

    def close(self) -> None:
        """Ends the process; what was not asked is forgotten."""
        self._closed, self._ready = True, False
        self._questions.put(None)
        self._process.kill()
        self._process.wait()

    def _work(self) -> None:
        try:
            if error := self._connection.recv():
                raise RuntimeError(error)
            self._ready = True
            _LOG.info("%s: version %d is asked as the shadow", self._model, self.number)
            while (question := self._questions.get()) is not None:
                try:
                    self._compare(question)
                finally:
                    question.forget()
        except Exception as error:
            if not self._closed:
                self.failed_at = time.monotonic()
                reason = str(error) or "its process ended"
                _LOG.error(
                    "%s: version %d cannot be asked as the shadow: %s",
                    self._model,
                    self.number,
                    reason,
                )
        finally:
            self._ready = False
            self._process.kill()
            self._process.wait()
            self._connection.close()

    def _compare(self, question: Question) -> None:
        self._connection.send((question.signature, question.inputs, question.names))
        if not self._connection.poll(_ANSWER_SECONDS):
            self._observe(self._model, self.number, FAILED)
            raise TimeoutError(f"it did not answer within {_ANSWER_SECONDS:g} s")
        answer = self._connection.recv()
        if isinstance(answer, str):
            self._observe(self._model, self.number, FAILED)
            self._log.write(
                model=self._model,
                version=question.version,
                shadow_version=self.number,
                signature=question.signature,
                error=answer,
            )
            return
        lines = disagreements(question.outputs, answer)
        self._observe(self._model, self.number, DISAGREES if lines else AGREES)
        for line in lines:
            self._log.write(
                model=self._model,
                version=question.version,
                shadow_version=self.number,
                signature=question.signature,
                **line,
            )


class Shadows:
    """The shadows of all models of a server."""

    def __init__(self, observe: Observe, log: ShadowLog) -> None:
        """Asks nobody before `search`."""
        self._observe = observe
        self._log = log
        self._shadows: Mapping[str, Shadow] = {}  # replaced, never changed

    def offer(self, call: Call) -> Question | None:
        """The call as a question to its model's shadow; None if that is not asked.

        Never waits, never fails.
        """
        shadow = self._shadows.get(call.version.model)
        if shadow is None or _PROBABILITIES not in call.outputs:
            return None
        return shadow.offer(call)

    def search(self, registry: Registry) -> None:
        """Looks for the marks of all models, and starts and ends shadows. Does not wait."""
        marked: dict[str, tuple[int, str]] = {}
        for model in registry.models():
            base = model.config.base_path.rstrip("/")
            try:
                number = read_shadow(base)
            except Exception as error:  # a store that is out of reach for a while
                _LOG.debug("%s: cannot read the shadow's mark: %s", model.name, error)
                continue
            if number is not None and number != max(model.numbers(), default=None):
                marked[model.name] = (number, f"{base}/{number}")
        shadows = dict(self._shadows)
        for name, shadow in self._shadows.items():
            number, _ = marked.get(name, (None, ""))
            given_up = shadow.failed_at
            if number != shadow.number or (
                given_up is not None and time.monotonic() > given_up + _RETRY_SECONDS
            ):
                del shadows[name]
                shadow.close()
                if number is None:
                    _LOG.info("%s: version %d is no shadow now", name, shadow.number)
        for name, (number, path) in marked.items():
            if name not in shadows:
                shadows[name] = Shadow(name, number, path, observe=self._observe, log=self._log)
        self._shadows = shadows

    def close(self) -> None:
        """Ends all processes."""
        shadows, self._shadows = self._shadows, {}
        for shadow in shadows.values():
            shadow.close()


def _start(model: str, number: int, path: str) -> tuple[Connection, "subprocess.Popen[bytes]"]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "serving.server.shadow_worker"),
                *(str(theirs.fileno()), model, str(number), path),
            ],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return Connection(ours.detach()), process
