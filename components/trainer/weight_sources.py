"""Where published weights come from, and whether they can be had. Imports no Keras."""

import dataclasses
import importlib.util
import os
import urllib.request
from pathlib import Path
from typing import Protocol

from components.common.errors import UserError
from components.trainer.settings import (
    IMAGENET,
    MILLION_SONG,
    MUSIC_TAGGERS,
    NO_WEIGHTS,
    SAVED_MODEL,
)


class WeightsError(UserError):
    """The requested weights cannot be had; the message says what to do instead."""


class WeightSource(Protocol):
    """A place that published weights come from.

    Attributes:
      kind: What `--weights` and `ModelSettings.weights` call it.
    """

    @property
    def kind(self) -> str:
        """See the class."""

    def check(self, model: str, *, timeout_seconds: float) -> None:
        """Checks that the weights are here or within reach.

        Args:
          model: Name of the model that is to start from them, for the message.
          timeout_seconds: How long to wait for a server.

        Raises:
          WeightsError: They are not.
        """


@dataclasses.dataclass(frozen=True)
class ImageNet:
    """The ImageNet weights of a `keras.applications` network, which Keras downloads itself.

    Attributes:
      url: The file without the top that Keras downloads (a test holds it equal to Keras's own).
        It is repeated here because the command line checks it without importing Keras.
    """

    url: str
    kind: str = IMAGENET

    @property
    def cached_file(self) -> Path:
        """Where Keras keeps the file once it has been downloaded."""
        home = os.environ.get("KERAS_HOME") or Path("~/.keras").expanduser()
        return Path(home) / "models" / self.url.rsplit("/", 1)[1]

    def check(self, model: str, *, timeout_seconds: float) -> None:
        """Checks that the file is in Keras's cache, or that its server answers."""
        if self.cached_file.is_file():
            return
        try:
            request = urllib.request.Request(self.url, method="HEAD")
            with urllib.request.urlopen(request, timeout=timeout_seconds):
                return
        except OSError as error:
            raise WeightsError(
                f"the ImageNet weights of {model} are neither here ({self.cached_file}) nor can "
                f"they be downloaded ({error}). Fetch {self.url} where there is a network and give "
                "the file with --weights FILE (or put it at that place), or train from scratch "
                f"with --weights {NO_WEIGHTS}"
            ) from error


@dataclasses.dataclass(frozen=True)
class MusicnnPackage:
    """Weights of networks that tag music, from the PyPI package `musicnn`."""

    kind: str = MILLION_SONG

    def check(self, model: str, *, timeout_seconds: float) -> None:
        """Checks that the package is installed."""
        if importlib.util.find_spec("musicnn") is None:
            raise WeightsError(
                f"the weights of {model} come with the PyPI package musicnn, which is not "
                "installed: `pip install --no-deps musicnn==0.1.0`, or use --weights none"
            )


def published_checkpoint(name: str) -> Path:
    """The folder of a checkpoint in the installed package `musicnn`.

    Raises:
      FileNotFoundError: The package is not installed.
    """
    spec = importlib.util.find_spec("musicnn")  # finds the package without running its code
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / name
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"the weights {name} come with the PyPI package musicnn: "
        "install it with `pip install --no-deps musicnn==0.1.0`"
    )


@dataclasses.dataclass(frozen=True)
class SavedModelFolder:
    """A SavedModel of the user's own, which is a network with its weights."""

    kind: str = SAVED_MODEL

    def check(self, model: str, *, timeout_seconds: float) -> None:
        """Says that there is none to be had but the user's.

        Raises:
          WeightsError: Always.
        """
        raise WeightsError(
            f"{model} is a head on a network of your own: name the folder of its SavedModel with "
            "--weights FOLDER (docs/models.md), or leave the model out"
        )


def is_saved_model(weights: str) -> bool:
    """Whether weights are a folder, and so meant for `SavedModelFolder`.

    A place in an object store is one unless its name ends like that of a weights file.
    """
    if weights in ("", NO_WEIGHTS, IMAGENET, MILLION_SONG, MUSIC_TAGGERS):
        return False
    if "://" in weights:
        return not weights.endswith((".h5", ".hdf5"))
    return Path(weights).is_dir()
