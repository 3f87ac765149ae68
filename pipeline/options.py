"""Parses the command line to a `PipelineConfig`, without importing TensorFlow."""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from components.audio.settings import MOST_CLIPS_PER_TRACK, AudioSettings
from components.common.errors import UserError
from components.common.storage import is_remote
from components.example_gen.settings import DUPLICATES, WARN
from components.gate.settings import GateSettings
from components.gtzan.genres import GENRES
from components.trainer.catalog import CATALOG, model_of
from components.trainer.checks import check_audio, check_weights
from components.trainer.settings import LARGEST_SEED
from pipeline import beam_checks, beam_runners, gate_file
from pipeline.config import (
    DEFAULT_COPIES,
    DEFAULT_MODELS,
    INFRA_PLATFORMS,
    MOST_COPIES,
    SPLITS,
    DataConfig,
    PipelineConfig,
    replace_fields,
)

SAMPLE_RATE_HZ = AudioSettings.sample_rate_hz
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
  local_runner.py --data genres_original --beam-runner flink --beam-workers 4
"""


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
    options = _local_parser().parse_args(arguments)
    check_places(options)
    if options.data is not None and options.download:
        raise UserError("--download brings its own --data: give one of them")
    folder = options.data or (DOWNLOAD_FOLDER if options.download else SAMPLE_FOLDER)
    config = shared_config(
        options, folder=folder, synthetic=options.data is None and not options.download
    )
    if options.jobs is not None and options.jobs < 1:
        raise UserError(f"--jobs must be 1 or more. Received: {options.jobs}")
    config = dataclasses.replace(
        config, mlflow_uri=options.mlflow_uri, metadata=options.metadata, jobs=options.jobs or 0
    )
    return config, options.download


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
    _check(options)
    config = PipelineConfig(
        data=DataConfig(
            folder=folder,
            synthetic=synthetic,
            split=options.split,
            split_seed=options.split_seed,
            genres=_genres(options.genres),
            split_lists=options.split_lists,
            split_family=options.split_family,
            artists=options.artists,
            max_rejected=options.max_rejected,
            duplicates=options.duplicates,
        ),
        output=options.output,
        models=_models(options.models, options.weights),
        epochs=options.epochs,
        weights=options.weights,
        fine_tune=options.fine_tune,
        copies=options.copies,
        trials=options.tune,
        seed=options.seed,
        gate=_gate(options),
        replace_incompatible=options.replace_incompatible,
        infra_validator=options.infra_validator,
        audio=AudioSettings(clips_per_track=options.clips_per_track),
        beam=beam_runners.from_options(options),
    )
    beam_checks.check(config.beam, data=config.data.folder, output=config.output)
    return _with_settings(config, options.set)


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that exits with 1 on errors, because 2 means "not blessed" here."""

    def error(self, message: str) -> NoReturn:
        """Prints the usage and the message, and exits with 1."""
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: {message}\n")


def _local_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="local_runner.py",
        description="Gatefold: from a folder of music to a pushed, servable genre model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    here = parser.add_argument_group("this machine")
    here.add_argument(
        "--data",
        metavar="DIR",
        help="folder of genre folders (path, gs:// or s3://); without it, a synthetic sample is "
        f"composed in {SAMPLE_FOLDER}",
    )
    here.add_argument(
        "--download",
        action="store_true",
        help=f"fetch GTZAN (1.2 GB) through mirdata to {DOWNLOAD_FOLDER} and use it",
    )
    here.add_argument(
        "--output",
        default="output",
        metavar="DIR",
        help="everything that a run makes (path, gs:// or s3://; default: %(default)s)",
    )
    here.add_argument(
        "--mlflow-uri",
        default="",
        metavar="URI",
        help="MLflow server (default: MLFLOW_TRACKING_URI, else a store in the output folder)",
    )
    here.add_argument(
        "--metadata",
        default="",
        metavar="FILE",
        help="SQLite file of ML Metadata (default: metadata.db in the output folder; for a remote "
        "output below output/remote/ here)",
    )
    here.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="stages that run at a time (default: 2; 1 with a GPU, with under 12 GiB of memory, or "
        "where Beam runs several processes)",
    )
    add_shared_options(parser)
    return parser


