"""What trainers keep of the validation split, and the ensemble that is made of it."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.types import standard_artifacts

from components.audio.extraction import extract
from components.audio.settings import AudioSettings
from components.common import answers, calibration, remarks
from components.common.metrics import score
from components.common.temperature import scaled
from components.trainer import validation
from components.trainer.release import membership, model_run
from components.trainer.release.ensemble import Executor
from components.trainer.release.export import standardisation
from components.trainer.training.loop import train
from tests.conftest import chord
from tests.trainer.conftest import GENRE_NAMES, coloured, described, tiny

TRACKS = 12  # enough for a temperature to be fitted


def trained(name, folder, *, frames):
    """Trains a tiny model and keeps its run, with validation tracks of given lengths."""
    reads = described(name, AudioSettings())
    names = [f"{GENRE_NAMES[number % 4]}.{number:05d}" for number in range(TRACKS)]
    split = coloured(reads, TRACKS, seed=1)
    split = dataclasses.replace(split, frames=frames(reads), track_ids=tuple(names))
    chosen = tiny(name, epochs=3, learning_rate=5e-3)
    result = train(name, coloured(reads, 8), split, settings=chosen, genres=GENRE_NAMES)
    model_run.save(str(folder), result, model_name=name, settings=chosen)
    validation.write(str(folder), *validation.calibrated(result.answers))
    return result, split


def whole(reads):
    return np.full((TRACKS, 1), reads.frames_per_clip)


def shortened(reads):
    """From one window to all ten, in the frames of any feature."""
    return (np.arange(TRACKS) % 10 + 1)[:, np.newaxis] * reads.window_frames


def test_the_best_network_s_answers_are_kept_and_score_as_training_said(tmp_path):
    result, split = trained("lstm", tmp_path, frames=shortened)
    stored, fitted = validation.read(str(tmp_path)), calibration.read(str(tmp_path))
    best = result.best_epoch
    own, served = (
        score(each.probabilities, each.labels)
        for each in (validation.at_temperature(stored, 1.0), stored)
    )
    assert own.accuracy == served.accuracy == result.history["val_track_accuracy"][best]
    assert own.loss == pytest.approx(result.history["val_track_loss"][best], rel=1e-5)
    assert fitted.temperature == stored.temperature != 1.0
    assert fitted.before.log_loss == pytest.approx(own.loss, rel=1e-5)
    assert fitted.after.log_loss == pytest.approx(served.loss, rel=1e-5)
    assert stored.track_ids == tuple(sorted(split.track_ids))
    by_name = {name: number % 10 + 1 for number, name in enumerate(split.track_ids)}
    assert stored.counts.sum(axis=1).tolist() == [by_name[name] for name in stored.track_ids]
    windows = stored.window_probabilities
    again = model_run.load_branch(str(tmp_path), AudioSettings()).network
    first = next(split.dataset.as_numpy_iterator())[0][
        : described("lstm", AudioSettings()).window_frames
    ]
    row = stored.track_ids.index(split.track_ids[0])
    served = scaled(again(first[np.newaxis])[0], fitted.temperature)
    np.testing.assert_allclose(served, windows[row, 0], atol=1e-5)


def put_together(tmp_path, names, graph_folder):
    """Runs EnsembleTrainer's executor on the runs of `ann` and `lstm` below `tmp_path`."""
    config = {
        "models": names,
        "audio": {},
        "genres": list(GENRE_NAMES),
        "serving_name": "genre",
    }
    inputs = {f"model_run_{name}": standard_artifacts.ModelRun() for name in names}
    for name in names:
        inputs[f"model_run_{name}"].uri = str(tmp_path / name)
    for feature_name in ("descriptors", "mfcc"):
        graph = inputs[f"transform_graph_{feature_name}"] = standard_artifacts.TransformGraph()
        graph.uri = str(graph_folder)
    outputs = {"model": standard_artifacts.Model(), "model_run": standard_artifacts.ModelRun()}
    for key, artifact in outputs.items():
        artifact.uri = str(tmp_path / "ensemble" / key)
    Executor().Do(
        {key: [artifact] for key, artifact in inputs.items()},
        {key: [artifact] for key, artifact in outputs.items()},
        {"config": json.dumps(config)},
    )
    return tmp_path / "ensemble"


