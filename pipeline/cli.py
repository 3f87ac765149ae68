"""The command line of `local_runner.py`: flags to a `PipelineConfig`, without TensorFlow."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from components.errors import UserError
from components.storage import is_remote
from components.trainer.catalog import CATALOG
from components.trainer.inputs import check_audio
from components.trainer.settings import LARGEST_SEED
from components.trainer.weights import check_weights
from pipeline.config import (
    BEAM_RUNNERS,
    DEFAULT_MODELS,
    SPLITS,
    BeamConfig,
    DataConfig,
    GateConfig,
    PipelineConfig,
    replace_field,
)

SAMPLE_FOLDER = "data/synthetic"
DOWNLOAD_FOLDER = "data/gtzan"
DEFAULT_TRIALS = 10

_EPILOG = """\
exit codes: 0 a model is pushed; 2 no model passed the gate; 1 the run failed;
            130 it was interrupted

examples:
  local_runner.py                                            the built-in synthetic sample
  local_runner.py --data genres_original --models cnn,lstm   your music
  local_runner.py --data genres_original --split artist --artists artists.csv
  local_runner.py --data gs://bucket/genres --output gs://bucket/gatefold --beam-runner dataflow
"""


def parse(arguments: Sequence[str]) -> tuple[PipelineConfig, bool]:
    """Reads the command line.

    Args:
      arguments: Without the program's name.

    Returns:
      The run, and whether GTZAN is to be downloaded first.

    Raises:
      UserError: A value does not make sense; its text names the flag.
      SystemExit: Help was asked for, or argparse itself found a mistake (status 2 of argparse is
        turned into 1, as 2 means "not blessed" here).
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.data and options.download:
        raise UserError("--download brings its own --data: give one of them")
    folder = options.data or (DOWNLOAD_FOLDER if options.download else SAMPLE_FOLDER)
    _check(options)
    config = PipelineConfig(
        data=DataConfig(
            folder=folder.rstrip("/"),
            synthetic=not (options.data or options.download),
            split=options.split,
            split_lists=options.split_lists.rstrip("/"),
            split_family=options.split_family,
            artists=options.artists,
            max_rejected=options.max_rejected,
        ),
        output=options.output.rstrip("/"),
        models=_models(options.models),
        epochs=options.epochs,
        weights=options.weights,
        fine_tune=options.fine_tune,
        trials=options.tune,
        seed=options.seed,
        gate=GateConfig(min_accuracy=options.min_accuracy, min_macro_f1=options.min_macro_f1),
        mlflow_uri=options.mlflow_uri,
        beam=BeamConfig(runner=options.beam_runner, args=tuple(options.beam_arg)),
    )
    return _with_settings(config, options.set), options.download


