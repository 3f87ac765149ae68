"""The command line: what it means, what it refuses, and that it answers without TensorFlow."""

import os
import re
import subprocess
import sys

import pytest

from components.common.errors import UserError
from components.trainer.settings import ModelSettings
from pipeline import options
from pipeline.config import PipelineConfig
from tests.conftest import ROOT


def parse(*arguments: str) -> PipelineConfig:
    return options.parse(arguments)[0]


def run_cli(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "local_runner.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_arguments_it_is_the_synthetic_sample():
    config = parse()
    assert config.data.synthetic
    assert config.data.folder == options.SAMPLE_FOLDER


def test_flags_reach_the_configuration(tmp_path):
    artists = tmp_path / "artists.csv"
    artists.write_text("track_id,artist\n")
    config = parse(
        "--data", str(tmp_path), "--split", "artist", "--artists", str(artists), "--seed", "7",
        "--models", "ensemble,cnn,lstm", "--epochs", "3", "--min-accuracy", "0.25",
        "--beam-runner", "flink", "--flink-master", "host:8081",
        "--set", "audio.mel_bins=96", "--set", "training.augmentation.mixup=0",
    )  # fmt: skip
    assert config.models == ("cnn", "lstm", "ensemble")
    assert config.audio.mel_bins == 96
    assert config.gate.min_accuracy == 0.25
    training = config.training("cnn")
    assert (training.epochs, training.seed, training.augmentation.mixup) == (3, 7, 0.0)
    assert (config.beam.runner, config.beam.flink_master) == ("flink", "host:8081")


def test_clips_per_track_is_a_setting_of_the_sound():
    assert parse().audio.clips_per_track == 1
    assert parse("--clips-per-track", "3").audio.clips_per_track == 3


def test_near_duplicates_are_listed_unless_they_are_to_be_dropped():
    assert parse().data.duplicates == "warn"
    assert parse("--duplicates", "drop").data.duplicates == "drop"


def test_weights_reach_the_backbones_and_leave_the_others_alone():
    config = parse("--models", "vgg16,cnn,musicnn", "--weights", "none", "--fine-tune")
    assert config.training("vgg16").model.weights == "none"
    assert config.training("musicnn").model.weights == "msd"
    assert config.training("musicnn").model.fine_tune


def test_a_folder_is_a_saved_model_and_anything_else_is_for_backbones(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    folder = str(tmp_path)
    assert parse("--models", "embedding", "--weights", folder).training(
        "embedding"
    ).model == ModelSettings(weights=folder, fine_tune=False)
    everything = parse("--models", "all", "--weights", "none")
    assert {"vgg16", "musicnn", "ensemble"} < set(everything.models)
    assert "embedding" not in everything.models
    both = ["--models", "vgg16,embedding", "--set", "training.model.weights=none"]
    with pytest.raises(UserError, match="embedding is a head on a network of your own"):
        parse(*both)


def test_a_number_behind_a_model_is_its_next_seed():
    config = parse("--models", "cnn,cnn-2,cnn-3,ensemble", "--seed", "4294967294")
    assert [config.training(name).seed for name in config.trained_models] == [
        4294967294,
        4294967295,
        0,
    ]
    named = "-99 for another seed. Received: 'cnn-1' (did you mean cnn?), 'vgg17-2'"
    with pytest.raises(UserError, match=re.escape(named)):
        parse("--models", "cnn-1,vgg17-2")
    with pytest.raises(UserError, match=r"Received: 'ensemble-2' \(did you mean ensemble\?\)$"):
        parse("--models", "cnn,lstm,ensemble,ensemble-2")


def test_remote_folders_are_taken_as_they_are_and_metadata_stays_local():
    config = parse("--data", "s3://music/genres", "--output", "s3://music/out")
    assert config.data.folder == "s3://music/genres"
    assert config.serving_folder == "s3://music/out/serving/genre"
    assert not str(config.local_folder).startswith("s3:")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--data", "/does/not/exist"], "--data"),
        (["--output", "my [first] run"], "--output: TFX would take .* for patterns"),
        (["--models", "cnn,vgg17"], r"Received: 'vgg17' \(did you mean vgg\d+\?\)$"),
        (["--models", "cnn,tuba"], "Received: 'tuba'$"),
        (["--models", "cnn,\x1b[31m"], r"Received: '\\x1b\[31m'"),
        (["--models", ","], "--models"),
        (["--jobs", "0"], "--jobs must be 1 or more. Received: 0"),
        (["--jobs", "-1"], "--jobs must be 1 or more. Received: -1"),
        (["--models", "cnn,ensemble"], "ensemble"),
        (["--min-accuracy", "1.5"], "--min-accuracy"),
        (["--epochs", "0"], "--epochs"),
        (["--clips-per-track", "0"], "--clips-per-track must be from 1 to 20"),
        (["--clips-per-track", "21"], "Received: 21"),
        (["--set", "audio.clips_per_track=99"], "clips_per_track must be from 1 to 20"),
        (["--split", "artist"], "--artists"),
        (["--split", "listed"], "--split-lists"),
        (["--artists", "a.csv"], "--split artist"),
        (["--set", "audio.mel_bands=3"], "mel_bins"),
        (["--set", "audio.mel_bnis=3"], r"no such setting \(did you mean mel_bins\?\). There are"),
        (["--set", "audio.mel_bins=many"], "audio.mel_bins must be a valid integer"),
        (["--set", "training.learning_rate=abc"], "training.learning_rate must be a valid number"),
        (["--set", "audio.mel_bins=1"], "Received: mfcc_coefficients 20, mel_bins 1"),
        (["--set", "training.model.width"], "training.NAME=VALUE"),
        (["--set", "training.epochs=0"], "epochs"),
        (["--data", "x", "--download"], "--download"),
        (["--models", "vgg16", "--weights", "/no/such/file.h5"], "/no/such/file.h5"),
        (["--models", "cnn", "--weights", "none"], "--weights is for vgg16"),
        (["--models", "vgg16", "--weights", "."], "--weights is for embedding"),
        (["--models", "embedding"], "--weights FOLDER"),
        (
            [*("--models", "inceptionv3", "--weights", "none"), "--set", "training.model.shrink=2"],
            "shrink leaves too small a picture for inceptionv3: 64 bands of 64 frames",
        ),
        (
            [*("--models", "cnn,vgg16", "--weights", "none"), "--set", "training.model.shrink=5"],
            "where it needs 32 of 32. Received: 5",
        ),
        (["--models", "embedding", "--weights", "docs"], "holds no SavedModel"),
        (["--models", "embedding", "--fine-tune"], "--fine-tune is for musicnn"),
        (["--models", "cnn", "--fine-tune"], "--fine-tune is for musicnn"),
        (["--split-family", "filtered"], "--split listed"),
        (["--tune", "1"], "--tune"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "4294967296"], "--seed must be from 0 to 4294967295"),
        (["--split-seed", "-1"], "--split-seed must be from 0"),
        (["--set", "training.seed=1"], "--set training.seed: use --seed"),
        (["--epochs", "3", "--set", "training.epochs=4"], "--set training.epochs: use --epochs"),
        (["--data", ""], "--data is empty"),
        (["--output", " "], "--output is empty"),
        (["--data", "/"], "--data must be a folder of its own"),
        (["--output", "/"], "--output must be a folder of its own"),
        (["--output", "/tmp/.."], "--output must be a folder of its own"),
        (["--data", "s3://"], "--data: a place in an object store is"),
        (["--output", "s3:///genre"], "--output: a place in an object store is"),
        (["--output", "http://host/genre"], "--output: a place in an object store is"),
        (["--metadata", "s3://bucket/m.db"], "--metadata must be on this machine's disk"),
        (["--set", "audio.mel_bins=100000"], "mel_bins must be at most 512"),
        (
            ["--set", "training.batch_size=1000000"],
            "batch_size must be less than or equal to 10000",
        ),
        (
            ["--set", "training.learning_rate=1e30"],
            "learning_rate must be less than or equal to 10",
        ),
        (["--set", "audio.clip_seconds=60"], "clip_seconds must be at most 30"),
        (["--set", "audio.hop_length=4096"], "hop_length must be at most fft_length"),
        (
            ["--set", "audio.sample_rate_hz=16000", "--models", "cnn"],
            "sample_rate_hz must be 22050",
        ),
        (
            ["--models", "ann", "--set", "audio.mfcc_coefficients=13"],
            "audio.mfcc_coefficients must be 20 for ann",
        ),
        (
            ["--models", "ann", "--set", "audio.hop_length=500"],
            "audio.fft_length must be a multiple of audio.hop_length for ann",
        ),
        (["--set", "training.epochs.x=3"], "training.epochs has no settings"),
        (["--set", "audio.mel_bins.x=3"], "audio.mel_bins has no settings"),
        (["--set", "training.model.width.x=3"], "training.model.width has no settings"),
        (["--set", "training.learning_rate=nan"], "learning_rate must be a finite number"),
        (["--set", "training.weight_decay=nan"], "weight_decay must be a finite number"),
        (["--set", "training.model.width=inf"], "width must be a finite number"),
        (["--set", "training.augmentation.noise=nan"], "noise must be a finite number"),
        (["--set", "audio.top_db=nan"], "top_db must be a finite number"),
        (["--set", "audio.window_seconds=inf"], "window_seconds must be a finite number"),
        (
            ["--models", "inceptionv3", "--weights", "none", "--set", "audio.mel_bins=64"],
            "audio.mel_bins must be at least 75 for inceptionv3",
        ),
        (
            ["--models", "inceptionv3", "--weights", "none", "--set", "audio.window_seconds=1.5"],
            "at least 75 frames.*Received: 1.5 .64 frames",
        ),
        (
            ["--models", "musicvgg", "--set", "audio.window_seconds=2"],
            "audio.window_seconds must be at least 2.99 for musicvgg",
        ),
        (["--set", "audio.mel_bins=0"], "mel_bins must be over 0"),
        (["--set", "audio.window_seconds=40"], "window_seconds"),
        (["--set", "training.learning_rate=-1"], "learning_rate must be greater than 0"),
        (["--set", "training.model.dropout=2"], "dropout must be less than or equal to 0.95"),
        (["--set", "training.augmentation.mixup=-3"], "mixup must be greater than or equal to 0"),
    ],
)
def test_a_mistake_is_named(arguments, named):
    with pytest.raises(UserError, match=named.replace("|", r"\|")):
        options.parse(arguments)


