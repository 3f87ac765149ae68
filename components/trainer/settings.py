"""What a training run is set to, without TensorFlow: it travels as JSON through TFX.

settings = recommended("cnn")
settings = dataclasses.replace(settings, epochs=5)
from_dict(json.loads(json.dumps(dataclasses.asdict(settings)))) == settings
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from components.trainer.catalog import CATALOG

NO_WEIGHTS = "none"
IMAGENET = "imagenet"
MILLION_SONG = "msd"

LARGEST_SEED = 2**32 - 1  # NumPy's


def _finite(tree: Any) -> None:
    """Comes first: NaN is neither under nor over any bound."""
    for field in dataclasses.fields(tree):
        value = getattr(tree, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field.name} must be a finite number. Received: {value}")


def _least(tree: Any, least: float, names: Sequence[str]) -> None:
    for name in names:
        if getattr(tree, name) < least:
            raise ValueError(f"{name} must be at least {least:g}. Received: {getattr(tree, name)}")


def _between(tree: Any, low: float, high: float, names: Sequence[str]) -> None:
    for name in names:
        if not low <= getattr(tree, name) <= high:
            raise ValueError(
                f"{name} must be from {low:g} to {high:g}. Received: {getattr(tree, name)}"
            )


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The size of a network and what it starts from.

    Attributes:
      width: Multiplier of the number of channels (or units) of a network trained from scratch.
      dropout: Share of values dropped before the last dense layer while training, 0 to 1.
      weights: What the body starts from: `none`, `imagenet` (keras.applications backbones),
        `msd` (musicnn and musicvgg: the Million Song Dataset weights of the PyPI package musicnn)
        or the path of a weights file.
      fine_tune: Whether a body that starts from weights is trained on after its head. Without
        weights everything is trained at once, whatever this says.
      fine_tune_share: Share of the body's layers, counted from its output, that fine-tuning
        trains, 0 to 1.
      head_l2: Strength of the L2 penalty on the weights of a head over a frozen body, for 100
        training tracks. It falls with their number, as a prior does.
    """

    width: float = 1.0
    dropout: float = 0.3
    weights: str = NO_WEIGHTS
    fine_tune: bool = True
    fine_tune_share: float = 1.0
    head_l2: float = 0.15

    @property
    def frozen(self) -> bool:
        """Whether a body starts from weights and keeps them: only its head is trained."""
        return self.weights != NO_WEIGHTS and not self.fine_tune

    def __post_init__(self) -> None:
        _finite(self)
        if self.width <= 0.0:
            raise ValueError(f"width must be over 0. Received: {self.width}")
        _between(self, 0.0, 0.95, ("dropout",))
        _between(self, 0.0, 1.0, ("fine_tune_share",))
        _least(self, 0.0, ("head_l2",))


