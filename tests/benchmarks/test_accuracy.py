"""The accuracy benchmark on constructed data, where the right figures are known."""

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks import accuracy, protocols, sources
from benchmarks.results import read
from components.audio import codec
from components.audio.settings import AudioSettings
from components.common import progress
from components.common.errors import UserError
from components.gtzan.genres import GENRES


@pytest.fixture(scope="module")
def spectrograms(tmp_path_factory) -> Path:
    """Twenty tracks whose sound tells the track and nothing of its genre, as uint8 pictures."""
    rng = np.random.default_rng(0)
    track_ids = [f"{genre}.{number:05d}" for genre in GENRES[:4] for number in range(5)]
    colour = rng.normal(scale=40.0, size=(len(track_ids), 1, 128))
    pictures = 128 + colour + rng.normal(scale=4.0, size=(len(track_ids), 496, 128))
    path = tmp_path_factory.mktemp("spectrograms") / "log_mel.npz"
    np.savez(path, log_mel=np.clip(pictures, 0, 255).astype(np.uint8), track_id=track_ids)
    return path


def test_random_segments_score_the_track_and_not_the_genre(spectrograms, tmp_path, monkeypatch):
    """The leak: windows of a track on both sides let a model that learnt nothing shine."""
    results = tmp_path / "results.csv"
    monkeypatch.setattr(accuracy, "recommended", quick)
    common = ["--spectrograms", str(spectrograms), "--models", "lstm", "--results", str(results)]
    accuracy.main([*common, "--protocol", "segment"])
    accuracy.main([*common, "--protocol", "track"])
    with results.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["protocol"] for row in rows] == ["segment", "track"]
    assert rows[1]["split"] == "one of five stratified folds"
    leaked, honest = (float(row["window_accuracy"]) for row in rows)
    assert leaked > 0.9
    assert honest < 0.6
    assert rows[1]["learnt_tracks"] == "16" and rows[1]["scored_tracks"] == "4"


def quick(name, weights=""):
    import dataclasses

    from components.trainer.catalog import recommended
    from components.trainer.settings import AugmentationSettings

    return dataclasses.replace(
        recommended(name, weights),
        augmentation=AugmentationSettings(),
        epochs=10,
        windows_per_track=2,
        learning_rate=5e-3,
    )


def test_folds_score_each_track_once():
    labels = np.repeat(np.arange(10), 7)
    divided = protocols.folds(labels, seed=1)
    scored = np.concatenate([division.scored for division in divided])
    assert sorted(scored) == list(range(70))
    for division in divided:
        assert not set(division.training) & set(division.scored)
        assert set(labels[division.training]) == set(range(10))


def test_no_artist_is_on_both_sides():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 20)
    artists = [f"{label}-{rng.integers(8)}" for label in labels]
    for division in protocols.by_artist(labels, artists, seed=0):
        sides = [
            {artists[place] for place in side} for side in (division.training, division.scored)
        ]
        assert not sides[0] & sides[1]


def test_lists_name_the_tracks_of_each_side(tmp_path):
    (tmp_path / "train.txt").write_text("blues/blues.00001.wav\njazz/jazz.00002.wav\n")
    (tmp_path / "valid.txt").write_text("blues/blues.00000.wav\nblues/blues.00077.wav\n")
    track_ids = ["blues.00000", "blues.00001", "jazz.00002"]
    division = protocols.listed(track_ids, [tmp_path / "train.txt"], tmp_path / "valid.txt")
    assert division.training.tolist() == [1, 2]
    assert division.scored.tolist() == [0]
    (tmp_path / "valid.txt").write_text("rock/rock.00000.wav\n")
    with pytest.raises(UserError, match="names no track"):
        protocols.listed(track_ids, [tmp_path / "train.txt"], tmp_path / "valid.txt")
    (tmp_path / "valid.txt").write_text("blues/blues.00000.wav\njazz/jazz.00002.wav\n")
    with pytest.raises(UserError, match=r"both learnt .* jazz.00002"):
        protocols.listed(track_ids, [tmp_path / "train.txt"], tmp_path / "valid.txt")


def test_what_cannot_be_divided_is_refused(tmp_path):
    with pytest.raises(UserError, match="Received: 4 of blues"):
        protocols.folds(np.repeat([0, 1], [4, 5]), seed=0)
    with pytest.raises(UserError, match="Received: 2 of 10 tracks"):
        protocols.by_artist(np.repeat([0, 1], 5), ["one"] * 5 + ["other"] * 5, seed=0)
    (tmp_path / "artists.csv").write_text("track,who\nblues.00000,B.B. King\n")
    with pytest.raises(UserError, match="columns track_id and artist"):
        protocols.read_artists(tmp_path / "artists.csv", ["blues.00000"])
    (tmp_path / "artists.csv").write_text("track_id,artist\nblues.00000,B.B. King\n")
    with pytest.raises(UserError, match="artist of none of the tracks"):
        protocols.read_artists(tmp_path / "artists.csv", ["jazz.00000"])


def test_spectrograms_take_real_musics_distribution(spectrograms):
    rng = np.random.default_rng(0)
    from components.audio.features import feature
    from components.audio.settings import AudioSettings

    described = feature("music_mel", AudioSettings())
    real = rng.gamma(2.0, size=(3, 200, described.bins)) * np.linspace(1, 3, described.bins)
    with np.load(spectrograms) as archive:
        mapped = sources._as_music_mel(archive["log_mel"], real, described)
    assert mapped.shape == (20, *described.clip_shape)
    for quantile in (0.1, 0.5, 0.9):
        wanted = np.quantile(real, quantile, axis=(0, 1))
        np.testing.assert_allclose(np.quantile(mapped, quantile, axis=(0, 1)), wanted, rtol=0.1)


