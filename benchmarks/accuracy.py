"""How often models are right, under a stated protocol, with the pipeline's own training code.

    python -m benchmarks.accuracy --data FOLDER --models musicnn --protocol folds --seeds 0,1,2
    python -m benchmarks.accuracy --descriptors features_30_sec.csv --protocol listed \
        --split-lists FOLDER
    python -m benchmarks.accuracy --spectrograms log_mel_without_test.npz --real-music FOLDER \
        --models cnn,musicnn,ensemble --protocol listed --split-lists FOLDER

What is scored is never looked at while training: there is no early stopping here, models train for
all their epochs and their last weights count. `segment` divides windows instead of tracks, and is
there to show how much of such a figure is leakage.
"""

import argparse
import dataclasses
import logging
import os
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from rich.console import Console

from benchmarks import protocols, sources
from benchmarks.protocols import Round
from benchmarks.results import FIELDS, append, prepare, seed_means
from components import progress
from components.errors import UserError
from components.gtzan.genres import GENRES
from components.trainer.catalog import CATALOG, feature_names
from components.trainer.settings import LARGEST_SEED, TrainingSettings, recommended
from components.trainer.weights import WeightsError, check_weights
from pipeline import quiet
from pipeline.console import StageDisplay

ENSEMBLE = "ensemble"
SVM = "svm"  # the peer for descriptors: scikit-learn's RBF support vector machine


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description="Accuracy under a stated protocol."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="folder of audio, one folder a genre")
    source.add_argument("--descriptors", type=Path, help="the published features_30_sec.csv")
    source.add_argument("--spectrograms", type=Path, help="log_mel_without_test.npz")
    parser.add_argument(
        "--models", help="names of the catalog (default cnn; ann with --descriptors)"
    )
    parser.add_argument("--protocol", choices=protocols.PROTOCOLS, default="track")
    parser.add_argument("--seeds", default="0", help="comma-separated (default 0)")
    parser.add_argument("--split-lists", type=Path, help="folder of train_/valid_/test_*.txt")
    parser.add_argument("--lists", help="which of the lists (default filtered)")
    parser.add_argument("--scored", choices=("valid", "test"), help="which list (default valid)")
    parser.add_argument("--artists", type=Path, help="artists.csv, for --protocol artist")
    parser.add_argument("--real-music", type=Path, help="real tracks, for --spectrograms music_mel")
    parser.add_argument("--weights", help="none, imagenet or a file, for the backbones")
    parser.add_argument("--fine-tune", action="store_true", help="train pretrained bodies on, too")
    parser.add_argument("--epochs", type=int, help="instead of each model's own number")
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("output/accuracy.csv"),
        help="CSV file to append to (default %(default)s)",
    )
    options = parser.parse_args(arguments)
    options.models = tuple((options.models or ("ann" if options.descriptors else "cnn")).split(","))
    try:
        options.seeds = tuple(int(seed) for seed in options.seeds.split(","))
    except ValueError:
        parser.error(f"--seeds must be whole numbers. Received: {options.seeds}")
    if not all(0 <= seed <= LARGEST_SEED for seed in options.seeds):
        parser.error(f"--seeds must be from 0 to {LARGEST_SEED}. Received: {options.seeds}")
    if options.epochs is not None and options.epochs < 1:
        parser.error(f"--epochs must be 1 or more. Received: {options.epochs}")
    unknown = [name for name in options.models if name not in CATALOG]
    if unknown:
        parser.error(f"--models must be of {', '.join(CATALOG)}. Received: {', '.join(unknown)}")
    if options.models[0] == ENSEMBLE:
        parser.error(f"--models: {ENSEMBLE} is the mean of the models named before it")
    if options.protocol == "listed" and not options.split_lists:
        parser.error("--protocol listed needs --split-lists")
    if options.protocol == "artist" and not options.artists:
        parser.error("--protocol artist needs --artists")
    if options.protocol == "segment" and options.descriptors:
        parser.error("--protocol segment divides windows. --descriptors has one a track")
    backbones = any(CATALOG[name].backbone for name in options.models)
    idle = {
        "split_lists": options.protocol != "listed",
        "lists": options.protocol != "listed",
        "scored": options.protocol != "listed",
        "artists": options.protocol != "artist",
        "real_music": not options.spectrograms,
        "weights": not backbones,
        "fine_tune": not {"musicnn", "musicvgg"} & set(options.models),
    }
    for name, useless in idle.items():
        if useless and getattr(options, name):
            parser.error(f"--{name.replace('_', '-')} has no effect on what is measured here")
    options.lists = options.lists or "filtered"
    options.scored = options.scored or "valid"
    wanted = feature_names(options.models)
    if options.spectrograms and "music_mel" in wanted and not options.real_music:
        parser.error("musicnn and musicvgg on --spectrograms need --real-music")
    if options.descriptors and wanted != ("descriptors",):
        parser.error(f"--descriptors is for ann. Received: {', '.join(options.models)}")
    for flag in ("data", "descriptors", "spectrograms", "split_lists", "artists", "real_music"):
        path = getattr(options, flag)
        if path and not path.exists():
            parser.error(f"--{flag.replace('_', '-')}: there is no {path}")
    try:
        for name in options.models:
            if name != ENSEMBLE:
                check_weights(name, settings_of(name, options, seed=0).model.weights)
    except WeightsError as error:
        parser.error(str(error))
    return options