def test_the_ensemble_keeps_the_mean_of_its_branches(tmp_path, transformed):
    frames = {"ann": whole, "lstm": shortened}  # as if the branches differed in a window
    for name in frames:
        trained(name, tmp_path / name, frames=frames[name])
    folder = put_together(tmp_path, list(frames), transformed[0])
    assert (folder / "model").is_dir()
    assert f"chosen on {TRACKS} validation tracks" in remarks.read(str(folder / "model_run"))[0]

    ann, lstm = (validation.read(str(tmp_path / name)) for name in frames)
    both = validation.read(str(tmp_path / "ensemble" / "model_run"))
    np.testing.assert_array_equal(both.counts, lstm.counts)  # those that every branch has
    # The branches' own probabilities are averaged, and the mean has a temperature of its own.
    temperatures = {member.temperature for member in (ann, lstm, both)}
    assert len(temperatures) == 3 and 1.0 not in temperatures
    ann, lstm = (validation.at_temperature(member, 1.0) for member in (ann, lstm))
    pairs = np.stack(
        [
            [
                member.window_probabilities[row][lstm.counts[row]].mean(axis=0)
                for member in (ann, lstm)
            ]
            for row in range(TRACKS)
        ]
    )
    weights = membership.choose(pairs.swapaxes(0, 1), ann.labels, ann.track_ids).weights_without
    means = np.einsum("tmg,tm->tg", pairs, weights)
    scores = score(both.probabilities, both.labels)
    expected = score(scaled(means, both.temperature), ann.labels)
    assert scores.accuracy == expected.accuracy and scores.macro_f1 == expected.macro_f1
    assert scores.loss == pytest.approx(expected.loss, rel=1e-5)

    # Had validation had more tracks, on which `lstm` is at sea, `ann` alone would be released.
    labels = np.arange(40) % len(GENRE_NAMES)
    sure = np.full((40, 10, len(GENRE_NAMES)), 0.1)
    sure[np.arange(40), :, labels] = 0.7
    for name, windows in (("ann", sure), ("lstm", sure[::-1])):
        tracks = [f"{number:02d}" for number in range(40)]
        counts = np.ones((40, 10), bool)
        answers.write(
            str(tmp_path / name),
            answers.VALIDATION,
            validation.in_order(tracks, labels, windows, counts, clips=1),
        )
    put_together(tmp_path, list(frames), transformed[0])
    members = json.loads((folder / "model_run" / "members.json").read_text())
    assert members["weights"] == {"ann": 1.0, "lstm": 0.0}
    alone = model_run.load_branch(str(tmp_path / "ann"), AudioSettings())
    released = tf.saved_model.load(str(folder / "model" / "Format-Serving"))
    sound = chord(1, AudioSettings())[np.newaxis]
    features, _ = extract(["descriptors"], tf.constant(sound), AudioSettings())
    matrix = features["descriptors"]
    served = released.signatures["classify_audio"](audio=tf.constant(sound))
    transform_layer = tft.TFTransformOutput(str(transformed[0])).transform_features_layer()
    statistics = standardisation(transform_layer, alone.feature, AudioSettings())
    windows = (matrix[0] - statistics.mean) / statistics.deviation
    own = alone.network(windows[:, tf.newaxis]).numpy().mean(axis=0)
    temperature = validation.read(str(folder / "model_run")).temperature
    expected_alone = scaled(own, temperature)
    np.testing.assert_allclose(served["probabilities"][0], expected_alone, atol=1e-3)


def test_branches_of_different_tracks_make_no_ensemble():
    member = validation.in_order(
        ["a", "b"], np.array([0, 1]), np.ones((2, 1, 2)), np.ones((2, 1), bool), clips=1
    )
    other = dataclasses.replace(member, track_ids=("a", "c"))
    with pytest.raises(ValueError, match="different tracks"):
        validation.shared_windows([member, other])
