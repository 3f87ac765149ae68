"""Parses the command line to a `PipelineConfig`, without importing TensorFlow."""

import argparse
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from components.audio.settings import AudioSettings
from components.common.command_line import VerdictParser
from components.common.errors import UserError
from components.common.settings_errors import sentence
from components.common.storage import is_remote
from components.example_gen.settings import DUPLICATES
from components.gate.settings import GateSettings
from components.gtzan.genres import GENRES
from components.pusher.worth import BETTER, RULES
from components.trainer.catalog import CATALOG, model_of
from components.trainer.checks import check_audio, check_weights
from pipeline import beam_checks, beam_runners, config_file, gate_file
from pipeline.beam_runners import BeamConfig
from pipeline.config import (
    DEFAULT_COPIES,
    DEFAULT_MODELS,
    INFRA_PLATFORMS,
    SPLITS,
    DataConfig,
    PipelineConfig,
    replace_fields,
)

SAMPLE_RATE_HZ = AudioSettings.sample_rate_hz
SAMPLE_FOLDER = "data/synthetic"
DOWNLOAD_FOLDER = "data/gtzan"
DEFAULT_TRIALS = 10

_Settings = TypeVar("_Settings")

_EPILOG = """\
exit codes: 0 a model is pushed, or production is as good; 2 no model passed the gate;
            1 the run failed; 130 it was interrupted

examples:
  gatefold run                                            the built-in synthetic sample
  gatefold run --data genres_original --models cnn,lstm   your music
  gatefold run --data genres_original --split artist --artists artists.csv
  gatefold run --data genres_original --beam-runner flink --beam-workers 4
"""

_ON_A_SAVED_MODEL = {name for name, entry in CATALOG.items() if entry.needs_saved_model}
_FROZEN_BY_DEFAULT = [name for name, entry in CATALOG.items() if entry.frozen_by_default]


class Option(NamedTuple):
    """An option of a command line; named like the field of the settings that it sets.

    Attributes:
      flag: What is typed, and behind a space what stands for the value in the help.
      default: The value unless given. False makes a switch, an empty tuple an option that may be
        repeated, and a type means None.
      help: What it means; the default is added.
      choices: The values that it may have.
      required: Whether it must be given.
    """

    flag: str
    default: Any
    help: str
    choices: Sequence[str] | None = None
    required: bool = False