def load(options: argparse.Namespace) -> sources.Collection:
    names = feature_names(options.models)
    if options.data:
        return sources.from_audio(options.data, names)
    if options.descriptors:
        return sources.from_descriptors(options.descriptors)
    return sources.from_spectrograms(options.spectrograms, names, options.real_music)


def rounds(
    options: argparse.Namespace, collection: sources.Collection, *, seed: int
) -> list[Round]:
    if options.protocol == "listed":
        names = ["train"] if options.scored == "valid" else ["train", "valid"]
        learnt = [options.split_lists / f"{name}_{options.lists}.txt" for name in names]
        scored = options.split_lists / f"{options.scored}_{options.lists}.txt"
        return [protocols.listed(collection.track_ids, learnt, scored)]
    if options.protocol == "artist":
        artists = protocols.read_artists(options.artists, collection.track_ids)
        return protocols.by_artist(collection.labels, artists, seed=seed)
    divided = protocols.folds(collection.labels, seed=seed)
    return divided if options.protocol == "folds" else divided[:1]


def as_segments(collection: sources.Collection) -> sources.Collection:
    """Takes every window for a track of its own: what makes the `segment` protocol leak."""
    features, matrices, windows = {}, {}, 0
    for name, described in collection.features.items():
        windows = described.windows_per_clip
        used = collection.matrices[name][:, : windows * described.window_frames]
        matrices[name] = used.reshape(-1, *described.window_shape)
        features[name] = dataclasses.replace(described, frames_per_clip=described.window_frames)
    return sources.Collection(
        collection.name,
        tuple(track_id for track_id in collection.track_ids for _ in range(windows)),
        np.repeat(collection.labels, windows),
        matrices,
        features,
    )


def settings_of(name: str, options: argparse.Namespace, *, seed: int) -> TrainingSettings:
    settings = dataclasses.replace(recommended(name), seed=seed)
    model = settings.model
    if options.weights and CATALOG[name].backbone:
        model = dataclasses.replace(model, weights=options.weights)
    if options.fine_tune:
        model = dataclasses.replace(model, fine_tune=True)
    settings = dataclasses.replace(settings, model=model)
    if options.protocol == "segment":
        # Each window is a track of its own there: as many steps as the tracks would take, or more.
        settings = dataclasses.replace(settings, windows_per_track=1)
    return dataclasses.replace(settings, epochs=options.epochs) if options.epochs else settings


