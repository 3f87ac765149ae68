"""The whole configuration of a run: one tree of frozen dataclasses, read without TensorFlow."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from components.audio.settings import AudioSettings
from components.errors import UserError
from components.storage import is_remote
from components.trainer.catalog import CATALOG
from components.trainer.settings import TrainingSettings, from_dict, recommended

SPLITS = ("stratified", "artist", "listed")
BEAM_RUNNERS = ("direct", "flink", "spark", "dataflow")
DEFAULT_MODELS = ("cnn", "lstm", "musicnn", "ensemble")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the music is and how it is split.

    Attributes:
      folder: A folder of genre folders; path or URI.
      synthetic: Whether it is the built-in synthetic sample.
      split: One of `SPLITS`.
      split_lists: Folder of the lists for `listed`.
      split_family: Which of its lists, as `filtered` in `train_filtered.txt`.
      artists: CSV `track_id,artist` for `artist`.
      max_rejected: Share of rejected files, in [0, 1], above which the run stops.
    """

    folder: str
    synthetic: bool = False
    split: str = "stratified"
    split_lists: str = ""
    split_family: str = ""
    artists: str = ""
    max_rejected: float = 0.05


@dataclasses.dataclass(frozen=True)
class GateConfig:
    """What a model must reach on the test split, at track level, to be pushed.

    Attributes:
      min_accuracy: Share of tracks that are right, in [0, 1].
      min_macro_f1: Mean of the genres' F1, in [0, 1].
    """

    min_accuracy: float = 0.5
    min_macro_f1: float = 0.4


@dataclasses.dataclass(frozen=True)
class BeamConfig:
    """The engine that the Beam stages run on: one of `BEAM_RUNNERS`, and its own arguments."""

    runner: str = "direct"
    args: tuple[str, ...] = ()

    def pipeline_args(self) -> list[str]:
        """Beam's command-line arguments."""
        if self.runner == "direct":
            chosen = ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
        else:
            names = {"flink": "FlinkRunner", "spark": "SparkRunner", "dataflow": "DataflowRunner"}
            chosen = [f"--runner={names[self.runner]}"]
        # A later argument wins, so that --beam-arg=--runner=PortableRunner reaches a job server.
        return [*chosen, *self.args]


@dataclasses.dataclass(frozen=True)
class PipelineConfig:
    """A run.

    Attributes:
      data: The music.
      output: Folder of everything that the run makes; path or URI.
      models: Names of the catalog, in the order in which they are trained.
      epochs: Most epochs of every model, or None for each model's own; not of a head over a
        frozen body.
      seed: Of the split, the weights, the batches and the augmentation.
      weights: What `keras.applications` backbones start from, "" for their recommended ones.
      fine_tune: Whether pretrained music networks are trained on after their head.
      trials: Settings that a search tries for every model before it is trained; 0 for no search.
      overrides: Pairs of a `TrainingSettings` field (dotted for nested ones) and a value, for all
        models.
      audio: The analysis settings.
      gate: The thresholds.
      beam: The engine.
      mlflow_uri: MLflow server or store; "" for MLFLOW_TRACKING_URI or the output folder.
      name: Of the pipeline in the metadata store.
      serving_name: Of the model in TF Serving.
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
    gate: GateConfig = GateConfig()
    beam: BeamConfig = BeamConfig()
    mlflow_uri: str = ""
    name: str = "gatefold"
    serving_name: str = "genre"

    def __post_init__(self) -> None:
        unknown = [model for model in self.models if model not in CATALOG]
        if unknown or not self.models:
            raise UserError(f"--models: known models are {', '.join(CATALOG)}. Received: {unknown}")
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
        """Where artifacts go."""
        return f"{self.output}/pipeline"

    @property
    def serving_folder(self) -> str:
        """TF Serving's model base path."""
        return f"{self.output}/serving/{self.serving_name}"

    @property
    def local_folder(self) -> Path:
        """Where metadata and logs go, which must be on this machine's disk."""
        if not is_remote(self.output):
            return Path(self.output)
        return Path("output") / "remote" / hashlib.sha256(self.output.encode()).hexdigest()[:12]

    def training(self, model: str) -> TrainingSettings:
        """The training settings of a model: its recommended ones, then this run's."""
        settings = dataclasses.replace(recommended(model), seed=self.seed)
        if self.epochs is not None:
            settings = dataclasses.replace(settings, epochs=self.epochs)
        if self.weights and CATALOG[model].backbone:
            settings = replace_field(settings, "model.weights", self.weights, option="training")
        if self.fine_tune:
            settings = replace_field(settings, "model.fine_tune", True, option="training")
        for name, value in self.overrides:
            settings = replace_field(settings, name, value, option="training")
        return from_dict(dataclasses.asdict(settings))


def replace_field(tree: Any, name: str, value: Any, *, option: str) -> Any:
    """A copy of a dataclass with one field replaced.

    Args:
      tree: The dataclass.
      name: The field; dotted for a field of a nested dataclass.
      value: Text is converted to the type that the field has now.
      option: What the fields are called on the command line, for errors.

    Raises:
      UserError: There is no such field, or the value does not fit.
    """
    head, _, rest = name.partition(".")
    fields = {field.name for field in dataclasses.fields(tree)}
    if head not in fields:
        raise UserError(
            f"--set {option}.{head}: no such setting; there are {', '.join(sorted(fields))}"
        )
    current = getattr(tree, head)
    if rest and not dataclasses.is_dataclass(current):
        raise UserError(
            f"--set {option}.{head}: this setting has no fields of its own. "
            f"Received: {option}.{name}"
        )
    if rest:
        return dataclasses.replace(
            tree, **{head: replace_field(current, rest, value, option=f"{option}.{head}")}
        )
    try:
        return dataclasses.replace(tree, **{head: _convert(value, current)})
    except ValueError as error:
        raise UserError(f"--set {option}.{name}={value}: {error}") from error


def _convert(value: Any, current: Any) -> Any:
    if not isinstance(value, str) or isinstance(current, str):
        return value
    if isinstance(current, bool):
        if value.lower() not in ("true", "false"):
            raise ValueError("expected true or false")
        return value.lower() == "true"
    if isinstance(current, int | float):
        return type(current)(value)
    raise ValueError("this setting has fields of its own: name one of them")