class _Parser(argparse.ArgumentParser):
    """argparse, whose mistakes end with 1: status 2 says "not blessed" here."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="local_runner.py",
        description="Gatefold: from a folder of music to a pushed, servable genre model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        metavar="DIR",
        help="folder of genre folders (path, gs:// or s3://); without it, a synthetic sample is "
        f"composed in {SAMPLE_FOLDER}",
    )
    data.add_argument(
        "--download",
        action="store_true",
        help=f"fetch GTZAN (1.2 GB) through mirdata to {DOWNLOAD_FOLDER} and use it",
    )
    data.add_argument(
        "--split",
        choices=SPLITS,
        default="stratified",
        help="how tracks come into train, validation and test (default: %(default)s)",
    )
    data.add_argument(
        "--split-lists", metavar="DIR", default="", help="for listed: folder of the text files"
    )
    data.add_argument(
        "--split-family",
        metavar="NAME",
        default="",
        help="for listed: which lists, as in train_NAME.txt, where the folder has several",
    )
    data.add_argument(
        "--artists", metavar="FILE", default="", help="for artist: CSV with track_id,artist"
    )
    data.add_argument(
        "--max-rejected",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="share of broken files, 0 to 1, above which the run stops (default: %(default)s)",
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--models",
        default=",".join(DEFAULT_MODELS),
        metavar="A,B",
        help=f"of {', '.join(CATALOG)}; or all (default: %(default)s)",
    )
    training.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="most epochs (default: each model's own); a head over a frozen body, which takes "
        "seconds, has training.head_epochs",
    )
    training.add_argument(
        "--weights",
        default="",
        metavar="W",
        help="what backbones (vgg16 …) start from: imagenet, none or a file (default: imagenet)",
    )
    training.add_argument(
        "--fine-tune",
        action="store_true",
        help="train musicnn and musicvgg on after their head (minutes instead of seconds)",
    )
    training.add_argument(
        "--tune",
        type=int,
        nargs="?",
        const=DEFAULT_TRIALS,
        default=0,
        metavar="TRIALS",
        help="search each model's settings first (learning rate, width, dropout, augmentation); "
        f"{DEFAULT_TRIALS} trials unless told otherwise",
    )
    training.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    training.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any setting, e.g. audio.mel_bins=96, training.learning_rate=0.001, "
        "training.augmentation.mixup=0 (may be repeated)",
    )
    gate = parser.add_argument_group("gate")
    for flag, default, what in (
        ("--min-accuracy", GateConfig.min_accuracy, "share of test tracks that must be right"),
        ("--min-macro-f1", GateConfig.min_macro_f1, "least mean F1 of the genres"),
    ):
        gate.add_argument(
            flag,
            type=float,
            default=default,
            metavar="X",
            help=f"{what}, 0 to 1 (default: %(default)s)",
        )
    where = parser.add_argument_group("where it runs")
    where.add_argument(
        "--output",
        default="output",
        metavar="DIR",
        help="everything that a run makes (path, gs:// or s3://; default: %(default)s)",
    )
    where.add_argument(
        "--mlflow-uri",
        default="",
        metavar="URI",
        help="MLflow server (default: MLFLOW_TRACKING_URI, else a store in the output folder)",
    )
    where.add_argument(
        "--beam-runner", choices=BEAM_RUNNERS, default="direct", help="default: %(default)s"
    )
    where.add_argument(
        "--beam-arg",
        action="append",
        default=[],
        metavar="ARG",
        help="an argument for Beam, e.g. --beam-arg=--flink_master=host:8081 (may be repeated)",
    )
    return parser


def _check(options: argparse.Namespace) -> None:
    for name in ("min_accuracy", "min_macro_f1", "max_rejected"):
        value = getattr(options, name)
        if not 0.0 <= value <= 1.0:
            raise UserError(f"--{name.replace('_', '-')} must be from 0 to 1. Received: {value:g}")
    if options.epochs is not None and options.epochs < 1:
        raise UserError(f"--epochs must be 1 or more. Received: {options.epochs}")
    if options.tune < 0 or options.tune == 1:
        raise UserError(
            "--tune: a search needs 2 trials or more, as the first is the model's usual settings. "
            f"Received: {options.tune}"
        )
    needs = (("listed", "split_lists"), ("artist", "artists"))
    for split, option in needs:
        given = getattr(options, option)
        flag = f"--{option.replace('_', '-')}"
        if options.split == split and not given:
            raise UserError(f"--split {split} needs {flag}")
        if options.split != split and given:
            raise UserError(f"{flag} is only used with --split {split}")
    if options.split_family and options.split != "listed":
        raise UserError("--split-family is only used with --split listed")
    _check_models(options)
    if not 0 <= options.seed <= LARGEST_SEED:
        raise UserError(f"--seed must be from 0 to {LARGEST_SEED}. Received: {options.seed}")
    for flag, path, is_right in (
        ("--data", options.data, Path.is_dir),
        ("--split-lists", options.split_lists, Path.is_dir),
        ("--artists", options.artists, Path.is_file),
    ):
        if path and not is_remote(path) and not is_right(Path(path)):
            kind = "folder" if is_right is Path.is_dir else "file"
            raise UserError(f"{flag}: there is no {kind} {path}")
    output = Path(options.output)
    if not is_remote(options.output) and output.exists() and not output.is_dir():
        raise UserError(f"--output: {output} is a file; give a folder")


def _check_models(options: argparse.Namespace) -> None:
    """Refuses options that none of the chosen models would heed."""
    models = _models(options.models)
    for flag, given, some, kinds in (
        (
            "--weights",
            options.weights,
            any(CATALOG[name].backbone for name in models if name in CATALOG),
            ", ".join(name for name, entry in CATALOG.items() if entry.backbone),
        ),
        (
            "--fine-tune",
            options.fine_tune,
            {"musicnn", "musicvgg"} & {*models},
            "musicnn, musicvgg",
        ),
    ):
        if given and not some:
            raise UserError(f"{flag} is for {kinds}. Received: --models {options.models}")


def _models(text: str) -> tuple[str, ...]:
    if text.strip() == "all":
        return tuple(CATALOG)
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    # The ensemble is of the others, wherever it is named.
    return tuple(sorted(names, key=lambda name: name == "ensemble"))


def _with_settings(config: PipelineConfig, settings: Sequence[str]) -> PipelineConfig:
    for setting in settings:
        key, separator, value = setting.partition("=")
        group, _, name = key.partition(".")
        if not separator or not name or group not in ("audio", "training"):
            raise UserError(
                f"--set expects audio.NAME=VALUE or training.NAME=VALUE. Received: {setting!r}"
            )
        if group == "audio":
            audio = replace_field(config.audio, name, value, option="audio")
            config = dataclasses.replace(config, audio=audio)
        else:
            config = dataclasses.replace(config, overrides=(*config.overrides, (name, value)))
    for model in config.trained_models:
        # A wrong name or value, or weights that cannot be had, show before any work.
        check_audio(model, config.audio)
        check_weights(model, config.training(model).model.weights)
    return config
