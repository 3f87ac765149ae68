"""The whole configuration of a run: one tree of frozen dataclasses, read without TensorFlow."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from components.audio.settings import AudioSettings
from components.common.errors import UserError
from components.common.settings_errors import CONFIG, changed
from components.common.storage import is_remote
from components.gate.settings import GateSettings
from components.gtzan.genres import GENRES
from components.pusher.worth import BETTER
from components.trainer.catalog import (
    CATALOG,
    is_branch,
    model_of,
    recommended,
    seed_offset,
    unknown_model,
)
from components.trainer.settings import LARGEST_SEED, TrainingSettings
from pipeline.beam_runners import BeamConfig

SPLITS = ("stratified", "artist", "listed")
INFRA_PLATFORMS = ("docker", "kubernetes")
DEFAULT_COPIES = 2
MOST_COPIES = 20
DEFAULT_MODELS = ("cnn", "lstm", "musicnn", "ensemble")

_Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
_Settings = TypeVar("_Settings")


@dataclass(frozen=True, config=CONFIG)
class DataConfig:
    """Where the music is, and how it is split.

    Attributes:
      folder: A folder of genre folders; path or URI.
      synthetic: Whether it is the built-in synthetic sample.
      genres: Names in label order; empty to take the folders of the data.
      split: One of `SPLITS`.
      split_seed: Seed of the hash that `stratified` and `artist` use.
      split_lists: Folder of the lists for `listed`.
      split_family: Which lists of that folder to use: `filtered` for `train_filtered.txt`.
      artists: CSV file with `track_id,artist` for `artist`.
      max_rejected: Share of faulty files, in [0, 1], above which the run stops; None for the larger
        of 5 % and 3 files.
      duplicates: What becomes of near-duplicates: `warn` lists them, `drop` keeps one of each.
    """

    folder: str
    synthetic: bool = False
    genres: tuple[str, ...] = GENRES
    split: str = "stratified"
    split_seed: _Seed = 0
    split_lists: str = ""
    split_family: str = ""
    artists: str = ""
    max_rejected: Annotated[float | None, Field(ge=0, le=1)] = None
    duplicates: Literal["warn", "drop"] = "warn"

    def __post_init__(self) -> None:
        for split, flag, value, is_needed in (
            ("listed", "--split-lists", self.split_lists, True),
            ("listed", "--split-family", self.split_family, False),
            ("artist", "--artists", self.artists, True),
        ):
            if self.split == split and is_needed and not value:
                raise UserError(f"--split {split} needs {flag}")
            if self.split != split and value:
                raise UserError(f"{flag} is only used with --split {split}")


@dataclass(frozen=True, config=CONFIG)
class PipelineConfig:
    """Settings of a run.

    Attributes:
      data: The music.
      output: Folder for all outputs; path or URI.
      models: Names of the catalog, in the order in which they are trained; `crnn-2` is `crnn` with
        the next seed.
      epochs: Maximum epochs of every model; None for each model's own. Heads over a frozen body
        have a number of their own.
      seed: Seed of weights, batches and augmentation.
      weights: Initial weights of `keras.applications` backbones, or the SavedModel of `embedding`;
        "" for the recommended ones.
      fine_tune: Whether to train pretrained music networks further after their head.
      copies: Copies of each training track through random degradations; 0 for none.
      trials: Trials of the search before each model's training; 0 for no search.
      overrides: Pairs of a `TrainingSettings` field (dotted for nested ones) and a value, for all
        models.
      audio: The analysis settings.
      gate: The thresholds for a model to be pushed.
      replace_incompatible: Whether a model in production that the new one cannot be compared with
        may be replaced; a waiver, which the report keeps.
      release: Which candidates replace production, of `components.pusher.worth.RULES`.
      infra_validator: Where TFX's InfraValidator loads candidates in TF Serving, beside our own
        check: one of `INFRA_PLATFORMS`, or "" for nowhere.
      beam: The engine.
      jobs: Most stages that run at a time on this machine; None for what it has room for.
      mlflow_uri: MLflow server or store; "" for MLFLOW_TRACKING_URI or the output folder.
      metadata: SQLite file of the metadata store; "" for one in the output folder.
      cache_epoch: Any text; with another one no result of an earlier run is used again.
      name: Name of the pipeline in the metadata store.
      serving_name: Name of the model in TF Serving.

    Examples:
      >>> config = PipelineConfig(DataConfig("genres_original"), models=("cnn", "lstm"), epochs=3)
      >>> config.serving_folder, config.training("cnn").epochs
      ('output/serving/genre', 3)
    """

    data: DataConfig
    output: str = "output"
    models: tuple[str, ...] = DEFAULT_MODELS
    epochs: Annotated[int | None, Field(ge=1)] = None
    seed: _Seed = 0
    weights: str = ""
    fine_tune: bool = False
    copies: Annotated[int, Field(ge=0, le=MOST_COPIES)] = DEFAULT_COPIES
    trials: Annotated[int, Field(ge=0)] = 0
    overrides: tuple[tuple[str, Any], ...] = ()
    audio: AudioSettings = AudioSettings()
    gate: GateSettings = GateSettings()
    replace_incompatible: bool = False
    release: str = BETTER
    infra_validator: str = ""
    beam: BeamConfig = BeamConfig()
    jobs: Annotated[int | None, Field(ge=1)] = None
    mlflow_uri: str = ""
    metadata: str = ""
    cache_epoch: str = ""
    name: str = "gatefold"
    serving_name: str = "genre"

    def __post_init__(self) -> None:
        unknown = [unknown_model(model) for model in self.models if not is_branch(model)]
        if unknown or not self.models:
            raise UserError(
                f"--models: {', '.join(unknown) or 'at least one is needed'}\nThere are "
                f"{', '.join(CATALOG)}, and a trained one's name with -2 to -99 for another seed."
            )
        if "ensemble" in self.models and len(self.models) < 3:
            raise UserError(
                "--models: an ensemble needs at least two other models in the same run. "
                f"Received: {', '.join(self.models)}"
            )
        if self.trials == 1:
            raise UserError(
                "--tune: a search needs 2 trials or more, as the first has the usual settings"
            )

    @property
    def trained_models(self) -> tuple[str, ...]:
        """The models that are trained, without the ensemble of them."""
        return tuple(model for model in self.models if model != "ensemble")

    @property
    def pipeline_root(self) -> str:
        """Folder of the artifacts; each metadata store has a folder of its own in it."""
        return f"{self.output}/pipeline"

    @property
    def serving_folder(self) -> str:
        """TF Serving's model base path."""
        return f"{self.output}/serving/{self.serving_name}"

    @property
    def report_folder(self) -> str:
        """Folder of the release report of the last run."""
        return f"{self.output}/report"

    @property
    def local_folder(self) -> Path:
        """Folder of metadata and logs, which must be on a local disk."""
        if not is_remote(self.output):
            return Path(self.output)
        return Path("output") / "remote" / hashlib.sha256(self.output.encode()).hexdigest()[:12]

    @property
    def metadata_file(self) -> Path:
        """The SQLite file of ML Metadata."""
        return Path(self.metadata) if self.metadata else self.local_folder / "metadata.db"

    def training(self, model: str) -> TrainingSettings:
        """Training settings of a model: its recommended ones, changed by those of the run."""
        # The largest seed is followed by 0.
        changes: dict[str, Any] = {"seed": (self.seed + seed_offset(model)) % (LARGEST_SEED + 1)}
        if self.epochs is not None:
            changes["epochs"] = self.epochs
        if self.fine_tune:
            changes["model.fine_tune"] = True
        changes |= dict(self.overrides)
        settings = recommended(model_of(model), self.weights)
        return replace_fields(settings, changes, option="training")


def replace_fields(tree: _Settings, changes: Mapping[str, Any], *, option: str) -> _Settings:
    """Copies settings with several values replaced, as `--set` asks for.

    Args:
      tree: The settings, a dataclass.
      changes: Values by field name (dotted for nested dataclasses), as text or as they are.
      option: Prefix of the names on the command line, for errors.

    Raises:
      UserError: A field does not exist, or a value is invalid.
    """
    try:
        return changed(tree, changes)
    except ValueError as error:
        raise UserError(f"--set {option}.{error}") from error