@dataclasses.dataclass(frozen=True)
class AugmentationSettings:
    """How training windows are varied. Zero switches a variation off.

    Strengths on a feature's values are in standard deviations of a standardised feature.

    Attributes:
      gain: Largest level change, up or down, added to a whole window.
      noise: Standard deviation of the noise added to every value.
      equaliser: Largest rise or fall of a random curve over frequency that is added to a whole
        window, as another microphone or mastering would. Mel spectrograms only.
      time_stretch: Largest change of tempo, up or down, as a fraction.
      pitch_shift_semitones: Largest change of pitch, up or down. Mel spectrograms only.
      frequency_mask: Widest band that SpecAugment blanks, as a fraction of the bins.
      frequency_masks: Number of such bands in a window.
      time_mask: Longest stretch that SpecAugment blanks, as a fraction of the frames.
      time_masks: Number of such stretches in a window.
      mixup: Alpha of the Beta distribution that draws the mixing share of two windows.
    """

    gain: float = 0.0
    noise: float = 0.0
    equaliser: float = 0.0
    time_stretch: float = 0.0
    pitch_shift_semitones: float = 0.0
    frequency_mask: float = 0.0
    frequency_masks: int = 1
    time_mask: float = 0.0
    time_masks: int = 1
    mixup: float = 0.0

    def __post_init__(self) -> None:
        _finite(self)
        _least(self, 0.0, [field.name for field in dataclasses.fields(self)])
        _between(self, 0.0, 1.0, ("frequency_mask", "time_mask"))
        _between(self, 0.0, 0.9, ("time_stretch",))


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained.

    Attributes:
      model: The network.
      augmentation: The variation of its training windows.
      epochs: Most passes, of a network trained from scratch or fine-tuned.
      head_epochs: Most passes of a new head over a frozen body.
      batch_size: Windows in a step (of all devices together).
      windows_per_track: Windows that an epoch takes from each training track.
      random_windows: Whether they are cut anywhere; else end to end, as those that are evaluated.
      learning_rate: Peak of the cosine schedule.
      head_learning_rate: Peak while a head is trained on a frozen body.
      fine_tune_learning_rate: Peak while fine-tuning.
      warm_up: Share of the steps in which the rate climbs to its peak, 0 to 1.
      weight_decay: AdamW's.
      label_smoothing: Share of a label's weight that is spread over all genres.
      patience: Epochs without a better track-level validation accuracy before training stops;
        0 never stops early, though the best weights are still restored.
      seed: Seeds weights, order, windows and augmentation; 0 to `LARGEST_SEED`.
      class_weights: Whether rarer genres weigh more where genres are uneven.
      mixed_precision: `auto` (on GPUs and TPUs), `on` or `off`.
      distribution: `auto`, `default`, `mirrored` or `tpu`.
      cache_megabytes: Most memory that a split may take as a cache. A larger one is read again
        each epoch.
    """

    model: ModelSettings = ModelSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    epochs: int = 40
    head_epochs: int = 40
    batch_size: int = 32
    windows_per_track: int = 4
    random_windows: bool = True
    learning_rate: float = 2e-3
    head_learning_rate: float = 5e-3
    fine_tune_learning_rate: float = 1e-4
    warm_up: float = 0.1
    weight_decay: float = 1e-3
    label_smoothing: float = 0.1
    patience: int = 12
    seed: int = 0
    class_weights: bool = True
    mixed_precision: str = "auto"
    distribution: str = "auto"
    cache_megabytes: int = 2048

    @property
    def most_epochs(self) -> int:
        """Epochs of all phases, if none of them stops early."""
        if self.model.weights == NO_WEIGHTS:
            return self.epochs
        return self.head_epochs + (self.epochs if self.model.fine_tune else 0)

    def __post_init__(self) -> None:
        _finite(self)
        for name in ("learning_rate", "head_learning_rate", "fine_tune_learning_rate"):
            if getattr(self, name) <= 0.0:
                raise ValueError(f"{name} must be over 0. Received: {getattr(self, name)}")
        _least(self, 1, ("epochs", "head_epochs", "batch_size", "windows_per_track"))
        _between(self, 0.0, 1.0, ("warm_up", "label_smoothing"))
        _least(self, 0.0, ("weight_decay", "patience"))
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"seed must be from 0 to {LARGEST_SEED}. Received: {self.seed}")
        for name, allowed in (
            ("mixed_precision", ("auto", "on", "off")),
            ("distribution", ("auto", "default", "mirrored", "tpu")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {allowed}. Received: {getattr(self, name)!r}"
                )


def from_dict(values: Mapping[str, Any]) -> TrainingSettings:
    """Inverse of `dataclasses.asdict`, for settings that have been through JSON.

    Args:
      values: Fields of `TrainingSettings`; those left out keep their defaults.

    Raises:
      ValueError: A field does not exist.
    """
    values = dict(values)
    for name, kind in (("model", ModelSettings), ("augmentation", AugmentationSettings)):
        if isinstance(values.get(name), Mapping):
            values[name] = _build(kind, values[name])
    return _build(TrainingSettings, values)


def _build(kind: Any, values: Mapping[str, Any]) -> Any:
    known = [field.name for field in dataclasses.fields(kind)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{kind.__name__} has the fields {known}. Received: {unknown}")
    return kind(**values)


_SPECTROGRAM_AUGMENTATION = AugmentationSettings(
    gain=0.3,
    noise=0.1,
    equaliser=0.7,
    time_stretch=0.1,
    pitch_shift_semitones=1.0,
    frequency_mask=0.15,
    frequency_masks=2,
    time_mask=0.1,
    time_masks=2,
    mixup=0.2,
)


def recommended(name: str) -> TrainingSettings:
    """The settings that a model is trained with unless told otherwise.

    `docs/results.md` says what they were chosen on.

    Raises:
      ValueError: The catalog has no model of that name, or it is the ensemble, which is not
        trained.
    """
    if name not in CATALOG or name == "ensemble":
        trained = tuple(entry for entry in CATALOG if entry != "ensemble")
        raise ValueError(f"no such model to train: expected one of {trained}. Received: {name!r}")
    if CATALOG[name].backbone:
        return TrainingSettings(
            model=ModelSettings(weights=IMAGENET, fine_tune_share=0.5),
            augmentation=_SPECTROGRAM_AUGMENTATION,
            epochs=15,
            windows_per_track=2,
            learning_rate=3e-4,  # from scratch, as VGG has no normalisation to bear more
        )
    if name in ("musicnn", "musicvgg"):
        return TrainingSettings(
            model=ModelSettings(weights=MILLION_SONG, fine_tune=False),
            # For fine-tuning: noise, and higher rates, take it far from what it knew.
            augmentation=AugmentationSettings(mixup=0.2),
            fine_tune_learning_rate=1e-5,
            epochs=10,
        )
    if name == "ann":
        return TrainingSettings(
            model=ModelSettings(dropout=0.5),
            augmentation=AugmentationSettings(noise=0.3, mixup=0.2),
            epochs=100,
            batch_size=128,
            windows_per_track=10,
            patience=25,
        )
    if name == "lstm":
        return TrainingSettings(
            augmentation=AugmentationSettings(noise=0.2, time_stretch=0.1, time_mask=0.1),
        )
    return TrainingSettings(augmentation=_SPECTROGRAM_AUGMENTATION)
