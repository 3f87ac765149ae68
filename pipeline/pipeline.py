"""The DAG: what runs, and what passes between the nodes. Nothing else."""

import dataclasses
from pathlib import Path
from typing import Any

from tfx.components import Evaluator, Pusher, StatisticsGen, Trainer, Transform, Tuner
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.proto import pusher_pb2, trainer_pb2, transform_pb2

from components.audio.settings import AudioSettings
from components.evaluator.judgement import eval_config
from components.example_gen.component import GtzanExampleGen
from components.example_gen.settings import IngestSettings, SplitSettings
from components.example_validator.component import StrictExampleValidator
from components.example_validator.statistics import statistics_options
from components.gtzan.genres import GENRES
from components.model_selector.component import ModelSelector
from components.schema_import.component import SchemaImport
from components.trainer.catalog import CATALOG, feature_names
from components.trainer.ensemble import EnsembleTrainer
from pipeline import fingerprint
from pipeline.config import PipelineConfig

SCHEMA_FILE = Path(__file__).resolve().parent.parent / "schemas" / "gtzan.pbtxt"
METADATA_FILE = "metadata.db"


def create_pipeline(config: PipelineConfig, *, data_fingerprint: str) -> tfx_pipeline.Pipeline:
    """Builds the DAG of a run.

    Args:
      config: The run.
      data_fingerprint: Changes whenever the music, the split lists or the artists do.
    """
    example_gen = _example_gen(config, data_fingerprint)
    statistics_gen = StatisticsGen(
        examples=example_gen.outputs["examples"], stats_options=statistics_options(SCHEMA_FILE)
    )
    schema = SchemaImport(
        schema_file=str(SCHEMA_FILE), fingerprint=fingerprint.file_fingerprint(SCHEMA_FILE)
    )
    validator = StrictExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema.outputs["schema"]
    )
    # One Transform a feature: a model that reads another one leaves what is there as it is.
    transforms = {
        name: _transform(config, name, example_gen, schema) for name in feature_names(config.models)
    }
    for transform in transforms.values():
        transform.add_upstream_node(validator)  # nothing is computed on data that did not pass
    tuners = {
        name: _tuner(config, name, transforms) for name in config.trained_models if config.trials
    }
    trainers: dict[str, BaseComponent] = {
        name: _trainer(config, name, transforms, tuners.get(name)) for name in config.trained_models
    }
    if "ensemble" in config.models:
        trainers["ensemble"] = _ensemble(config, dict(trainers), transforms)
    evaluators = {
        name: _evaluator(config, name, example_gen, trainer) for name, trainer in trainers.items()
    }
    selector = ModelSelector(
        models={name: node.outputs["model"] for name, node in trainers.items()},
        evaluations={name: node.outputs["evaluation"] for name, node in evaluators.items()},
        blessings={name: node.outputs["blessing"] for name, node in evaluators.items()},
    )
    pusher = Pusher(
        model=selector.outputs["model"],
        model_blessing=selector.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=config.serving_folder)
        ),
    )
    branches: list[BaseComponent] = []
    for name, trainer in trainers.items():
        if name in tuners:
            branches.append(tuners[name])
        branches += [trainer, evaluators[name]]
    return tfx_pipeline.Pipeline(
        pipeline_name=config.name,
        pipeline_root=config.pipeline_root,
        components=[
            example_gen,
            statistics_gen,
            schema,
            validator,
            *transforms.values(),
            *branches,
            selector,
            pusher,
        ],
        enable_cache=True,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(
            str(config.local_folder / METADATA_FILE)
        ),
        beam_pipeline_args=config.beam.pipeline_args(),
    )


def _example_gen(config: PipelineConfig, data_fingerprint: str) -> GtzanExampleGen:
    return GtzanExampleGen(
        input_base=config.data.folder,
        settings=ingest_settings(config),
        data_fingerprint=data_fingerprint,
        code_fingerprint=fingerprint.source_fingerprint(fingerprint.INGEST_CODE),
    )


