"""The DAG: the nodes, and the artifacts that pass between them."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.placeholder import placeholder
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.proto import trainer_pb2, transform_pb2

from components.audio import features
from components.audio.settings import AudioSettings
from components.common.lineage import RETIRED_FOLDER
from components.common.node_ids import node_id
from components.common.resources import SCHEMA_FILE, installed_file
from components.evaluator.component import Evaluator
from components.evaluator.judgement import eval_config
from components.example_gen.component import GtzanExampleGen
from components.example_gen.fingerprint_node import DataFingerprint
from components.example_gen.settings import IngestSettings, SplitSettings
from components.example_validator.component import StrictExampleValidator
from components.example_validator.statistics import statistics_options
from components.gtzan.limits import TrackLimits
from components.model_selector.component import ModelSelector
from components.pusher.component import Pusher
from components.release_report.component import ReleaseReport
from components.run_recorder.component import RunRecorder
from components.schema_import.component import SchemaImport
from components.statistics_gen.component import StatisticsGen
from components.trainer import models
from components.trainer.catalog import CATALOG, feature_names, model_of
from components.trainer.component import Trainer, Tuner
from components.trainer.release.ensemble import EnsembleTrainer
from components.trainer.weight_sources import pretraining
from components.training_copies.component import TrainingCopies
from components.transform.component import Transform
from pipeline import fingerprint
from pipeline.beam_runners import JOB_ENDPOINT, BeamConfig
from pipeline.config import PipelineConfig
from pipeline.judging import BASELINE_FEATURE, judging, outputs
from pipeline.run_parameters import run_parameters


def create_pipeline(
    config: PipelineConfig,
    *,
    data_fingerprint: str | None,
    run_id: str,
    pipeline_root: str = "",
    tracking_uri: str = "",
    flags: str = "",
) -> tfx_pipeline.Pipeline:
    """Builds the DAG of a run.

    Args:
      config: Settings of the run.
      data_fingerprint: Hash of the music, the split lists and the artists file; None for a run
        that is compiled now and executed later, which gets a node that finds it.
      run_id: Unique id of the run; nodes with this parameter are never cached.
      pipeline_root: Folder of the artifacts; by default that of `config`.
      flags: The file for `--config` that runs the same again, for the report.
      tracking_uri: MLflow's store; by default what the nodes' environment names
        (MLFLOW_TRACKING_URI).
    """
    ingest: dict[str, Any] = {
        "input_base": config.data.folder,
        "settings": ingest_settings(config),
    }
    tags = {"tfx.pipeline": config.name, "tfx.metadata": str(config.metadata_file)}
    fingerprint_of_data: Any = data_fingerprint
    nodes: list[BaseComponent] = []
    if data_fingerprint is None:
        retired = f"{config.output}/{RETIRED_FOLDER}"
        finder = DataFingerprint(**ingest, retired=retired, run_id=run_id)
        fingerprint_of_data = finder.outputs["fingerprint"].future()[0].value
        nodes.append(finder)
        del tags["tfx.metadata"]
    example_gen = GtzanExampleGen(**ingest, data_fingerprint=fingerprint_of_data)
    schema_file = installed_file(SCHEMA_FILE)
    statistics_gen = StatisticsGen(
        examples=example_gen.outputs["examples"], stats_options=statistics_options(schema_file)
    )
    schema = SchemaImport(
        schema_file=SCHEMA_FILE,
        genres=config.data.genres,
        limits=TrackLimits.of(config.audio),
        fingerprint=fingerprint.content_fingerprint(str(schema_file)),
    )
    validator = StrictExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema.outputs["schema"]
    )
    # One Transform per feature, so that adding a model does not invalidate the others' cache.
    # The baseline reads descriptors whichever models are chosen.
    features_read = dict.fromkeys([*feature_names(config.models), BASELINE_FEATURE])
    training_copies = _training_copies(config, example_gen, validator)
    transforms = {
        name: _transform(config, name, training_copies or example_gen, schema)
        for name in features_read
    }
    for transform in transforms.values():
        transform.add_upstream_node(validator)  # features only of valid data
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
    judges = judging(
        config,
        example_gen=example_gen,
        descriptors=transforms[BASELINE_FEATURE],
        trainers=trainers,
        evaluators=evaluators,
        audio=ingest_settings(config).audio,
        release=_release(config),
        run_id=run_id,
    )
    judges.deformed_examples.add_upstream_node(validator)
    judgement = judges.gate.outputs["judgement"]
    selector = ModelSelector(
        models=outputs(trainers, "model"),
        blessings={name: judges.gate.outputs[f"blessing_{name}"] for name in trainers},
        judgement=judgement,
    )
    report = ReleaseReport(
        judgement=judgement,
        selection=selector.outputs["selection"],
        answers=outputs(judges.answers, "answers"),
        model_runs=outputs(trainers, "model_run"),
        examples=example_gen.outputs["examples"],
        ingest_report=example_gen.outputs["ingest_report"],
        facts=run_parameters(config),
        audio=config.audio,
        data_fingerprint=fingerprint_of_data,
        flags=flags,
    )
    pusher = Pusher(
        model=selector.outputs["model"],
        model_blessing=selector.outputs["blessing"],
        selection=selector.outputs["selection"],
        ingest_report=example_gen.outputs["ingest_report"],
        report=report.outputs["report"],
        statistics=statistics_gen.outputs["statistics"],
        base_directory=config.serving_folder,
        release=_release(config),
        code={
            name: _released_code(name, trainer, transforms) for name, trainer in trainers.items()
        },
        rule=config.release,
        run_id=run_id,
    )
    recorder = RunRecorder(
        models=outputs(trainers, "model"),
        model_runs=outputs(trainers, "model_run"),
        evaluations=outputs(evaluators, "evaluation"),
        tuner_results=outputs(tuners, "tuner_results"),
        selection=selector.outputs["selection"],
        judgement=judgement,
        pushed_model=pusher.outputs["pushed_model"],
        report=report.outputs["report"],
        genres=config.data.genres,
        parameters=run_parameters(config),
        tags=tags,
        experiment=config.name,
        tracking_uri=tracking_uri,
        data_fingerprint=fingerprint_of_data,
        run_id=run_id,
        registered_model=config.serving_name,
        report_folder=config.report_folder,
    )
    branches: list[BaseComponent] = []
    for name, trainer in trainers.items():
        if name in tuners:
            branches.append(tuners[name])
        branches += [trainer, evaluators[name], *judges.of_model(name)]
    nodes += [
        example_gen,
        statistics_gen,
        schema,
        validator,
        *([training_copies] if training_copies else []),
        *transforms.values(),
        judges.deformed_examples,
        judges.baseline,
        *branches,
        judges.gate,
        selector,
        report,
        pusher,
        recorder,
    ]
    fingerprint.stamp(nodes, epoch=config.cache_epoch)
    return tfx_pipeline.Pipeline(
        pipeline_name=config.name,
        pipeline_root=pipeline_root or config.pipeline_root,
        components=nodes,
        enable_cache=True,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(
            str(config.metadata_file)
        ),
        beam_pipeline_args=beam_arguments(config.beam),
    )


def beam_arguments(beam: BeamConfig) -> list[Any]:
    """Beam's arguments, as TFX takes them.

    A job server's port differs from run to run. TFX's cache looks at the arguments, so they hold a
    placeholder of the environment variable with the address, which each stage resolves.
    """
    variable = f"${JOB_ENDPOINT}"
    return [
        argument.removesuffix(variable) + placeholder.environment_variable(JOB_ENDPOINT)
        if argument.endswith(variable)
        else argument
        for argument in beam.pipeline_args()
    ]


def _released_code(name: str, trainer: BaseComponent, transforms: Mapping[str, Transform]) -> str:
    """Fingerprint of the code that a model's features, training and release come from."""
    read = transforms if name == "ensemble" else feature_names([name])
    nodes = [trainer, *(transforms[feature] for feature in read)]
    modules = sorted({module for node in nodes for module in fingerprint.entry_modules(node)})
    return fingerprint.code_fingerprint(modules, fingerprint.library_versions())


