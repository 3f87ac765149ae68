"""Training settings. They import no TensorFlow, and travel through TFX as JSON.

settings = dataclasses.replace(TrainingSettings(), epochs=5)
from_dict(json.loads(json.dumps(dataclasses.asdict(settings)))) == settings
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

NO_WEIGHTS = "none"
IMAGENET = "imagenet"
MILLION_SONG = "msd"
MUSIC_TAGGERS = "msd+mtt"
SAVED_MODEL = "saved_model"  # a folder that the user has to name

LARGEST_SEED = 2**32 - 1  # NumPy's


def _finite(tree: Any) -> None:
    """Refuses NaN and infinity. It comes first, because no bound refuses NaN."""
    for field in dataclasses.fields(tree):
        value = getattr(tree, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field.name} must be a finite number. Received: {value}")


def _between(tree: Any, low: float, high: float, names: Sequence[str]) -> None:
    for name in names:
        if not low <= getattr(tree, name) <= high:
            raise ValueError(
                f"{name} must be from {low:g} to {high:g}. Received: {getattr(tree, name)}"
            )


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The size of a network and the weights that it starts from.

    Attributes:
      width: Multiplier of the number of channels (or units) of a network trained from scratch.
      dropout: Share of values dropped before the last dense layer while training, 0 to 1.
      weights: What the body starts from: `none`, `imagenet` (keras.applications backbones), `msd`
        (the Million Song Dataset weights of the PyPI package musicnn), `msd+mtt` (all weights of
        that package), the path of a weights file, or the folder of a SavedModel. The model's entry
        says which of them it can start from.
      fine_tune: Whether a pretrained body is trained as well, after its head. Without weights it
        has no effect: everything is trained at once.
      fine_tune_share: Share of the body's layers, counted from its output, that fine-tuning
        trains, 0 to 1.
      shrink: Factor by which a backbone's picture is made smaller, in time and in frequency, by
        averaging. A step of half the size takes about a quarter of the time. Backbones only.
      head_l2: Strength of the L2 penalty on the weights of a head on a frozen body, for 100
        training tracks; inversely proportional to their number, as for a prior.
    """

    width: float = 1.0
    dropout: float = 0.3
    weights: str = NO_WEIGHTS
    fine_tune: bool = True
    fine_tune_share: float = 1.0
    shrink: int = 1
    head_l2: float = 0.15

    @property
    def frozen(self) -> bool:
        """Whether the body is pretrained and only its head is trained."""
        return self.weights != NO_WEIGHTS and not self.fine_tune

    def __post_init__(self) -> None:
        _finite(self)
        if self.width <= 0.0:
            raise ValueError(f"width must be over 0. Received: {self.width}")
        _between(self, 0.0, 16.0, ("width",))
        _between(self, 0.0, 0.95, ("dropout",))
        _between(self, 0.0, 1.0, ("fine_tune_share",))
        _between(self, 0.0, 1000.0, ("head_l2",))
        _between(self, 1, 16, ("shrink",))