def test_the_largest_seed_is_numpys():
    assert parse("--seed", "4294967295").training("cnn").seed == 4_294_967_295


def test_settings_that_bound_each_other_are_judged_together_in_any_order():
    pairs = ["--set", "audio.hop_length=256", "--set", "audio.fft_length=256"]
    for order in (pairs, [*pairs[2:], *pairs[:2]]):
        audio = parse("--models", "cnn", *order).audio
        assert (audio.hop_length, audio.fft_length) == (256, 256)


def test_training_seed_and_split_seed_are_two():
    config = parse("--seed", "3", "--split-seed", "5")
    assert (config.training("cnn").seed, config.data.split_seed) == (3, 5)
    assert parse("--seed", "3").data.split_seed == 0


def test_a_tilde_is_the_home_folder_wherever_a_place_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "music").mkdir()
    config = parse("--data", "~/music", "--output", "~/out/", "--metadata", "~/m.db")
    assert config.data.folder == str(tmp_path / "music")
    assert config.output == str(tmp_path / "out")
    assert config.metadata_file == tmp_path / "m.db"


def test_make_hands_on_an_empty_folder_instead_of_forgetting_it():
    """`make run DATA=$UNSET` must not push a model of synthetic music over production."""
    done = subprocess.run(
        ["make", "-s", "-o", ".venv/.runtime", "run", "DATA="],
        cwd=ROOT, capture_output=True, text=True, check=False,
        # Those of `make test` are not meant for it.
        env={name: os.environ[name] for name in os.environ.keys() - {"ARGS", "MAKEFLAGS"}},
    )  # fmt: skip
    assert done.returncode != 0
    assert "--data is empty" in done.stderr