def _release(config: PipelineConfig) -> dict[str, Any]:
    """Facts about the training data for `release.json`; pretraining by model."""
    return {
        "copies": config.copies,
        "data": config.data.folder,
        "synthetic": config.data.synthetic,
        "genres": list(config.data.genres),
        "split": {"method": config.data.split, "seed": config.data.split_seed},
        "seed": config.seed,
        "pretraining": {name: _pretraining(config, name) for name in config.models},
    }


def _pretraining(config: PipelineConfig, name: str) -> list[dict[str, Any]]:
    """What the weights were trained on that a model, or a member of the ensemble, starts from."""
    members = config.trained_models if name == "ensemble" else (name,)
    weights = dict.fromkeys(config.training(member).model.weights for member in members)
    rows = [row for name in weights for row in pretraining(name)]
    if config.data.synthetic:  # no record that anybody could have heard
        rows = [{**row, "may_hold_test_tracks": False} for row in rows]
    return rows


def ingest_settings(config: PipelineConfig) -> IngestSettings:
    """Ingest settings of a run, without the feature settings, which do not affect ingest."""
    audio = config.audio
    return IngestSettings(
        audio=AudioSettings(
            sample_rate_hz=audio.sample_rate_hz,
            clip_seconds=audio.clip_seconds,
            hop_length=audio.hop_length,
            window_seconds=audio.window_seconds,
            clips_per_track=audio.clips_per_track,
        ),
        split=SplitSettings(
            method=config.data.split,
            seed=config.data.split_seed,
            lists=config.data.split_lists,
            family=config.data.split_family,
            artists=config.data.artists,
        ),
        genres=config.data.genres,
        max_rejected=config.data.max_rejected,
        duplicates=config.data.duplicates,
    )