_HERE = (
    Option(
        "--config FILE",
        "",
        "YAML file of flags, as `epochs: 3`; other flags win. A run writes all of its flags to "
        f"{config_file.FILE} in the output folder",
    ),
    Option("--data DIR", str, "folder of genre folders (path, gs:// or s3://); else a sample"),
    Option("--download", False, f"fetch GTZAN (1.2 GB) to {DOWNLOAD_FOLDER} and use it"),
    Option("--output DIR", "output", "everything that a run makes (path, gs:// or s3://)"),
    Option(
        "--mlflow-uri URI",
        "",
        "MLflow server (default: MLFLOW_TRACKING_URI, else a store in the output folder)",
    ),
    Option(
        "--metadata FILE",
        "",
        "SQLite file of ML Metadata (default: metadata.db in the output folder; for a remote "
        "output below output/remote/ here)",
    ),
    Option(
        "--jobs N",
        int,
        "stages that run at a time (default: 2; 1 with a GPU, with under 12 GiB of memory, or "
        "where Beam runs several processes)",
    ),
)
_DATA = (
    Option(
        "--genres A,B",
        "",
        "the genre folders: names, a file with one name a line, or auto for those that are there "
        "(default: GTZAN's ten)",
    ),
    Option("--clips-per-track N", 1, "clips of at most 30 s, evenly spread, of a longer track"),
    Option("--split", "stratified", "how tracks come into train, validation and test", SPLITS),
    Option(
        "--split-seed N",
        0,
        "seed of stratified and artist splits; keep it, or tracks that production was trained on "
        "come into the test split",
    ),
    Option("--split-lists DIR", "", "for listed: folder of the text files"),
    Option("--split-family NAME", "", "for listed: which lists of several, as in train_NAME.txt"),
    Option("--artists FILE", "", "for artist: CSV with track_id,artist"),
    Option(
        "--max-rejected SHARE",
        float,
        "share of broken files above which the run stops (default: 0.05, and at least 3 files)",
    ),
    Option(
        "--duplicates",
        "warn",
        "near-duplicates (one recording re-encoded, shifted, a little faster): warn lists them in "
        "the ingest report, drop keeps the first by path of each",
        DUPLICATES,
    ),
)
_TRAINING = (
    Option(
        "--models A,B",
        ",".join(DEFAULT_MODELS),
        f"of {', '.join(CATALOG)}; or all, embedding only if --weights names its folder; "
        "crnn,crnn-2,crnn-3 trains crnn with three seeds, for an ensemble",
    ),
    Option(
        "--epochs N",
        int,
        "most epochs (default: each model's own); a head over a frozen body, which takes seconds, "
        "has training.head_epochs",
    ),
    Option(
        "--weights W",
        "",
        "what backbones (vgg16 …) start from: imagenet, none or a file (default: imagenet); or the "
        "folder of the SavedModel for embedding, whose code runs: name one that you trust",
    ),
    Option("--fine-tune", False, f"train {' and '.join(_FROZEN_BY_DEFAULT)} on after their head"),
    Option(
        "--copies N",
        DEFAULT_COPIES,
        "copies of each training track that are trained on beside it: as MP3, noisy, from another "
        "room, through a telephone …; 0 for none",
    ),
    Option("--seed N", 0, "of weights, batches and augmentation, not of the split"),
    Option(
        "--set KEY=VALUE",
        (),
        "any setting, e.g. audio.mel_bins=96, training.learning_rate=0.001, "
        "training.augmentation.mixup=0 (may be repeated)",
    ),
)
_GATE = (
    Option("--gate FILE", "", "YAML file of thresholds; gate.example.yaml lists them all"),
    Option("--min-accuracy X", float, "least accuracy on the test split; wins over --gate"),
    Option("--min-macro-f1 X", float, "least mean F1 of the genres; wins over --gate"),
    Option(
        "--replace-incompatible",
        False,
        "let a model replace production though the two cannot be compared (other genres or "
        "signatures, a version that cannot be read); the report keeps this waiver",
    ),
    Option(
        "--release",
        BETTER,
        "what replaces production: a model that is better on the same tracks, or not worse and of "
        "other data or code (better); or any that is not worse",
        RULES,
    ),
    Option(
        "--infra-validator",
        "",
        "also load every candidate in the real TF Serving, there (TFX's InfraValidator)",
        INFRA_PLATFORMS,
    ),
)
_BEAM = (
    Option("--beam-runner", "direct", "the engine of the Beam stages", beam_runners.BEAM_RUNNERS),
    Option(
        "--beam-workers N",
        int,
        "processes of direct, parallelism of flink and spark, most workers of dataflow "
        "(default: 1, or what dataflow decides)",
    ),
    *(Option(f"{flag.name} {flag.metavar}", "", flag.help) for flag in beam_runners.FLAGS.values()),
    Option("--beam-arg ARG", (), "an argument for Beam that wins over the others; repeatable"),
)


def parse(arguments: Sequence[str]) -> tuple[PipelineConfig, bool]:
    """Reads the command line.

    Args:
      arguments: The arguments, without the program's name.

    Returns:
      The settings of the run, and whether to download GTZAN first.

    Raises:
      UserError: A value is invalid; its text names the flag.
      SystemExit: Help was requested, or argparse refused an argument (with status 1 instead of
        argparse's 2, which means "not blessed" here).
    """
    options = _parsed(arguments)
    check_places(options)
    if options.data is not None and options.download:
        raise UserError("--download brings its own --data: give one of them")
    folder = options.data or (DOWNLOAD_FOLDER if options.download else SAMPLE_FOLDER)
    is_sample = options.data is None and not options.download
    return shared_config(options, folder=folder, synthetic=is_sample), options.download


def effective(arguments: Sequence[str]) -> str:
    """All flags of a command line with their values, as a file for `--config`."""
    values = vars(_parsed(arguments))
    return config_file.text({_flag(name)[2:]: value for name, value in values.items()})


