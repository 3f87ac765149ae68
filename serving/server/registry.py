"""All models of a server, by name, from a configuration in TF Serving's format."""

import ctypes
import gc
import logging
import threading
from collections.abc import Callable
from typing import Any

from google.protobuf import text_format

from serving.protocol import message
from serving.server.errors import invalid, not_found, short
from serving.server.versions import ModelVersions

_LOG = logging.getLogger("gatefold.serving")


def parse_config(text: str) -> Any:
    """The `ModelServerConfig` that `text` holds, checked.

    Raises:
      ServingError: INVALID_ARGUMENT: it cannot be parsed, or asks for what is not served.
    """
    config = message("ModelServerConfig")()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise invalid(f"the model configuration cannot be parsed: {error}") from error
    if config.WhichOneof("config") != "model_config_list":
        raise invalid("the model configuration needs a model_config_list")
    names = set()
    for model in config.model_config_list.config:
        if not model.name or not model.base_path:
            raise invalid(f"every model needs a name and a base_path. Received: {model}")
        if model.model_platform not in ("", "tensorflow"):
            raise invalid(
                f"model {model.name}: only the platform tensorflow is served. "
                f"Received: {model.model_platform!r}"
            )
        if model.name in names:
            raise invalid(f"the model configuration names {model.name} twice")
        names.add(model.name)
    return config


class Registry:
    """The models that are served, and the thread that watches their folders."""

    def __init__(
        self,
        config: Any,
        *,
        poll_seconds: float,
        intra_op_threads: int = 0,
        on_poll: Callable[["Registry"], None] = lambda registry: None,
    ) -> None:
        """Serves nothing before `start`.

        Args:
          config: A checked `ModelServerConfig`.
          poll_seconds: How often base paths are searched.
          intra_op_threads: TensorFlow's threads in one operation; 0 leaves it to TensorFlow.
          on_poll: Called, in the watching thread, when all base paths have been searched.
        """
        self._poll_seconds = poll_seconds
        self._on_poll = on_poll
        self._models = {
            model.name: ModelVersions(model, intra_op_threads=intra_op_threads)
            for model in sorted(config.model_config_list.config, key=lambda model: model.name)
        }
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="versions", daemon=True)

    def start(self) -> None:
        """Loads what there is (this takes a while) and watches from then on."""
        gc.collect()
        gc.freeze()  # TensorFlow's modules stay for good: later collections need not visit them
        self.poll()
        self._thread.start()

    def stop(self) -> None:
        """Ends the watching; what is loaded stays. Does not wait for what is being loaded."""
        self._stop.set()

    def models(self) -> list[ModelVersions]:
        """All models, in the order of their names."""
        return list(self._models.values())

    def ready(self) -> bool:
        """Whether every model has a version that serves."""
        return bool(self._models) and all(model.numbers() for model in self.models())

    def find(self, spec: Any) -> ModelVersions:
        """The model that a ModelSpec names.

        Raises:
          ServingError: INVALID_ARGUMENT: no name; NOT_FOUND: no such model.
        """
        if not spec.name:
            raise invalid("the request names no model")
        if spec.name not in self._models:
            raise not_found(f"there is no model {short(spec.name)!r}")
        return self._models[spec.name]

    def version_number(self, spec: Any) -> int | None:
        """The version that a ModelSpec asks for by number or label; None for the latest.

        Raises:
          ServingError: INVALID_ARGUMENT: no such label; NOT_FOUND: no such model.
        """
        labels = self.find(spec).config.version_labels
        choice = spec.WhichOneof("version_choice")
        if choice == "version":
            return int(spec.version.value)
        if choice == "version_label":
            if spec.version_label not in labels:
                raise invalid(f"there is no version label {short(spec.version_label)!r}")
            return int(labels[spec.version_label])
        return None

    def poll(self) -> None:
        """Searches every base path once, and loads and unloads."""
        changed = False
        for model in self.models():
            if not self._stop.is_set():
                changed |= model.poll()
        if changed:
            gc.collect()  # a graph is a tangle of references
        # What a burst of requests or an unloaded version took is the system's again.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others do without
        if trim is not None:
            trim(0)
        self._on_poll(self)

    def _watch(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            try:
                self.poll()
            except Exception:
                _LOG.exception("searching for new versions failed; trying again")
