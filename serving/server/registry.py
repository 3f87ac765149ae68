"""All models of a server, by name, from a configuration in TF Serving's format."""

import ctypes
import gc
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf import text_format

from serving.protocol import message
from serving.server.loading import LoadedVersion
from serving.server.status import ServingError, invalid, not_found, short
from serving.server.versions import ModelVersions

_LOG = logging.getLogger("gatefold.serving")


def parse_config(text: str) -> Any:
    """The `ModelServerConfig` that `text` holds, checked.

    Raises:
      ServingError: It cannot be parsed, or asks for what is not served; says where.
    """
    config = message("ModelServerConfig")()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise invalid(f"the model configuration cannot be parsed: {error}") from error
    check_config(config)
    return config


def check_config(config: Any) -> None:
    """Checks a `ModelServerConfig`.

    Raises:
      ServingError: INVALID_ARGUMENT, naming the model.
    """
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
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)


def _release_memory() -> None:
    """Gives an unloaded version's memory back to the system, so that swaps do not add up."""
    gc.collect()  # a graph is a tangle of references
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others do without
    if trim is not None:
        trim(0)


class Registry:
    """The models that are served, and the thread that watches their folders."""

    def __init__(
        self,
        config: Any,
        *,
        poll_seconds: float,
        intra_op_threads: int = 0,
        on_change: Callable[["Registry"], None] = lambda registry: None,
        on_search: Callable[["Registry"], None] = lambda registry: None,
    ) -> None:
        """Serves nothing before `start`.

        Args:
          config: A checked `ModelServerConfig`.
          poll_seconds: How often base paths are searched.
          intra_op_threads: TensorFlow's threads in one operation; 0 leaves it to TensorFlow.
          on_change: Called, in the watching thread, when a version came or went.
          on_search: Called when all base paths have been searched.
        """
        self._poll_seconds = poll_seconds
        self._intra_op_threads = intra_op_threads
        self._on_change = on_change
        self._on_search = on_search
        # Whoever changes what is served (the watching thread, a reload) holds this lock from
        # beginning to end. Whoever answers calls reads `_models`, which is replaced, never changed.
        self._changing = threading.Lock()
        self._models: Mapping[str, ModelVersions] = {}
        self._successors: dict[str, ModelVersions] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="versions", daemon=True)
        self._configure(config)

    def start(self) -> None:
        """Loads what there is (this takes a while) and watches from then on."""
        gc.collect()
        gc.freeze()  # TensorFlow's modules stay for good: later collections need not visit them
        self.poll()
        self._thread.start()

    def stop(self) -> None:
        """Ends the watching; what is loaded stays. Does not wait for what is being loaded."""
        self._stop.set()

    @property
    def busy(self) -> bool:
        """Whether a version is being loaded or unloaded."""
        return self._changing.locked()

    def models(self) -> list[ModelVersions]:
        """All models, in the order of their names."""
        models = self._models
        return [models[name] for name in sorted(models)]

    def ready(self) -> bool:
        """Whether every model has a version that serves."""
        models = self.models()
        return bool(models) and all(model.numbers() for model in models)

    def acquire(self, spec: Any) -> LoadedVersion:
        """The version that a ModelSpec names, kept open; the caller releases it.

        Raises:
          ServingError: As TF Serving answers for a missing name, model, version or label.
        """
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        number = self.version_number(spec)
        model = self._models.get(spec.name)
        if model is None:
            name = short(spec.name)
            which = f"Latest({name})" if number is None else f"Specific({name}, {number})"
            raise not_found(f"Servable not found for request: {which}")
        return model.acquire(number)

    def version_number(self, spec: Any) -> int | None:
        """The version that a ModelSpec asks for by number or label; None for the latest.

        Raises:
          ServingError: No such label.
        """
        choice = spec.WhichOneof("version_choice")
        if choice == "version":
            return int(spec.version.value)
        if choice == "version_label":
            model = self._models.get(spec.name)
            labels = model.config.version_labels if model else {}
            if spec.version_label not in labels:
                raise invalid(f"Unrecognized servable version label: {short(spec.version_label)}")
            return int(labels[spec.version_label])
        return None

    def find(self, name: str) -> ModelVersions | None:
        """The model `name`, or None."""
        return self._models.get(name)

    def reload(self, config: Any) -> None:
        """Serves what `config` lists, as HandleReloadConfigRequest does: loads before it returns.

        A model whose base path changes goes on with its old versions until one of the new path
        serves.

        Raises:
          ServingError: The configuration is not valid, or a model of it has no version.
        """
        check_config(config)
        with self._changing:
            self._configure(config)
            self._poll(always_tell=True)
            missing = {model.name for model in self.models() if not model.numbers()}
            missing |= self._successors.keys()
        if missing:
            raise ServingError(
                grpc.StatusCode.INTERNAL,
                f"no version could be loaded of: {', '.join(sorted(missing))}",
            )

    def poll(self) -> None:
        """Searches every base path once, and loads and unloads."""
        with self._changing:
            self._poll()

    def _poll(self, *, always_tell: bool = False) -> None:
        changed = always_tell
        for model in self.models():
            if self._stop.is_set():
                return
            if model.name not in self._successors:
                changed |= model.poll()
        for name, successor in list(self._successors.items()):
            changed |= successor.poll()
            if successor.numbers():
                replaced = self._models[name]
                self._models = {**self._models, name: self._successors.pop(name)}
                replaced.unload_all()
        if changed:
            _release_memory()
            self._on_change(self)
        self._on_search(self)

    def _configure(self, config: Any) -> None:
        old, self._successors = self._models, {}
        models: dict[str, ModelVersions] = {}
        for setting in config.model_config_list.config:
            known = old.get(setting.name)
            if known is not None and known.config.base_path == setting.base_path:
                known.config = setting
                models[setting.name] = known
                continue
            added = ModelVersions(setting, intra_op_threads=self._intra_op_threads)
            if known is not None and known.numbers():
                models[setting.name] = known
                self._successors[setting.name] = added
            else:
                models[setting.name] = added
        self._models = models
        for name, model in old.items():
            if models.get(name) is not model:
                model.unload_all()

    def _watch(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            try:
                self.poll()
            except Exception:
                _LOG.exception("searching for new versions failed; trying again")
