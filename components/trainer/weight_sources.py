"""Where published weights come from, and whether they can be had. Imports no Keras."""

import dataclasses
import importlib.util
import os
import urllib.request
from pathlib import Path
from typing import Any

from components.common.errors import UserError
from components.trainer.settings import (
    IMAGENET,
    MILLION_SONG,
    MUSIC_TAGGERS,
    NO_WEIGHTS,
)

_TIMEOUT_SECONDS = 5.0  # of the server that has ImageNet's weights


class WeightsError(UserError):
    """The requested weights cannot be found; the message says what to do instead."""


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

    def check(self, model: str) -> None:
        """Checks that the file is in Keras's cache, or that its server answers."""
        if self.cached_file.is_file():
            return
        try:
            request = urllib.request.Request(self.url, method="HEAD")
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):
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

    def check(self, model: str) -> None:
        """Checks that the package is installed."""
        published_checkpoint("")


_MUSICNN = {"weights": "PyPI package musicnn", "licence": "ISC", "may_hold_test_tracks": True}
_PRETRAINING = {
    MILLION_SONG: {"data": "the Million Song Dataset", **_MUSICNN},
    MUSIC_TAGGERS: {"data": "the Million Song Dataset and MagnaTagATune", **_MUSICNN},
    IMAGENET: {
        "data": "ImageNet",
        "weights": "keras.applications",
        "licence": "see keras.io/api/applications",
        "may_hold_test_tracks": False,
    },
}


def pretraining(weights: str) -> list[dict[str, Any]]:
    """What weights were trained on, for `release.json`: a row, or none for training from scratch.

    Args:
      weights: `ModelSettings.weights`.
    """
    if weights == NO_WEIGHTS:
        return []
    own = {"data": "data unknown to Gatefold", "weights": Path(weights).name, "licence": "unknown"}
    return [_PRETRAINING.get(weights, {**own, "may_hold_test_tracks": True})]


def published_checkpoint(name: str) -> Path:
    """The folder of a checkpoint in the installed package `musicnn`.

    Raises:
      WeightsError: The package is not installed.
    """
    spec = importlib.util.find_spec("musicnn")  # finds the package without running its code
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(
            "the weights of music networks come with the PyPI package musicnn, which is not "
            "installed: `pip install --no-deps musicnn==0.1.0`, or use --weights none"
        )
    return Path(spec.submodule_search_locations[0]) / name


class SavedModelFolder:
    """A SavedModel of the user's own, which is a network with its weights."""


def is_saved_model(weights: str) -> bool:
    """Whether weights are a folder, and so meant for `SavedModelFolder`.

    A place in an object store is one unless its name ends like that of a weights file.
    """
    if weights in ("", NO_WEIGHTS, IMAGENET, MILLION_SONG, MUSIC_TAGGERS):
        return False
    if "://" in weights:
        return not weights.endswith((".h5", ".hdf5"))
    return Path(weights).is_dir()