def _training_copies(
    config: PipelineConfig, example_gen: BaseComponent, validator: BaseComponent
) -> TrainingCopies | None:
    if not config.copies:
        return None
    training_copies = TrainingCopies(
        examples=example_gen.outputs["examples"],
        audio=ingest_settings(config).audio,
        copies=config.copies,
    )
    training_copies.add_upstream_node(validator)
    return training_copies


def _transform(
    config: PipelineConfig, feature_name: str, examples: BaseComponent, schema: BaseComponent
) -> Transform:
    return Transform(
        examples=examples.outputs["examples"],
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
            "genres": list(config.data.genres),
            "code": [features.module_name(feature_name)],
        },
    ).with_id(node_id("Transform", feature_name))


def _tuner(config: PipelineConfig, name: str, transforms: dict[str, Transform]) -> Tuner:
    return Tuner(
        tuner_fn="components.trainer.training.tuner.tuner_fn",
        **_training_inputs(name, transforms),
        custom_config={**_training_config(config, name), "trials": config.trials},
    ).with_id(node_id("Tuner", name))


def _trainer(
    config: PipelineConfig, name: str, transforms: dict[str, Transform], tuner: Tuner | None
) -> Trainer:
    return Trainer(
        run_fn="components.trainer.trainer.run_fn",
        **_training_inputs(name, transforms),
        hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
        custom_config={**_training_config(config, name), "serving_name": config.serving_name},
    ).with_id(node_id("Trainer", name))


def _training_inputs(name: str, transforms: dict[str, Transform]) -> dict[str, Any]:
    transform = transforms[CATALOG[model_of(name)].feature]
    return {
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "train_args": trainer_pb2.TrainArgs(splits=["train"]),
        "eval_args": trainer_pb2.EvalArgs(splits=["validation"]),
    }


def _training_config(config: PipelineConfig, name: str) -> dict[str, Any]:
    training = config.training(name)
    return {
        "model": model_of(name),
        "branch": name,
        "audio": dataclasses.asdict(config.audio),
        "training": dataclasses.asdict(training),
        "genres": list(config.data.genres),
        "weights": fingerprint.content_fingerprint(training.model.weights),
        "code": _code([name]),
    }


def _ensemble(
    config: PipelineConfig,
    trainers: dict[str, BaseComponent],
    transforms: dict[str, Transform],
) -> EnsembleTrainer:
    return EnsembleTrainer(
        model_runs=outputs(trainers, "model_run"),
        transform_graphs={
            name: transforms[name].outputs["transform_graph"]
            for name in feature_names(config.trained_models)
        },
        config={
            "audio": dataclasses.asdict(config.audio),
            "genres": list(config.data.genres),
            "serving_name": config.serving_name,
            "code": _code(trainers),
        },
    ).with_id(node_id("Trainer", "ensemble"))


def _code(names: Iterable[str]) -> list[str]:
    """The modules of models and of what they read, which are found by name, for fingerprints."""
    names = list(dict.fromkeys(map(model_of, names)))
    return [
        *(models.module_name(name) for name in names),
        *(features.module_name(feature) for feature in feature_names(names)),
    ]


def _evaluator(
    config: PipelineConfig, name: str, example_gen: BaseComponent, trainer: BaseComponent
) -> Evaluator:
    return Evaluator(
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        example_splits=["test"],
        eval_config=eval_config(),
    ).with_id(node_id("Evaluator", name))