def test_ensemble_and_peer_are_scored_beside_the_models(tmp_path, capsys):
    rng = np.random.default_rng(0)
    path = tmp_path / "features.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "length", "one", "two", "label"])
        for number in range(40):
            genre = number % 4
            values = rng.normal(size=2) + 4 * np.array([genre // 2, genre % 2])
            writer.writerow([f"{GENRES[genre]}.{number:05d}.wav", 661794, *values, GENRES[genre]])
    results = tmp_path / "new" / "results.csv"
    what = ["--descriptors", str(path), "--models", "ann,ensemble", "--epochs", "20"]
    accuracy.main([*what, "--results", str(results)])
    settings = {row["model"]: row["settings"] for row in read(results)}
    assert settings == {"ann": "epochs=20", "ensemble": "ann", "svm": ""}
    printed = capsys.readouterr().out
    figures = {
        line.split()[0]: float(line.split()[1])
        for line in printed.splitlines()
        if line.split() and line.split()[0] in ("ann", "ensemble", "svm")
    }
    assert set(figures) == {"ann", "ensemble", "svm"}
    assert figures["ann"] == figures["ensemble"]
    assert figures["svm"] >= 0.8


def test_tracks_are_read_as_the_pipeline_reads_them(tmp_path, capsys):
    """What is no track and what is there twice is named; names need not be GTZAN's."""
    rng = np.random.default_rng(0)
    rate = AudioSettings().sample_rate_hz
    sounds = [rng.normal(scale=0.1, size=4 * rate).astype(np.float32) for _ in range(3)]
    for name, sound in zip(
        ("blues/one.wav", "Hip-Hop/two.wav", "rock/again.wav"), sounds[:2] + sounds[:1], strict=True
    ):
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(codec.encode_wav(sound, rate))
    (tmp_path / "music" / "rock" / "notes.mp3").write_text("not music")
    reports = []
    with progress.listening(lambda *report: reports.append(report)):
        collection = sources.from_audio(tmp_path / "music", ["log_mel"])
    assert collection.track_ids == ("hiphop.two", "blues.one")
    assert [GENRES[label] for label in collection.labels] == ["hiphop", "blues"]
    assert collection.matrices["log_mel"].shape[0] == 2
    printed = capsys.readouterr().out
    assert "rock/notes.mp3 is not audio" in printed
    assert "rock/again.wav is duplicate" in printed and "blues/one.wav" in printed
    assert ("files examined", 0, 4) in reports and ("tracks computed", 1, 2) in reports


def test_a_mistake_in_the_data_ends_without_a_stack_trace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where results go by default
    table = tmp_path / "features.csv"
    table.write_text("filename,length,one,label\nblues.00000.wav,1,loud,blues\n")
    with pytest.raises(SystemExit, match=r"features.csv .*'loud'"):
        accuracy.main(["--descriptors", str(table), "--models", "ann"])
    table.write_text("filename,length,one,label\npolka.00000.wav,1,2,polka\n")
    with pytest.raises(SystemExit, match="Received: polka"):
        accuracy.main(["--descriptors", str(table), "--models", "ann"])
    table.write_text("filename,length,one,label\nblues.00000.0.wav,1,2,blues\n")
    with pytest.raises(SystemExit, match=r"pieces of tracks.*blues\.00000\.0"):
        accuracy.main(["--descriptors", str(table)])
    for name, content in (("no.npz", b"no archive"), ("cut.npz", b"PK\x03\x04")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SystemExit, match=r"an .npz file with log_mel"):
            accuracy.main(["--spectrograms", str(tmp_path / name)])
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(SystemExit, match=r"an .npz file with log_mel"):
        accuracy.main(["--spectrograms", str(tmp_path / "one.npy")])
    with pytest.raises(SystemExit, match="no audio files"):
        accuracy.main(["--data", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"--results cannot be written .*features.csv"):
        accuracy.main(["--data", str(tmp_path), "--results", str(table / "results.csv")])
    with pytest.raises(SystemExit, match="no results file of benchmarks"):
        accuracy.main(["--data", str(tmp_path), "--results", str(table)])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--data", ".", "--models", "resnet"], "Received: resnet"),
        (["--data", ".", "--protocol", "listed"], "needs --split-lists"),
        (["--data", ".", "--protocol", "artist"], "needs --artists"),
        (["--spectrograms", "x.npz", "--models", "musicnn"], "need --real-music"),
        (["--descriptors", "x.csv", "--models", "cnn"], "is for ann"),
        (["--data", "nowhere"], "--data: there is no nowhere"),
        (["--data", ".", "--seeds", "one"], "Received: one"),
        (["--data", ".", "--seeds", "-1"], "Received: (-1,)"),
        (["--data", ".", "--epochs", "0"], "Received: 0"),
        (["--data", ".", "--weights", "none"], "--weights has no effect"),
        (["--data", ".", "--scored", "test"], "--scored has no effect"),
        (["--descriptors", "x.csv", "--protocol", "segment"], "has one a track"),
        (["--data", ".", "--models", "ensemble,cnn"], "named before it"),
        (["--data", ".", "--models", "vgg16", "--weights", "no.h5"], "Received: 'no.h5'"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, complaint, capsys):
    with pytest.raises(SystemExit):
        accuracy.parse_arguments(arguments)
    assert complaint in capsys.readouterr().err
