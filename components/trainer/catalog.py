"""The models that exist and the feature that each reads, known without importing Keras."""

import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """One model of the catalog.

    Attributes:
      name: What `--models` and `components.trainer.models.build` call it.
      feature: Name of the feature that it reads; empty for the ensemble, which reads the others.
      backbone: Whether its body is a `keras.applications` network that takes `--weights`.
    """

    name: str
    feature: str
    backbone: bool = False


CATALOG: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry("ann", "descriptors"),
        ModelEntry("cnn", "log_mel"),
        ModelEntry("lstm", "mfcc"),
        ModelEntry("crnn", "log_mel"),
        ModelEntry("vgg16", "log_mel", backbone=True),
        ModelEntry("vgg19", "log_mel", backbone=True),
        ModelEntry("efficientnetb0", "log_mel", backbone=True),
        ModelEntry("inceptionv3", "log_mel", backbone=True),
        ModelEntry("mobilenetv2", "log_mel", backbone=True),
        ModelEntry("musicnn", "music_mel"),
        ModelEntry("musicvgg", "music_mel"),
        ModelEntry("ensemble", ""),
    )
}


def feature_names(models: Iterable[str]) -> tuple[str, ...]:
    """Names of the features that `models` read, without repetition, in the order of the models."""
    names = (CATALOG[model].feature for model in models)
    return tuple(dict.fromkeys(name for name in names if name))
