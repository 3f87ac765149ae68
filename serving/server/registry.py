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
from serving.server.loading import LoadedVersion
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
    """The models that are served, and the thread that watches their folders.

    Attributes:
      models: All models by name, in the order of their names.
    """

    def __init__(
        self,
        config: Any,
        *,
        poll_seconds: float,
        on_poll: Callable[["Registry"], None] = lambda registry: None,
    ) -> None:
        """Serves nothing before `start`.

        Args:
          config: A checked `ModelServerConfig`.
          poll_seconds: How often base paths are searched.
          on_poll: Called, in the watching thread, when all base paths have been searched.
        """
        configs = sorted(config.model_config_list.config, key=lambda model: model.name)
        self.models = {model.name: ModelVersions(model) for model in configs}
        self._poll_seconds = poll_seconds
        self._on_poll = on_poll
        self._stop = threading.Event()

    def start(self) -> None:
        """Starts the thread that loads what there is and watches from then on."""
        # A daemon: what is being loaded cannot be interrupted.
        threading.Thread(target=self._watch, name="versions", daemon=True).start()

    def stop(self) -> None:
        """Ends the watching; what is loaded stays. Does not wait for what is being loaded."""
        self._stop.set()

    def ready(self) -> bool:
        """Whether every model has a version that serves."""
        return bool(self.models) and all(model.numbers() for model in self.models.values())

    def find(self, spec: Any) -> ModelVersions:
        """The model that a ModelSpec names.

        Raises:
          ServingError: INVALID_ARGUMENT: no name; NOT_FOUND: no such model.
        """
        if not spec.name:
            raise invalid("the request names no model")
        if spec.name not in self.models:
            raise not_found(f"there is no model {short(spec.name)!r}")
        return self.models[spec.name]

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

    def version(self, spec: Any) -> LoadedVersion:
        """The version that a ModelSpec asks for.

        Raises:
          ServingError: INVALID_ARGUMENT: no such label; NOT_FOUND: no such model or version.
        """
        return self.find(spec).version(self.version_number(spec))

    def poll(self) -> None:
        """Searches every base path once, and loads and unloads."""
        changed = False
        for model in self.models.values():
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
        gc.collect()
        gc.freeze()  # TensorFlow's modules stay for good: later collections need not visit them
        while True:
            try:
                self.poll()
            except Exception:
                _LOG.exception("searching for new versions failed; trying again")
            if self._stop.wait(self._poll_seconds):
                return
