"""Measures the accuracy of models under a stated protocol, with the pipeline's training code.

    python -m benchmarks.accuracy --data FOLDER --models musicnn --protocol folds --seeds 0,1,2
    python -m benchmarks.accuracy --descriptors features_30_sec.csv --protocol listed \
        --split-lists FOLDER
    python -m benchmarks.accuracy --spectrograms log_mel_without_test.npz --real-music FOLDER \
        --models cnn,musicnn,ensemble --protocol listed --split-lists FOLDER

Training never uses the scored tracks: without early stopping, models train for all their epochs and
keep their last weights. `segment` divides windows instead of tracks, to show how much of such a
figure is leakage.
"""

import argparse
import dataclasses
import logging
import os
import sys
import tempfile
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
from benchmarks.unseen import UNSEEN
from components.audio.deformations import DEFORMATIONS
from components.common import progress, runtime
from components.common.errors import UserError
from components.gtzan.genres import GENRES
from components.trainer.catalog import (
    CATALOG,
    feature_names,
    is_branch,
    model_of,
    recommended,
    seed_offset,
)
from components.trainer.checks import check_weights
from components.trainer.model_entry import ModelEntry
from components.trainer.settings import LARGEST_SEED, TrainingSettings
from components.trainer.weight_sources import WeightsError
from pipeline.local.console import StageDisplay

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
        "--models",
        help="names of the catalog (default cnn; ann with --descriptors); crnn-2 is crnn with the "
        "next seed, for an ensemble",
    )
    parser.add_argument("--protocol", choices=protocols.PROTOCOLS, default="track")
    parser.add_argument("--seeds", default="0", help="comma-separated (default 0)")
    parser.add_argument("--split-lists", type=Path, help="folder of train_/valid_/test_*.txt")
    parser.add_argument("--split-family", help="which of the lists (default filtered)")
    parser.add_argument("--scored", choices=("valid", "test"), help="which list (default valid)")
    parser.add_argument("--artists", type=Path, help="artists.csv, for --protocol artist")
    parser.add_argument("--real-music", type=Path, help="real tracks, for --spectrograms music_mel")
    parser.add_argument(
        "--weights",
        help="none, imagenet or a file for the backbones; a SavedModel's folder for embedding",
    )
    parser.add_argument("--fine-tune", action="store_true", help="train pretrained bodies on, too")
    parser.add_argument(
        "--copies", type=int, default=0, help="copies of each training track (needs --data)"
    )
    parser.add_argument(
        "--deformed", action="store_true", help="score deformed sound, too (needs --data)"
    )
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
    unknown = [name for name in options.models if not is_branch(name)]
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
    starts_from = any(entry_of(name).takes(options.weights or "") for name in options.models)
    idle = {
        "split_lists": options.protocol != "listed",
        "split_family": options.protocol != "listed",
        "scored": options.protocol != "listed",
        "artists": options.protocol != "artist",
        "real_music": not options.spectrograms,
        "weights": not starts_from,
        "copies": not options.data or options.protocol == "segment",
        "deformed": not options.data or options.protocol == "segment",
        "fine_tune": not any(entry_of(name).frozen_by_default for name in options.models),
    }
    for name, useless in idle.items():
        if useless and getattr(options, name):
            parser.error(f"--{name.replace('_', '-')} has no effect on what is measured here")
    options.split_family = options.split_family or "filtered"
    options.scored = options.scored or "valid"
    required = feature_names(options.models)
    if options.spectrograms and "music_mel" in required and not options.real_music:
        readers = [name for name in options.models if entry_of(name).feature == "music_mel"]
        parser.error(f"{' and '.join(readers)} on --spectrograms need --real-music")
    if options.descriptors and required != ("descriptors",):
        parser.error(f"--descriptors is for ann. Received: {', '.join(options.models)}")
    for flag in ("data", "descriptors", "spectrograms", "split_lists", "artists", "real_music"):
        path = getattr(options, flag)
        if path and not path.exists():
            parser.error(f"--{flag.replace('_', '-')}: there is no {path}")
    try:
        for name in options.models:
            if name != ENSEMBLE:
                check_weights(model_of(name), settings_of(name, options, seed=0).model.weights)
    except WeightsError as error:
        parser.error(str(error))
    return options


