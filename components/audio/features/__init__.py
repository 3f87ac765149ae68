"""The features that a model can read, one file each: the file's name is the feature's.

To add a feature, write a file here that holds its `ENTRY`, and add its name to
`components/audio/catalog.py`. Features are found by name, so that whoever computes one of them
loads the code of no other.
"""

import importlib

from components.audio.feature_entry import Feature, FeatureEntry
from components.audio.settings import AudioSettings

__all__ = ["Feature", "FeatureEntry", "entry", "feature", "module_name"]


def module_name(name: str) -> str:
    """Dotted path of the module that defines the feature `name`."""
    return f"{__name__}.{name}"


def entry(name: str) -> FeatureEntry:
    """The definition of the feature `name`.

    Raises:
      ValueError: There is no feature of that name.
    """
    try:
        module = importlib.import_module(module_name(name))
    except ModuleNotFoundError as error:
        if error.name != module_name(name):
            raise
        raise ValueError(
            f"unknown feature: there is no file components/audio/features/{name}.py. "
            f"Received: {name!r}"
        ) from error
    definition: FeatureEntry = module.ENTRY
    return definition


def feature(name: str, settings: AudioSettings) -> Feature:
    """Describes the feature `name` under `settings`.

    Raises:
      ValueError: There is no feature of that name.

    Examples:
      >>> log_mel = feature("log_mel", AudioSettings())
      >>> log_mel.window_shape, log_mel.windows_per_clip
      ((128, 128), 10)
    """
    return entry(name).describe(settings)