def split_name(options: argparse.Namespace) -> str:
    """What is learnt from and what is scored, for the results file."""
    if options.protocol == "listed":
        learnt = "train" if options.scored == "valid" else "train and valid"
        return f"{options.lists}: {learnt} to {options.scored}"
    return {
        "track": "one of five stratified folds",
        "folds": "five stratified folds",
        "artist": "five folds by artist",
        "segment": "one of five folds of windows",
    }[options.protocol]


def settings_name(name: str, options: argparse.Namespace) -> str:
    """The settings that are not the model's own, or an ensemble's members."""
    if name == ENSEMBLE:
        members = options.models[: options.models.index(ENSEMBLE)]
        return "+".join(members)
    if name == SVM:
        return ""
    own, used = recommended(name), settings_of(name, options, seed=0)
    given = {
        "epochs": used.epochs if used.epochs != own.epochs and not used.model.frozen else None,
        "weights": used.model.weights if used.model.weights != own.model.weights else None,
        "fine_tune": True if used.model.fine_tune != own.model.fine_tune else None,
    }
    return " ".join(f"{key}={value}" for key, value in given.items() if value is not None)


def frozen_outputs(
    name: str, collection: sources.Collection, settings: TrainingSettings
) -> np.ndarray | None:
    """What a body that stays frozen makes of every window of every track, whoever learns from it.

    Returns:
      float32 [tracks, windows, units]; None where the body is trained, or what it reads depends on
      who learns (standardised features).
    """
    described = collection.features[CATALOG[name].feature]
    if described.standardised or not settings.model.frozen:
        return None
    from components.trainer.training import with_body_outputs
    from components.trainer.windows import Tracks

    tracks = Tracks.from_arrays(collection.matrices[described.name], collection.labels)
    (asked,) = with_body_outputs(
        name, (tracks,), settings=settings, feature=described, genres=GENRES
    )
    return asked.body_outputs


def fit_and_answer(
    name: str,
    collection: sources.Collection,
    division: Round,
    settings: TrainingSettings,
    frozen: np.ndarray | None,
) -> np.ndarray:
    """Trains on one side and answers for the other.

    Args:
      name: The model.
      collection: All tracks.
      division: The two sides.
      settings: How to train.
      frozen: `frozen_outputs` of the model.

    Returns:
      Probabilities, float32 [scored, windows, genres].
    """
    import keras

    from components.trainer.epoch_progress import EpochProgress
    from components.trainer.models import heads
    from components.trainer.training import train, window_outputs
    from components.trainer.windows import Tracks

    described = collection.features[CATALOG[name].feature]
    matrices = collection.matrices[described.name]
    learnt, scored = matrices[division.training], matrices[division.scored]
    if described.standardised:
        mean, deviation = learnt.mean(axis=(0, 1)), learnt.std(axis=(0, 1))
        scale = np.where(deviation > 0.0, deviation, 1.0)
        learnt, scored = (learnt - mean) / scale, (scored - mean) / scale
    result = train(
        name,
        Tracks.from_arrays(
            learnt,
            collection.labels[division.training],
            body_outputs=None if frozen is None else frozen[division.training],
        ),
        None,
        settings=settings,
        feature=described,
        genres=GENRES,
        callbacks=[EpochProgress(settings.most_epochs)],
    )
    if frozen is None:
        unseen = Tracks.from_arrays(scored, collection.labels[division.scored])
        answers = window_outputs(result.model, unseen, feature=described)
    else:
        found = frozen[division.scored]
        head = heads.head_of(result.model)
        answers = head.predict(found.reshape(-1, found.shape[-1]), batch_size=1024, verbose=0)
        answers = answers.reshape(*found.shape[:2], -1)
    keras.backend.clear_session()
    return answers