def ingest_settings(config: PipelineConfig) -> IngestSettings:
    """What ingest is told of a run: not how features are computed, which is not its matter."""
    audio = config.audio
    return IngestSettings(
        audio=AudioSettings(
            sample_rate_hz=audio.sample_rate_hz,
            clip_seconds=audio.clip_seconds,
            window_seconds=audio.window_seconds,
        ),
        split=SplitSettings(
            method=config.data.split,
            seed=config.seed,
            lists=config.data.split_lists,
            family=config.data.split_family,
            artists=config.data.artists,
        ),
        max_rejected=config.data.max_rejected,
    )


def _transform(
    config: PipelineConfig, feature_name: str, example_gen: BaseComponent, schema: BaseComponent
) -> Transform:
    return Transform(
        examples=example_gen.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="components.transform.preprocessing.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(
            # Statistics of the training split only: the others must stay unseen.
            analyze=["train"],
            transform=["train", "validation", "test"],
        ),
        # TFDV statistics of a [1292, 128] feature take longer than the feature.
        disable_statistics=True,
        custom_config={
            "audio": dataclasses.asdict(config.audio),
            "features": [feature_name],
            "code": fingerprint.feature_fingerprint(),
        },
    ).with_id(f"Transform-{feature_name}")


def _tuner(config: PipelineConfig, name: str, transforms: dict[str, Transform]) -> Tuner:
    return Tuner(
        tuner_fn="components.trainer.tuner.tuner_fn",
        **_training_inputs(name, transforms),
        custom_config={**_training_config(config, name), "trials": config.trials},
    ).with_id(f"Tuner-{name}")


def _trainer(
    config: PipelineConfig, name: str, transforms: dict[str, Transform], tuner: Tuner | None
) -> Trainer:
    return Trainer(
        run_fn="components.trainer.trainer.run_fn",
        **_training_inputs(name, transforms),
        hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
        custom_config={**_training_config(config, name), "serving_name": config.serving_name},
    ).with_id(f"Trainer-{name}")


def _training_inputs(name: str, transforms: dict[str, Transform]) -> dict[str, Any]:
    transform = transforms[CATALOG[name].feature]
    return {
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "train_args": trainer_pb2.TrainArgs(splits=["train"]),
        "eval_args": trainer_pb2.EvalArgs(splits=["validation"]),
    }


def _training_config(config: PipelineConfig, name: str) -> dict[str, Any]:
    training = config.training(name)
    weights = Path(training.model.weights)
    return {
        "model": name,
        "audio": dataclasses.asdict(config.audio),
        "training": dataclasses.asdict(training),
        "weights": fingerprint.file_fingerprint(weights) if weights.is_file() else "",
        "code": fingerprint.source_fingerprint(fingerprint.TRAINER_CODE),
    }


def _ensemble(
    config: PipelineConfig,
    trainers: dict[str, BaseComponent],
    transforms: dict[str, Transform],
) -> EnsembleTrainer:
    return EnsembleTrainer(
        model_runs={name: node.outputs["model_run"] for name, node in trainers.items()},
        transform_graphs={
            name: node.outputs["transform_graph"] for name, node in transforms.items()
        },
        config={
            "audio": dataclasses.asdict(config.audio),
            "serving_name": config.serving_name,
            "code": fingerprint.source_fingerprint(fingerprint.TRAINER_CODE),
        },
    ).with_id("Trainer-ensemble")


def _evaluator(
    config: PipelineConfig, name: str, example_gen: BaseComponent, trainer: BaseComponent
) -> Evaluator:
    return Evaluator(
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        example_splits=["test"],
        eval_config=eval_config(
            GENRES,
            minimum_accuracy=config.gate.min_accuracy,
            minimum_macro_f1=config.gate.min_macro_f1,
        ),
    ).with_id(f"Evaluator-{name}")
