"""What a model of the catalog is: the entry that its file defines. Imports no Keras."""

import dataclasses
from collections.abc import Callable
from typing import Any

from components.audio import features
from components.audio.features import FeatureEntry
from components.trainer.settings import NO_WEIGHTS, ModelSettings, TrainingSettings
from components.trainer.weight_sources import (
    ImageNet,
    MusicnnPackage,
    SavedModelFolder,
    is_saved_model,
)


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """The definition of one model: what its file in `components/trainer/models` holds as `ENTRY`.

    Attributes:
      name: The name of the file, and what `--models` calls the model.
      feature: Name of the feature that it reads; empty for the ensemble, which reads the others'.
      build: Builds the Keras model. Called with the keyword arguments `feature` (a
        `components.audio.features.Feature`), `genre_count` (int) and `settings` (`ModelSettings`).
        It imports Keras within the function, so that the command line can read the entry without.
        None for the ensemble, which is not trained.
      recommended: The settings that it is trained with unless others are given, chosen as
        docs/notes/models.md says. None for the ensemble.
      from_scratch: The settings that it is trained with if it could start from weights and is told
        to start from none; None if they are those of `recommended`.
      least_mel_bins: Fewest `audio.mel_bins` that it can be built for.
      least_window_frames: Fewest spectrogram frames in a window that it can be built for.
      weights: Where published weights of its body come from; None if it is always trained from
        scratch.
    """

    name: str
    feature: str
    build: Callable[..., Any] | None = None
    recommended: TrainingSettings | None = None
    from_scratch: TrainingSettings | None = None
    least_mel_bins: int = 1
    least_window_frames: int = 1
    weights: ImageNet | MusicnnPackage | SavedModelFolder | None = None

    @property
    def feature_entry(self) -> FeatureEntry:
        """The definition of the feature that it reads."""
        return features.entry(self.feature)

    @property
    def backbone(self) -> bool:
        """Whether its body is a `keras.applications` network."""
        return isinstance(self.weights, ImageNet)

    @property
    def needs_saved_model(self) -> bool:
        """Whether its body is a SavedModel, without which it cannot be built, nor be trained on."""
        return isinstance(self.weights, SavedModelFolder)

    @property
    def frozen_by_default(self) -> bool:
        """Whether only its head is trained unless `--fine-tune` is given."""
        return (
            self.recommended is not None
            and self.recommended.model.frozen
            and not self.needs_saved_model
        )

    def takes(self, weights: str) -> bool:
        """Whether `--weights` is meant for it: folders for SavedModels, all else for backbones."""
        return self.needs_saved_model if is_saved_model(weights) else self.backbone

    def rebuilt(self, settings: ModelSettings, saved_model: str) -> ModelSettings:
        """What to build its network with when its trained weights are set afterwards.

        Args:
          settings: What it was trained with.
          saved_model: The folder of its SavedModel, if it has one.
        """
        weights = saved_model if self.needs_saved_model else NO_WEIGHTS
        return dataclasses.replace(settings, weights=weights)