def entry_of(branch: str) -> ModelEntry:
    return CATALOG[model_of(branch)]


def load(options: argparse.Namespace) -> sources.Collection:
    names = feature_names(options.models)
    if options.data:
        copies = [str(copy) for copy in range(1, options.copies + 1)]
        return sources.from_audio(options.data, names, ["", *copies, *scored_versions(options)[1:]])
    if options.descriptors:
        return sources.from_descriptors(options.descriptors)
    return sources.from_spectrograms(options.spectrograms, names, options.real_music)


def scored_versions(options: argparse.Namespace) -> list[str]:
    """What is scored: the sound as it is, and with --deformed under each deformation."""
    deformed = [deformation.name for deformation in (*DEFORMATIONS, *UNSEEN)]
    return ["", *deformed] if options.deformed else [""]


def with_versions(
    division: Round, collection: sources.Collection, options: argparse.Namespace
) -> Round:
    """Adds copies to the training tracks, and the deformed versions to the scored ones."""

    def rows(places: np.ndarray, versions: Sequence[str]) -> np.ndarray:
        blocks = [collection.versions.index(version) for version in versions]
        return np.concatenate([places + block * collection.count for block in blocks])

    copies = [version for version in collection.versions if version.isdigit()]
    return Round(
        rows(division.training, ["", *copies]), rows(division.scored, scored_versions(options))
    )


def rounds(
    options: argparse.Namespace, collection: sources.Collection, *, seed: int
) -> list[Round]:
    track_ids = collection.track_ids[: collection.count]
    labels = collection.labels[: collection.count]
    if options.protocol == "listed":
        names = ["train"] if options.scored == "valid" else ["train", "valid"]
        learnt = [options.split_lists / f"{name}_{options.split_family}.txt" for name in names]
        scored = options.split_lists / f"{options.scored}_{options.split_family}.txt"
        return [protocols.listed(track_ids, learnt, scored)]
    if options.protocol == "artist":
        artists = protocols.read_artists(options.artists, track_ids)
        return protocols.by_artist(labels, artists, seed=seed)
    divided = protocols.folds(labels, seed=seed)
    return divided if options.protocol == "folds" else divided[:1]


def as_segments(collection: sources.Collection) -> sources.Collection:
    """Turns every window into a track of its own, which makes the `segment` protocol leak."""
    features, matrices = {}, {}
    counts = np.min(
        [
            collection.frames[name][:, 0] // feature.window_frames
            for name, feature in collection.features.items()
        ],
        axis=0,
    )
    for name, feature in collection.features.items():
        matrices[name] = np.concatenate(
            [
                matrix[: count * feature.window_frames].reshape(-1, *feature.window_shape)
                for matrix, count in zip(collection.matrices[name], counts, strict=True)
            ]
        )
        features[name] = dataclasses.replace(feature, frames_per_clip=feature.window_frames)
    return sources.Collection.of_whole_clips(
        collection.name,
        tuple(np.repeat(collection.track_ids, counts).tolist()),
        np.repeat(collection.labels, counts),
        matrices,
        features,
    )


def settings_of(name: str, options: argparse.Namespace, *, seed: int) -> TrainingSettings:
    seed = (seed + seed_offset(name)) % (LARGEST_SEED + 1)
    settings = recommended(model_of(name), options.weights or "")
    settings = dataclasses.replace(settings, seed=seed)
    if options.fine_tune:
        model = dataclasses.replace(settings.model, fine_tune=True)
        settings = dataclasses.replace(settings, model=model)
    if options.protocol == "segment":
        # Every window is a track of its own, so that an epoch has at least as many steps as usual.
        settings = dataclasses.replace(settings, windows_per_track=1)
    return dataclasses.replace(settings, epochs=options.epochs) if options.epochs else settings


def split_name(options: argparse.Namespace) -> str:
    """Names training and scored tracks, for the results file."""
    if options.protocol == "listed":
        learnt = "train" if options.scored == "valid" else "train and valid"
        return f"{options.split_family}: {learnt} to {options.scored}"
    return {
        "track": "one of five stratified folds",
        "folds": "five stratified folds",
        "artist": "five folds by artist",
        "segment": "one of five folds of windows",
    }[options.protocol]