def add_shared_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that every runner has: data, training, gate and Beam."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--genres",
        default="",
        metavar="A,B",
        help="the genre folders: names, a file with one name a line, or auto for those that are "
        "there (default: GTZAN's ten)",
    )
    data.add_argument(
        "--clips-per-track",
        type=int,
        default=1,
        metavar="N",
        help="clips of at most 30 s, evenly spread, that are taken of a longer track "
        "(default: %(default)s, its middle)",
    )
    data.add_argument(
        "--split",
        choices=SPLITS,
        default="stratified",
        help="how tracks come into train, validation and test (default: %(default)s)",
    )
    data.add_argument(
        "--split-seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of stratified and artist splits (default: %(default)s); keep it, or tracks that "
        "production was trained on come into the test split",
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
    data.add_argument(
        "--duplicates",
        choices=DUPLICATES,
        default=WARN,
        help="near-duplicates (one recording re-encoded, shifted, a little faster): warn lists "
        "them in the ingest report, drop keeps the first by path of each (default: %(default)s)",
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--models",
        default=",".join(DEFAULT_MODELS),
        metavar="A,B",
        help=f"of {', '.join(CATALOG)}; or all, embedding only if --weights names its folder "
        "(default: %(default)s); crnn,crnn-2,crnn-3 trains crnn with three seeds, for an ensemble",
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
        help="what backbones (vgg16 …) start from: imagenet, none or a file (default: imagenet); "
        "or the folder of the SavedModel for embedding, whose code runs: name one that you trust",
    )
    training.add_argument(
        "--fine-tune",
        action="store_true",
        help=f"train {' and '.join(_frozen_by_default())} on after their head "
        "(minutes instead of seconds)",
    )
    training.add_argument(
        "--copies",
        type=int,
        default=DEFAULT_COPIES,
        metavar="N",
        help="copies of each training track that are trained on beside it: as MP3, noisy, from "
        "another room, through a telephone …; 0 for none (default: %(default)s)",
    )
    training.add_argument(
        "--tune",
        type=int,
        nargs="?",
        const=DEFAULT_TRIALS,
        default=0,
        metavar="TRIALS",
        help="search each model's settings first (learning rate, width, dropout, augmentation); "
        f"{DEFAULT_TRIALS} trials by default",
    )
    training.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of weights, batches and augmentation, not of the split (default: %(default)s)",
    )
    training.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any setting, e.g. audio.mel_bins=96, training.learning_rate=0.001, "
        "training.augmentation.mixup=0 (may be repeated)",
    )
    gate = parser.add_argument_group("gate")
    gate.add_argument(
        "--gate",
        default="",
        metavar="FILE",
        help="YAML file of thresholds; gate.example.yaml lists them all",
    )
    for flag, default, what in (
        ("--min-accuracy", GateSettings.min_accuracy, "share of test tracks that must be right"),
        ("--min-macro-f1", GateSettings.min_macro_f1, "least mean F1 of the genres"),
    ):
        gate.add_argument(
            flag,
            type=float,
            metavar="X",
            help=f"{what}, 0 to 1 (default: {default}); wins over --gate",
        )
    gate.add_argument(
        "--replace-incompatible",
        action="store_true",
        help="let a model replace production though the two cannot be compared (other genres or "
        "signatures, a version that cannot be read); the report keeps this waiver",
    )
    gate.add_argument(
        "--infra-validator",
        choices=INFRA_PLATFORMS,
        default="",
        help="also load every candidate in the real TF Serving, there (TFX's InfraValidator)",
    )
    where = parser.add_argument_group("where Beam runs")
    beam_runners.add_flags(where)


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
    """Brings places into one form, and refuses what would be taken for another place.

    Raises:
      UserError: A place is empty, or none that its flag can name.
    """
    for name, may_be_remote in _PLACES.items():
        place = getattr(options, name, None)
        flag = f"--{name.replace('_', '-')}"
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
        path = Path(place).expanduser()
        if path.resolve() == Path("/") and name in ("data", "output"):
            raise UserError(f"{flag} must be a folder of its own, not the root. Received: {place}")
        setattr(options, name, str(path))