def build_parser() -> VerdictParser:
    """The parser of `gatefold run`."""
    parser = VerdictParser(
        prog="gatefold run",
        description="Gatefold: from a folder of music to a pushed, servable genre model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser.add_argument_group("this machine"), _HERE)
    add_shared_options(parser)
    return parser


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = build_parser()
    options = parser.parse_args(config_file.expanded(arguments))
    if options.config:  # in a file, or shortened
        parser.error("--config is for the command line, in full letters")
    return options


def shared_config(
    options: argparse.Namespace, *, folder: str, synthetic: bool = False
) -> PipelineConfig:
    """Checks the options that all runners share, and makes the settings of a run from them.

    Args:
      options: Parsed options of `add_shared_options`, and `output`.
      folder: The music.
      synthetic: Whether it is the built-in sample.

    Raises:
      UserError: A value is invalid; its text names the flag.
    """
    _check_files(options)
    models = _models(options.models, options.weights)
    _check_models(options, models)
    thresholds = {
        name: getattr(options, name)
        for name in ("min_accuracy", "min_macro_f1")
        if getattr(options, name) is not None
    }
    gate = gate_file.read(options.gate) if options.gate else GateSettings()
    data = _made(
        DataConfig,
        **_fields(DataConfig, options)
        | {"folder": folder, "synthetic": synthetic, "genres": _genres(options.genres)},
    )
    parts = {
        "data": data,
        "models": models,
        "gate": _made(functools.partial(dataclasses.replace, gate), **thresholds),
        "audio": _made(AudioSettings, clips_per_track=options.clips_per_track),
        "beam": _made(
            BeamConfig,
            runner=options.beam_runner,
            workers=options.beam_workers or 0,
            args=tuple(options.beam_arg),
            **{
                field: getattr(options, flag.name[2:].replace("-", "_"))
                for field, flag in beam_runners.FLAGS.items()
            },
        ),
    }
    config = _made(PipelineConfig, **_fields(PipelineConfig, options) | parts)
    beam_checks.check(config.beam, data=config.data.folder, output=config.output)
    return _with_settings(config, options.set)


def add_options(parser: Any, options: Iterable[Option]) -> None:
    """Adds options to a parser or to a group of one."""
    for option in options:
        flag, _, metavar = option.flag.partition(" ")
        text = option.help
        default: Any = option.default
        kind: Any = type(default)
        if default is False:
            parser.add_argument(flag, action="store_true", help=text)
        elif default == ():
            parser.add_argument(flag, action="append", default=[], metavar=metavar, help=text)
        else:
            if isinstance(default, type):
                default, kind = None, default
            elif default != "":
                text += " (default: %(default)s)"
            parser.add_argument(
                flag,
                default=default,
                type=kind,
                metavar=metavar or None,
                choices=option.choices,
                required=option.required,
                help=text,
            )


def add_shared_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that every runner has: data, training, gate and Beam."""
    add_options(parser.add_argument_group("data"), _DATA)
    training = parser.add_argument_group("training")
    add_options(training, _TRAINING)
    training.add_argument(
        "--tune",
        dest="trials",
        type=int,
        nargs="?",
        const=DEFAULT_TRIALS,
        default=0,
        metavar="TRIALS",
        help=f"search each model's settings first; {DEFAULT_TRIALS} trials by default",
    )
    add_options(parser.add_argument_group("gate"), _GATE)
    add_options(parser.add_argument_group("where Beam runs"), _BEAM)


# Options that name a file or folder, and whether it may be in an object store.
_PLACES = {
    "data": True,
    "output": True,
    "split_lists": True,
    "artists": True,
    "gate": False,
    "metadata": False,
}


def check_places(options: argparse.Namespace) -> None:
    """Brings files and folders into one form, and refuses what would be taken for another one.

    Raises:
      UserError: A file or folder is empty, or none that its flag can name.
    """
    for name, may_be_remote in _PLACES.items():
        place = getattr(options, name, None)
        flag = _flag(name)
        if place is None or (place == "" and name not in ("data", "output")):
            continue
        if not place.strip():
            raise UserError(
                f"{flag} is empty: is a variable unset? Leave the flag out, or name a place"
            )
        if is_remote(place):
            scheme, _, rest = place.partition("://")
            if not may_be_remote:
                raise UserError(f"{flag} must be on this machine's disk. Received: {place}")
            if scheme not in ("s3", "gs") or not rest.partition("/")[0].strip():
                raise UserError(
                    f"{flag}: a place in an object store is s3://BUCKET/FOLDER or "
                    f"gs://BUCKET/FOLDER. Received: {place}"
                )
            setattr(options, name, place.rstrip("/"))
            continue
        try:
            path = Path(place).expanduser()
            path.exists()  # in a folder that is closed, or of too long a name
            is_root = path.resolve() == Path("/")
        except (OSError, RuntimeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{flag} cannot be used ({reason}). Received: {place}") from error
        if is_root and name in ("data", "output"):
            raise UserError(f"{flag} must be a folder of its own, not the root. Received: {place}")
        setattr(options, name, str(path))


def _flag(field: str) -> str:
    flags = {"trials": "--tune", "workers": "--beam-workers"}
    return flags.get(field, f"--{field.replace('_', '-')}")


def _fields(kind: Any, options: argparse.Namespace) -> dict[str, Any]:
    return {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(kind)
        if hasattr(options, field.name)
    }


def _made(kind: Callable[..., _Settings], **values: Any) -> _Settings:
    """Makes settings; an error names the flag in place of the field."""
    try:
        return kind(**values)
    except ValueError as error:
        text = sentence(error) if isinstance(error, ValidationError) else str(error)
        field, _, fault = text.partition(" ")
        raise UserError(f"{_flag(field)} {fault}") from error


def _check_files(options: argparse.Namespace) -> None:
    for name, is_right, kind in (
        ("data", Path.is_dir, "folder"),
        ("split_lists", Path.is_dir, "folder"),
        ("artists", Path.is_file, "file"),
        ("gate", Path.is_file, "file"),
    ):
        path = getattr(options, name)
        if path and not is_remote(path) and not is_right(Path(path)):
            raise UserError(f"{_flag(name)}: there is no {kind} {path}")
    output = Path(options.output)
    if not is_remote(options.output) and output.exists() and not output.is_dir():
        raise UserError(f"--output: {output} is a file; give a folder")
    if any(mark in options.output for mark in "*?["):
        raise UserError(
            "--output: TFX would take *, ? and [ for patterns and find none of its files; give "
            f"another folder. Received: {options.output}"
        )


def _check_models(options: argparse.Namespace, models: Iterable[str]) -> None:
    """Refuses options that have no effect on any chosen model."""
    chosen = {*map(model_of, models)}
    backbones = [name for name, entry in CATALOG.items() if entry.takes(options.weights)]
    for name, applicable in (("weights", backbones), ("fine_tune", _FROZEN_BY_DEFAULT)):
        if not getattr(options, name) or {*applicable} & chosen:
            continue
        if name == "weights" and chosen & _ON_A_SAVED_MODEL:
            raise UserError(
                f"--weights: there is no folder {options.weights}; for embedding name the folder "
                "of a SavedModel"
            )
        raise UserError(
            f"{_flag(name)} is for {', '.join(applicable)}. Received: --models {options.models}"
        )


def _genres(text: str) -> tuple[str, ...]:
    """The names in label order; empty for `auto`."""
    if not text:
        return GENRES
    if text == "auto":
        return ()
    path = os.path.expanduser(text)  # noqa: PTH111 - names may be longer than a path can be
    names = text.split(",")
    if os.path.isfile(path):  # noqa: PTH113
        try:
            names = Path(path).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeError) as error:
            raise UserError(f"--genres: {path} cannot be read as UTF-8 text ({error})") from error
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def _models(text: str, weights: str) -> tuple[str, ...]:
    if text.strip() == "all":
        # All that can be had: whose body is a SavedModel only where one is named.
        return tuple(
            name
            for name, entry in CATALOG.items()
            if not entry.needs_saved_model or entry.takes(weights)
        )
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    # The ensemble comes last, because it needs the others.
    return tuple(sorted(names, key=lambda name: name == "ensemble"))


# Settings with a flag of their own, and whether that flag is in use, so that --set contradicts it.
_FLAGS_OF_SETTINGS: dict[str, tuple[str, Callable[[PipelineConfig], bool]]] = {
    "training.seed": ("--seed", lambda _: True),
    "training.epochs": ("--epochs", lambda config: config.epochs is not None),
    "training.model.weights": ("--weights", lambda config: bool(config.weights)),
    "training.model.fine_tune": ("--fine-tune", lambda config: config.fine_tune),
}


def _with_settings(config: PipelineConfig, settings: Sequence[str]) -> PipelineConfig:
    pairs: dict[str, list[tuple[str, str]]] = {"audio": [], "training": []}
    for setting in settings:
        key, separator, value = setting.partition("=")
        group, _, name = key.partition(".")
        if not separator or not name or group not in pairs:
            raise UserError(
                f"--set expects audio.NAME=VALUE or training.NAME=VALUE. Received: {setting!r}"
            )
        flag, is_given = _FLAGS_OF_SETTINGS.get(key, ("", None))
        if is_given and is_given(config):
            raise UserError(f"--set {key}: use {flag}, which sets the same. Received: {setting!r}")
        pairs[group].append((name, value))
    config = dataclasses.replace(
        config,
        audio=replace_fields(config.audio, dict(pairs["audio"]), option="audio"),
        overrides=tuple(pairs["training"]),
    )
    if config.audio.sample_rate_hz != SAMPLE_RATE_HZ:
        raise UserError(
            f"--set audio.sample_rate_hz must be {SAMPLE_RATE_HZ}, the rate that clients and the "
            f"page send. Received: {config.audio.sample_rate_hz}"
        )
    for model in config.trained_models:
        # Unusable settings and missing weights are reported before any work.
        network = config.training(model).model
        check_audio(model_of(model), config.audio, network)
        check_weights(model_of(model), network.weights)
    return config