def test_a_search_has_ten_trials_unless_told_otherwise():
    assert options.parse([])[0].trials == 0
    assert options.parse(["--tune"])[0].trials == 10
    assert options.parse(["--tune", "3"])[0].trials == 3


def test_mistakes_end_with_one_line_and_without_a_trace():
    done = run_cli("--data", "/does/not/exist")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "local_runner.py: --data: there is no folder /does/not/exist"
    ]
    unknown = run_cli("--no-such-flag")
    assert unknown.returncode == 1
    assert "Traceback" not in unknown.stderr


def test_without_its_mlflow_server_a_run_stops_before_its_first_stage(tmp_path):
    output = tmp_path / "out"
    server = "http://127.0.0.1:9"  # where nothing listens
    done = run_cli("--data", str(tmp_path), "--output", str(output), "--mlflow-uri", server)
    assert done.returncode == 1
    assert f"--mlflow-uri: the MLflow server at {server} does not answer" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not output.exists()


@pytest.mark.parametrize("arguments", [["--help"], ["--epochs", "0"]])
def test_help_and_mistakes_do_not_import_tensorflow(arguments):
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['local_runner.py', *{arguments!r}]\n"
        "try: runpy.run_path('local_runner.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert not {'tensorflow', 'keras', 'tfx', 'apache_beam'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