def peer_answers(collection: sources.Collection, division: Round) -> np.ndarray:
    """scikit-learn's RBF support vector machine on the same columns: [scored, 1, genres]."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    values = collection.matrices["descriptors"].mean(axis=1)
    machine = make_pipeline(StandardScaler(), SVC(C=10.0))
    machine.fit(values[division.training], collection.labels[division.training])
    found = machine.predict(values[division.scored])
    return np.eye(len(GENRES))[found][:, np.newaxis]


def run(options: argparse.Namespace, console: Console) -> list[dict[str, object]]:
    """Trains and scores everything that the options ask for; one row a model, seed and round.

    Args:
      options: What `parse_arguments` returns.
      console: Where a row appears as it is measured, and on a terminal what is on now.

    Raises:
      UserError: The data cannot be read, or not be divided as asked; nothing has been trained.
    """
    display = StageDisplay(console)
    with display, progress.listening(display.report):
        with display.stage("reading the tracks"):
            collection = load(options)
        if options.protocol == "segment":
            collection = as_segments(collection)
        divisions = {seed: rounds(options, collection, seed=seed) for seed in options.seeds}
        return _measure(options, collection, divisions, console, display)


def _measure(
    options: argparse.Namespace,
    collection: sources.Collection,
    divisions: dict[int, list[Round]],
    console: Console,
    display: StageDisplay,
) -> list[dict[str, object]]:
    from components.trainer.scoring import mean_probabilities, track_scores, window_scores

    rows: list[dict[str, object]] = []
    frozen: dict[str, np.ndarray | None] = {}

    def note(
        name: str, seed: int, number: int, division: Round, answers: np.ndarray, seconds: float
    ) -> None:
        labels = collection.labels[division.scored]
        tracks, windows = track_scores(answers, labels), window_scores(answers, labels)
        row = dict(
            zip(
                FIELDS,
                (
                    collection.name,
                    options.protocol,
                    split_name(options),
                    name,
                    settings_name(name, options),
                    seed,
                    number,
                    len(division.training),
                    len(division.scored),
                    round(tracks.accuracy, 4),
                    round(tracks.macro_f1, 4),
                    round(windows.accuracy, 4),
                    round(seconds, 1),
                ),
                strict=True,
            )
        )
        rows.append(row)
        append(options.results, row)
        console.print("  ".join(str(value) for value in row.values()), highlight=False)

    console.print("  ".join(FIELDS), highlight=False)
    for seed, divided in divisions.items():
        for number, division in enumerate(divided):
            branches: list[np.ndarray] = []
            for name in options.models:
                started = time.monotonic()
                if name == ENSEMBLE:
                    answers = mean_probabilities(branches)[:, np.newaxis]
                else:
                    settings = settings_of(name, options, seed=seed)
                    with display.stage(f"{name}, seed {seed}, round {number + 1}/{len(divided)}"):
                        if name not in frozen:
                            frozen[name] = frozen_outputs(name, collection, settings)
                        answers = fit_and_answer(name, collection, division, settings, frozen[name])
                    branches.append(answers.mean(axis=1))
                note(name, seed, number, division, answers, time.monotonic() - started)
            if options.descriptors:
                started = time.monotonic()
                answers = peer_answers(collection, division)
                note(SVM, seed, number, division, answers, time.monotonic() - started)
    return rows


def summary(rows: Sequence[Mapping[str, object]]) -> str:
    """Accuracy of each model, each track counting once, and its spread over seeds."""
    by_model: dict[str, list[Mapping[str, object]]] = defaultdict(list)
    for row in rows:
        by_model[str(row["model"])].append(row)
    lines = [f"{'model':16}{'accuracy':>10}{'± over seeds':>14}{'seeds':>7}{'rounds':>8}"]
    for name, found in by_model.items():
        means = list(seed_means(found, "track_accuracy").values())
        lines.append(
            f"{name:16}{np.mean(means):10.3f}{np.std(means):14.3f}{len(means):7d}{len(found):8d}"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    quiet.before_tensorflow()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # retracing, for every small model
    level = "window" if options.protocol == "segment" else "track"
    try:
        prepare(options.results)
        rows = run(options, Console(soft_wrap=True))
    except UserError as error:
        sys.exit(f"python -m benchmarks.accuracy: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"\n{rows[0]['data']}, protocol {options.protocol}, {level} level")
    print(summary(rows))
    print(f"rows appended to {options.results}")


if __name__ == "__main__":
    main()