def settings_name(name: str, options: argparse.Namespace) -> str:
    """The settings that differ from the recommended ones; of an ensemble its members."""
    if name == ENSEMBLE:
        members = options.models[: options.models.index(ENSEMBLE)]
        return "+".join(members)
    if name == SVM:
        return ""
    own, used = recommended(model_of(name)), settings_of(name, options, seed=0)
    epochs = recommended(model_of(name), options.weights or "").epochs
    changed = {
        "epochs": used.epochs if used.epochs != epochs and not used.model.frozen else None,
        "weights": used.model.weights if used.model.weights != own.model.weights else None,
        "fine_tune": True if used.model.fine_tune != own.model.fine_tune else None,
        "copies": options.copies or None,
    }
    return " ".join(f"{key}={value}" for key, value in changed.items() if value is not None)


def frozen_outputs(
    name: str, collection: sources.Collection, settings: TrainingSettings
) -> np.ndarray | None:
    """Computes a frozen body's outputs for all windows, so that all rounds can share them.

    Returns:
      float32 [tracks, windows, units]; None if the body is trained, or if its input depends on the
      training tracks (standardised features).
    """
    feature = collection.features[entry_of(name).feature]
    if feature.standardised or not settings.model.frozen:
        return None
    from components.trainer.training.body_outputs import with_body_outputs

    tracks = collection.tracks(feature.name, np.arange(len(collection.labels)))
    with tempfile.TemporaryDirectory(prefix="gatefold-outputs-") as folder:
        (with_outputs,) = with_body_outputs(
            model_of(name),
            (tracks,),
            settings=settings,
            genres=GENRES,
            folder=Path(folder),
        )
        if with_outputs.body_outputs is None:
            return None
        everything = np.array(with_outputs.body_outputs)
    return everything.reshape(tracks.count, feature.windows_per_track, -1)