def _check(options: argparse.Namespace) -> None:
    for name in ("min_accuracy", "min_macro_f1", "max_rejected"):
        value = getattr(options, name)
        if value is not None and not 0.0 <= value <= 1.0:
            raise UserError(f"--{name.replace('_', '-')} must be from 0 to 1. Received: {value:g}")
    if options.epochs is not None and options.epochs < 1:
        raise UserError(f"--epochs must be 1 or more. Received: {options.epochs}")
    if not 0 <= options.copies <= MOST_COPIES:
        raise UserError(f"--copies must be from 0 to {MOST_COPIES}. Received: {options.copies}")
    if options.tune < 0 or options.tune == 1:
        raise UserError(
            "--tune: a search needs 2 trials or more, as the first is the model's usual settings. "
            f"Received: {options.tune}"
        )
    needs = (("listed", "split_lists"), ("artist", "artists"))
    for split, option in needs:
        value = getattr(options, option)
        flag = f"--{option.replace('_', '-')}"
        if options.split == split and not value:
            raise UserError(f"--split {split} needs {flag}")
        if options.split != split and value:
            raise UserError(f"{flag} is only used with --split {split}")
    if options.split_family and options.split != "listed":
        raise UserError("--split-family is only used with --split listed")
    if not 1 <= options.clips_per_track <= MOST_CLIPS_PER_TRACK:
        raise UserError(
            f"--clips-per-track must be from 1 to {MOST_CLIPS_PER_TRACK}. "
            f"Received: {options.clips_per_track}"
        )
    _check_models(options)
    for flag, seed in (("--seed", options.seed), ("--split-seed", options.split_seed)):
        if not 0 <= seed <= LARGEST_SEED:
            raise UserError(f"{flag} must be from 0 to {LARGEST_SEED}. Received: {seed}")
    for flag, path, is_right in (
        ("--data", options.data, Path.is_dir),
        ("--split-lists", options.split_lists, Path.is_dir),
        ("--artists", options.artists, Path.is_file),
        ("--gate", options.gate, Path.is_file),
    ):
        if path and not is_remote(path) and not is_right(Path(path)):
            kind = "folder" if is_right is Path.is_dir else "file"
            raise UserError(f"{flag}: there is no {kind} {path}")
    output = Path(options.output)
    if not is_remote(options.output) and output.exists() and not output.is_dir():
        raise UserError(f"--output: {output} is a file; give a folder")
    if any(mark in options.output for mark in "*?["):
        raise UserError(
            "--output: TFX would take *, ? and [ for patterns and find none of its files; give "
            f"another folder. Received: {options.output}"
        )


def _gate(options: argparse.Namespace) -> GateSettings:
    """The thresholds: the defaults, changed by the file, changed by the flags."""
    settings = gate_file.read(options.gate) if options.gate else GateSettings()
    flags = {
        name: getattr(options, name)
        for name in ("min_accuracy", "min_macro_f1")
        if getattr(options, name) is not None
    }
    return dataclasses.replace(settings, **flags)


def _frozen_by_default() -> list[str]:
    return [name for name, entry in CATALOG.items() if entry.frozen_by_default]


def _check_models(options: argparse.Namespace) -> None:
    """Refuses options that have no effect on any chosen model."""
    models = _models(options.models, options.weights)
    for flag, value, applicable in (
        (
            "--weights",
            options.weights,
            [name for name, entry in CATALOG.items() if entry.takes(options.weights)],
        ),
        (
            "--fine-tune",
            options.fine_tune,
            _frozen_by_default(),
        ),
    ):
        if value and not {*applicable} & {*map(model_of, models)}:
            raise UserError(
                f"{flag} is for {', '.join(applicable)}. Received: --models {options.models}"
            )


def _genres(text: str) -> tuple[str, ...]:
    """The names in label order; empty for `auto`."""
    if not text:
        return GENRES
    if text == "auto":
        return ()
    path = Path(text).expanduser()
    names = path.read_text().splitlines() if path.is_file() else text.split(",")
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


# Settings with a flag of their own, and whether that flag is in use, so that --set contradicts it.
_FLAGS_OF_SETTINGS: dict[str, tuple[str, Callable[[PipelineConfig], bool]]] = {
    "training.seed": ("--seed", lambda _: True),
    "training.epochs": ("--epochs", lambda config: config.epochs is not None),
    "training.model.weights": ("--weights", lambda config: bool(config.weights)),
    "training.model.fine_tune": ("--fine-tune", lambda config: config.fine_tune),
}


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
