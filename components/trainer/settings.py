"""Training settings. They import no TensorFlow, and travel through TFX as JSON.

settings = TrainingSettings(epochs=5)
TrainingSettings(**json.loads(json.dumps(dataclasses.asdict(settings)))) == settings
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field
from pydantic.dataclasses import dataclass

from components.common.settings_errors import CONFIG

NO_WEIGHTS = "none"
IMAGENET = "imagenet"
MILLION_SONG = "msd"
MUSIC_TAGGERS = "msd+mtt"
SAVED_MODEL = "saved_model"  # a folder that the user has to name

LARGEST_SEED = 2**32 - 1  # NumPy's

Share: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]
Strength: TypeAlias = Annotated[float, Field(ge=0.0, le=24.0)]
Rate: TypeAlias = Annotated[float, Field(gt=0.0, le=10.0)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=10_000)]


@dataclass(frozen=True, config=CONFIG)
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

    width: Annotated[float, Field(gt=0.0, le=16.0)] = 1.0
    dropout: Annotated[float, Field(ge=0.0, le=0.95)] = 0.3
    weights: str = NO_WEIGHTS
    fine_tune: bool = True
    fine_tune_share: Share = 1.0
    shrink: Annotated[int, Field(ge=1, le=16)] = 1
    head_l2: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.15

    @property
    def frozen(self) -> bool:
        """Whether the body is pretrained and only its head is trained."""
        return self.weights != NO_WEIGHTS and not self.fine_tune


@dataclass(frozen=True, config=CONFIG)
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

    gain: Strength = 0.0
    noise: Strength = 0.0
    equaliser: Strength = 0.0
    bin_offset: Strength = 0.0
    time_stretch: Annotated[float, Field(ge=0.0, le=0.9)] = 0.0
    pitch_shift_semitones: Strength = 0.0
    frequency_mask: Share = 0.0
    frequency_masks: Annotated[int, Field(ge=0, le=24)] = 1
    time_mask: Share = 0.0
    time_masks: Annotated[int, Field(ge=0, le=24)] = 1
    mixup: Strength = 0.0


@dataclass(frozen=True, config=CONFIG)
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
      distribution: `auto` (a TPU, several GPUs, or the one device), `default`, `mirrored` or `tpu`.
      cache_megabytes: Size up to which a split is cached in memory. A larger one is read again in
        each epoch, and windows of it are shuffled in a buffer of this size.
    """

    model: ModelSettings = ModelSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    epochs: Count = 40
    head_epochs: Count = 40
    batch_size: Count = 32
    windows_per_track: Annotated[int, Field(ge=1, le=1000)] = 4
    random_windows: bool = True
    learning_rate: Rate = 2e-3
    head_learning_rate: Rate = 5e-3
    fine_tune_learning_rate: Rate = 1e-4
    warm_up: Share = 0.1
    weight_decay: Annotated[float, Field(ge=0.0, le=10.0)] = 1e-3
    label_smoothing: Share = 0.1
    patience: Annotated[int, Field(ge=0, le=10_000)] = 12
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] = 0
    class_weights: bool = True
    mixed_precision: Literal["auto", "on", "off"] = "auto"
    distribution: Literal["auto", "default", "mirrored", "tpu"] = "auto"
    cache_megabytes: Annotated[int, Field(ge=0, le=1_000_000)] = 2048

    @property
    def most_epochs(self) -> int:
        """Number of epochs of all phases if none stops early."""
        if self.model.weights == NO_WEIGHTS:
            return self.epochs
        return self.head_epochs + (self.epochs if self.model.fine_tune else 0)


# Hyperparameters of a search are named after settings, except this one, which scales all strengths.
AUGMENTATION = "augmentation"
MODEL_HYPERPARAMETERS = ("width", "dropout", "head_l2")


def tuned(settings: TrainingSettings, values: Mapping[str, Any]) -> TrainingSettings:
    """Applies the hyperparameters of a search to the settings around which it searched.

    Args:
      settings: The settings.
      values: Values by name of the hyperparameter.

    Raises:
      ValueError: There is no hyperparameter of that name.
    """
    model = {name: values[name] for name in MODEL_HYPERPARAMETERS if name in values}
    own = {name: values[name] for name in values if name not in (*model, AUGMENTATION)}
    return dataclasses.replace(
        settings,
        model=dataclasses.replace(settings.model, **model),
        augmentation=scaled(settings.augmentation, values.get(AUGMENTATION, 1.0)),
        **own,
    )


def scaled(augmentation: AugmentationSettings, strength: float) -> AugmentationSettings:
    """Multiplies all strengths, not the numbers of masks.

    Raises:
      ValueError: A strength is over its limit.
    """
    values: dict[str, Any] = {
        name: value * strength if isinstance(value, float) else value
        for name, value in dataclasses.asdict(augmentation).items()
    }
    return AugmentationSettings(**values)


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