@dataclasses.dataclass(frozen=True)
class AugmentationSettings:
    """How training windows are augmented. Zero switches an augmentation off.

    Strengths that apply to a feature's values are in standard deviations of the standardised
    feature.

    Attributes:
      gain: Largest level change, up or down, added to a whole window.
      noise: Standard deviation of the noise added to every value.
      equaliser: Largest rise or fall of a random curve over frequency that is added to a whole
        window, like another microphone or mastering. Mel spectrograms only.
      bin_offset: Largest rise or fall of each bin of a whole window, drawn for every bin. For MFCC
        it is what another microphone or mastering does: a filter adds a constant to each of them.
      time_stretch: Largest change of tempo, up or down, as a fraction.
      pitch_shift_semitones: Largest change of pitch, up or down. Mel spectrograms only.
      frequency_mask: Widest band that SpecAugment masks, as a fraction of the bins.
      frequency_masks: Number of such bands in a window.
      time_mask: Longest stretch that SpecAugment masks, as a fraction of the frames.
      time_masks: Number of such stretches in a window.
      mixup: Alpha of the Beta distribution of the share by which two windows are mixed.
    """

    gain: float = 0.0
    noise: float = 0.0
    equaliser: float = 0.0
    bin_offset: float = 0.0
    time_stretch: float = 0.0
    pitch_shift_semitones: float = 0.0
    frequency_mask: float = 0.0
    frequency_masks: int = 1
    time_mask: float = 0.0
    time_masks: int = 1
    mixup: float = 0.0

    def __post_init__(self) -> None:
        _finite(self)
        _between(self, 0.0, 24.0, [field.name for field in dataclasses.fields(self)])
        _between(self, 0.0, 1.0, ("frequency_mask", "time_mask"))
        _between(self, 0.0, 0.9, ("time_stretch",))


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained.

    Attributes:
      model: The network.
      augmentation: The variation of its training windows.
      epochs: Most epochs of a network trained from scratch or fine-tuned.
      head_epochs: Most epochs of a new head on a frozen body.
      batch_size: Windows in a step, over all devices.
      windows_per_track: Windows that an epoch takes from each training track.
      random_windows: Whether windows are cut at random places instead of end to end, as in
        evaluation.
      learning_rate: Peak of the cosine schedule.
      head_learning_rate: Peak while a head is trained on a frozen body.
      fine_tune_learning_rate: Peak while fine-tuning.
      warm_up: Share of the steps in which the rate rises to its peak, 0 to 1.
      weight_decay: The weight decay of AdamW.
      label_smoothing: Share of a label's weight that is spread over all genres.
      patience: Epochs without a better track-level validation accuracy before training stops;
        0 never stops early. The best weights are restored in any case.
      seed: Seed of weights, order, windows and augmentation; 0 to `LARGEST_SEED`.
      class_weights: Whether examples of rarer genres weigh more.
      mixed_precision: `auto` (on GPUs and TPUs), `on` or `off`.
      distribution: `auto` (the workers of `TF_CONFIG`, a TPU, several GPUs, or the one device),
        `default`, `mirrored` or `tpu`.
      cache_megabytes: Size up to which a split is cached in memory. A larger one is read again in
        each epoch, and windows of it are shuffled in a buffer of this size. Outputs of a frozen
        body over this size are kept in files.
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
        """Number of epochs of all phases if none stops early."""
        if self.model.weights == NO_WEIGHTS:
            return self.epochs
        return self.head_epochs + (self.epochs if self.model.fine_tune else 0)

    def __post_init__(self) -> None:
        _finite(self)
        for name in ("learning_rate", "head_learning_rate", "fine_tune_learning_rate"):
            if getattr(self, name) <= 0.0:
                raise ValueError(f"{name} must be over 0. Received: {getattr(self, name)}")
            _between(self, 0.0, 10.0, (name,))
        _between(self, 1, 10_000, ("epochs", "head_epochs", "batch_size"))
        _between(self, 1, 1000, ("windows_per_track",))
        _between(self, 0.0, 1.0, ("warm_up", "label_smoothing"))
        _between(self, 0.0, 10.0, ("weight_decay",))
        _between(self, 0, 10_000, ("patience",))
        _between(self, 0, 1_000_000, ("cache_megabytes",))
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
    """Reads settings from a dictionary: the inverse of `dataclasses.asdict`, also after JSON.

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


# For models that learn from mel spectrograms.
SPECTROGRAM_AUGMENTATION = AugmentationSettings(
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

# For a new head on a body pretrained on music, which stays as it is unless it is fine-tuned. Then
# noise, and higher rates, would take it far from what it has learnt.
FROZEN_MUSIC_BODY = TrainingSettings(
    model=ModelSettings(weights=MILLION_SONG, fine_tune=False),
    augmentation=AugmentationSettings(mixup=0.2),
    fine_tune_learning_rate=1e-5,
    epochs=10,
)
