"""The models that a user can choose from, in the order in which they are listed: one line a model.

Whoever trains a model finds it by name (`components.trainer.models`) and does not read this list,
so that adding a model leaves what was computed for the others in the cache. Imports no Keras.

A run may train a model several times, each with a seed of its own, for an ensemble: its branches
are `crnn`, `crnn-2`, `crnn-3`.
"""

import dataclasses
import importlib.util
import re
from collections.abc import Iterable

from components.common.settings_errors import similar
from components.trainer.model_entry import ModelEntry
from components.trainer.models import entry
from components.trainer.settings import NO_WEIGHTS, TrainingSettings

_NAMES = (
    "ann",
    "cnn",
    "lstm",
    "crnn",
    "vgg16",
    "vgg19",
    "efficientnetb0",
    "inceptionv3",
    "mobilenetv2",
    "musicnn",
    "musicvgg",
    "musictaggers",
    "embedding",
    "ensemble",
)

CATALOG: dict[str, ModelEntry] = {name: entry(name) for name in _NAMES}

_FILE = "components/trainer/catalog.py"
_ANOTHER_SEED = re.compile(r"(.+)-([2-9]|[1-9]\d)")


def model_of(branch: str) -> str:
    """The model that a branch trains: `crnn` of both `crnn` and `crnn-2`."""
    match = _ANOTHER_SEED.fullmatch(branch)
    return match[1] if match and branch not in CATALOG else branch


def seed_offset(branch: str) -> int:
    """What a branch adds to the run's seed: nothing for `crnn`, 1 for `crnn-2`."""
    return 0 if model_of(branch) == branch else int(branch.rpartition("-")[2]) - 1


def is_branch(name: str) -> bool:
    """Whether a run can have a branch of that name. There is one ensemble at most."""
    model = model_of(name)
    return name in CATALOG or (model in CATALOG and CATALOG[model].recommended is not None)


def unknown_model(name: str) -> str:
    """What to tell somebody who names a model that is not in the catalog."""
    folder = "components/trainer/models"
    if name.isidentifier() and importlib.util.find_spec(f"{folder.replace('/', '.')}.{name}"):
        return f"{folder}/{name}.py is not in the catalog: add {name!r} to _NAMES in {_FILE}"
    return f"there is no model {name!r}{similar(name, CATALOG)}"


def feature_names(branches: Iterable[str]) -> tuple[str, ...]:
    """Names of the features that `branches` read, without repetition, in their order."""
    names = (CATALOG[model_of(branch)].feature for branch in branches)
    return tuple(dict.fromkeys(name for name in names if name))


def recommended(name: str, weights: str = "") -> TrainingSettings:
    """The settings that a model is trained with unless others are given.

    Args:
      name: A name of the catalog.
      weights: What its body is to start from, if it `takes` that; "" for what its entry recommends.

    Raises:
      ValueError: The catalog has no model of that name, or it is the ensemble, which is not
        trained.
    """
    settings = CATALOG[name].recommended if name in CATALOG else None
    if settings is None:
        trained = tuple(model.name for model in CATALOG.values() if model.recommended)
        raise ValueError(f"no such model to train: expected one of {trained}. Received: {name!r}")
    if not weights or not CATALOG[name].takes(weights):
        return settings
    if weights == NO_WEIGHTS:
        settings = CATALOG[name].from_scratch or settings
    return dataclasses.replace(settings, model=dataclasses.replace(settings.model, weights=weights))