def fit_and_answer(
    name: str,
    collection: sources.Collection,
    division: Round,
    settings: TrainingSettings,
    frozen: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Trains on one part of a division and predicts the other.

    Args:
      name: The model.
      collection: All tracks.
      division: The two parts.
      settings: Training settings.
      frozen: `frozen_outputs` of the model.

    Returns:
      Probabilities, float32 [scored, windows, genres], and which windows count, bool
      [scored, windows].
    """
    import keras

    from components.trainer.parts import heads
    from components.trainer.training.body_outputs import window_outputs
    from components.trainer.training.epoch_progress import EpochProgress
    from components.trainer.training.loop import train

    feature = collection.features[entry_of(name).feature]
    if feature.standardised:
        collection = standardised(collection, feature.name, division.training)
    learnt = collection.tracks(feature.name, division.training)
    unseen = collection.tracks(feature.name, division.scored)
    if frozen is not None:
        values = frozen[division.training].reshape(-1, frozen.shape[-1])
        learnt = dataclasses.replace(learnt, body_outputs=values)
    result = train(
        model_of(name),
        learnt,
        None,
        settings=settings,
        genres=GENRES,
        callbacks=[EpochProgress(settings.most_epochs)],
    )
    for remark in result.remarks:
        print(remark, file=sys.stderr)
    if frozen is None:
        answers = window_outputs(result.model, unseen)
    else:
        outputs = frozen[division.scored]
        head = heads.head_of(result.model)
        answers = head.predict(outputs.reshape(-1, outputs.shape[-1]), batch_size=1024, verbose=0)
        answers = answers.reshape(*outputs.shape[:2], -1)
    keras.backend.clear_session()
    return answers, unseen.counting_windows


def standardised(
    collection: sources.Collection, feature_name: str, learnt: np.ndarray
) -> sources.Collection:
    """Standardises one feature by the sound of the tracks at `learnt`, as Transform does."""
    matrices, frames = collection.matrices[feature_name], collection.frames[feature_name]
    of_sound = np.arange(matrices.shape[1]) < frames[learnt]
    rows = matrices[learnt][of_sound]
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(deviation > 0.0, deviation, 1.0)
    return dataclasses.replace(collection, matrices={feature_name: (matrices - mean) / scale})


def peer_answers(collection: sources.Collection, division: Round) -> np.ndarray:
    """scikit-learn's RBF support vector machine on the same columns: [scored, genres]."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    values = collection.matrices["descriptors"].mean(axis=1)  # one row a track
    machine = make_pipeline(StandardScaler(), SVC(C=10.0))
    machine.fit(values[division.training], collection.labels[division.training])
    predicted = machine.predict(values[division.scored])
    return np.eye(len(GENRES))[predicted]


def one_window_a_track(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gives predictions for whole tracks the form of `fit_and_answer`'s result."""
    return probabilities[:, np.newaxis], np.ones((len(probabilities), 1), bool)


def run(options: argparse.Namespace, console: Console) -> list[dict[str, object]]:
    """Trains and scores the models of the options; one row per model, seed and round.

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
    from components.common.metrics import (
        track_means,
        track_scores,
        window_scores,
    )

    rows: list[dict[str, object]] = []
    frozen: dict[str, np.ndarray | None] = {}

    def note(
        name: str,
        seed: int,
        number: int,
        division: Round,
        answers: tuple[np.ndarray, np.ndarray],
        seconds: float,
    ) -> None:
        labels = collection.labels[division.scored]
        for place, version in enumerate(scored_versions(options)):
            of_version = slice(place * len(labels), (place + 1) * len(labels))
            probabilities, counts = (values[of_version] for values in answers)
            tracks = track_scores(probabilities, labels, counts)
            windows = window_scores(probabilities, labels, counts)
            confidence = float(track_means(probabilities, counts).max(axis=1).mean())
            row = {
                "data": collection.name,
                "protocol": options.protocol,
                "split": split_name(options),
                "model": name,
                "settings": settings_name(name, options),
                "seed": seed,
                "round": number,
                "learnt_tracks": len(division.training),
                "scored_tracks": len(division.scored),
                "track_accuracy": round(tracks.accuracy, 4),
                "track_macro_f1": round(tracks.macro_f1, 4),
                "window_accuracy": round(windows.accuracy, 4),
                "seconds": round(seconds, 1),
                "deformation": version,
                "track_loss": round(tracks.loss, 4),
                "track_confidence": round(confidence, 4),
            }
            rows.append(row)
            append(options.results, row)
            console.print("  ".join(str(value) for value in row.values()), highlight=False)

    console.print("  ".join(FIELDS), highlight=False)
    for seed, divided in divisions.items():
        for number, division in enumerate(divided):
            with_copies = with_versions(division, collection, options)
            branches: list[np.ndarray] = []
            for name in options.models:
                started = time.monotonic()
                if name == ENSEMBLE:
                    answers = one_window_a_track(np.mean(branches, axis=0))
                else:
                    settings = settings_of(name, options, seed=seed)
                    with display.stage(f"{name}, seed {seed}, round {number + 1}/{len(divided)}"):
                        if name not in frozen:
                            frozen[name] = frozen_outputs(name, collection, settings)
                        answers = fit_and_answer(
                            name, collection, with_copies, settings, frozen[name]
                        )
                    branches.append(track_means(*answers))
                note(name, seed, number, division, answers, time.monotonic() - started)
            if options.descriptors:
                started = time.monotonic()
                answers = one_window_a_track(peer_answers(collection, division))
                note(SVM, seed, number, division, answers, time.monotonic() - started)
    return rows


def summary(rows: Sequence[Mapping[str, object]]) -> str:
    """Accuracy of each model, each track counting once, and its spread over seeds."""
    by_model: dict[str, list[Mapping[str, object]]] = defaultdict(list)
    for row in rows:
        by_model[f"{row['model']} {row['deformation']}"].append(row)
    lines = [f"{'model':30}{'accuracy':>10}{'± over seeds':>14}{'seeds':>7}{'rounds':>8}"]
    for name, model_rows in by_model.items():
        means = list(seed_means(model_rows, "track_accuracy").values())
        lines.append(
            f"{name:30}{np.mean(means):10.3f}{np.std(means):14.3f}{len(means):7d}{len(model_rows):8d}"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    runtime.quieten()
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
