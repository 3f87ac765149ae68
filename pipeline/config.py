"""The whole configuration of a run: one tree of frozen dataclasses, read without TensorFlow."""

import dataclasses
import difflib
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from components.audio.settings import AudioSettings
from components.common.errors import UserError
from components.common.storage import is_remote
from components.gate.settings import GateSettings
from components.gtzan.genres import GENRES
from components.trainer.catalog import CATALOG, is_branch, model_of, recommended, seed_offset
from components.trainer.settings import LARGEST_SEED, TrainingSettings, from_dict
from pipeline.beam_runners import BeamConfig

SPLITS = ("stratified", "artist", "listed")
INFRA_PLATFORMS = ("docker", "kubernetes")
METADATA_FILE = "metadata.db"
DEFAULT_MODELS = ("cnn", "lstm", "musicnn", "ensemble")


@dataclasses.dataclass(frozen=True)
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
      max_rejected: Share of rejected files, in [0, 1], above which the run stops.
      duplicates: What becomes of near-duplicates: `warn` lists them, `drop` keeps one of each.
    """

    folder: str
    synthetic: bool = False
    genres: tuple[str, ...] = GENRES
    split: str = "stratified"
    split_seed: int = 0
    split_lists: str = ""
    split_family: str = ""
    artists: str = ""
    max_rejected: float = 0.05
    duplicates: str = "warn"


@dataclasses.dataclass(frozen=True)
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
      trials: Trials of the search before each model's training; 0 for no search.
      overrides: Pairs of a `TrainingSettings` field (dotted for nested ones) and a value, for all
        models.
      audio: The analysis settings.
      gate: The thresholds for a model to be pushed.
      replace_incompatible: Whether a model in production that the new one cannot be compared with
        may be replaced; a waiver, which the report keeps.
      infra_validator: Where TFX's InfraValidator loads candidates in TF Serving, beside our own
        check: one of `INFRA_PLATFORMS`, or "" for nowhere.
      beam: The engine.
      jobs: Most stages that run at a time on this machine; 0 for what it has room for.
      mlflow_uri: MLflow server or store; "" for MLFLOW_TRACKING_URI or the output folder.
      metadata: SQLite file of the metadata store; "" for one in the output folder.
      cache_epoch: Any text; with another one no result of an earlier run is used again.
      name: Name of the pipeline in the metadata store.
      serving_name: Name of the model in TF Serving.

    Example:
      >>> config = PipelineConfig(DataConfig("genres_original"), models=("cnn", "lstm"), epochs=3)
      >>> config.serving_folder, config.training("cnn").epochs
      ('output/serving/genre', 3)
    """

    data: DataConfig
    output: str = "output"
    models: tuple[str, ...] = DEFAULT_MODELS
    epochs: int | None = None
    seed: int = 0
    weights: str = ""
    fine_tune: bool = False
    trials: int = 0
    overrides: tuple[tuple[str, Any], ...] = ()
    audio: AudioSettings = AudioSettings()
    gate: GateSettings = GateSettings()
    replace_incompatible: bool = False
    infra_validator: str = ""
    beam: BeamConfig = BeamConfig()
    jobs: int = 0
    mlflow_uri: str = ""
    metadata: str = ""
    cache_epoch: str = ""
    name: str = "gatefold"
    serving_name: str = "genre"

    def __post_init__(self) -> None:
        unknown = [model for model in self.models if not is_branch(model)]
        if unknown or not self.models:
            received = [f"{model!r}{_similar(model, CATALOG)}" for model in unknown]
            raise UserError(
                f"--models: known models are {', '.join(CATALOG)}, and a trained one's name with "
                f"-2 to -99 for another seed. Received: {', '.join(received) or 'none'}"
            )
        if "ensemble" in self.models and len(self.models) < 3:
            raise UserError(
                "--models: an ensemble needs at least two other models in the same run. "
                f"Received: {', '.join(self.models)}"
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
        return Path(self.metadata) if self.metadata else self.local_folder / METADATA_FILE

    def training(self, model: str) -> TrainingSettings:
        """Training settings of a model: its recommended ones, changed by those of the run."""
        branch, model = model, model_of(model)
        # The largest seed is followed by 0.
        seed = (self.seed + seed_offset(branch)) % (LARGEST_SEED + 1)
        settings = dataclasses.replace(recommended(model, self.weights), seed=seed)
        if self.epochs is not None:
            settings = dataclasses.replace(settings, epochs=self.epochs)
        if self.fine_tune:
            network = dataclasses.replace(settings.model, fine_tune=True)
            settings = dataclasses.replace(settings, model=network)
        settings = replace_fields(settings, self.overrides, option="training")
        return from_dict(dataclasses.asdict(settings))


def replace_fields(tree: Any, pairs: Sequence[tuple[str, Any]], *, option: str) -> Any:
    """Copies a dataclass with several fields replaced at once.

    The dataclass checks its values once all of them are replaced, so the order of `pairs` does not
    matter if one field bounds another.

    Args:
      tree: The dataclass.
      pairs: Names of fields (dotted for nested dataclasses) and values. Text is converted to the
        type of the field. The last of several equal names counts.
      option: Prefix of the fields on the command line, for errors.

    Raises:
      UserError: A field does not exist, or a value is invalid.
    """
    if not pairs:
        return tree
    names = {field.name for field in dataclasses.fields(tree)}
    changes: dict[str, Any] = {}
    nested: dict[str, list[tuple[str, Any]]] = {}
    for name, value in pairs:
        head, _, rest = name.partition(".")
        if head not in names:
            raise UserError(
                f"--set {option}.{head}: no such setting{_similar(head, names)}. "
                f"There are {', '.join(sorted(names))}"
            )
        current = getattr(tree, head)
        if rest and not dataclasses.is_dataclass(current):
            raise UserError(
                f"--set {option}.{head}: this setting has no fields of its own. "
                f"Received: {option}.{name}"
            )
        if rest:
            nested.setdefault(head, []).append((rest, value))
            continue
        try:
            changes[head] = _convert(value, current)
        except ValueError as error:
            raise UserError(f"--set {option}.{name}={value}: {error}") from error
    for head, inner in nested.items():
        changes[head] = replace_fields(getattr(tree, head), inner, option=f"{option}.{head}")
    try:
        return dataclasses.replace(tree, **changes)
    except ValueError as error:
        shown = " ".join(f"{option}.{name}={value}" for name, value in pairs)
        raise UserError(f"--set {shown}: {error}") from error


def _convert(value: Any, current: Any) -> Any:
    if not isinstance(value, str) or isinstance(current, str):
        return value
    if isinstance(current, bool):
        if value.lower() not in ("true", "false"):
            raise ValueError("expected true or false")
        return value.lower() == "true"
    if isinstance(current, int | float):
        try:
            return type(current)(value)
        except ValueError:
            kind = "a whole number" if isinstance(current, int) else "a number"
            raise ValueError(f"expected {kind}") from None
    raise ValueError("this setting has fields of its own: name one of them")


def _similar(name: str, known: Iterable[str]) -> str:
    """A question in brackets for the known name nearest to `name`; empty if none is near."""
    found = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {found[0]}?)" if found else ""
