"""The command line: what it means, what it refuses, and that it answers without TensorFlow."""

import subprocess
import sys

import pytest

from components.errors import UserError
from pipeline import cli
from pipeline.config import PipelineConfig
from tests.conftest import ROOT


def parse(*arguments: str) -> PipelineConfig:
    return cli.parse(arguments)[0]


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
    assert config.data.folder == cli.SAMPLE_FOLDER


def test_flags_reach_the_configuration(tmp_path):
    artists = tmp_path / "artists.csv"
    artists.write_text("track_id,artist\n")
    config = parse(
        "--data", str(tmp_path), "--split", "artist", "--artists", str(artists), "--seed", "7",
        "--models", "ensemble,cnn,lstm", "--epochs", "3", "--min-accuracy", "0.25",
        "--beam-runner", "flink", "--beam-arg=--flink_master=host:8081",
        "--set", "audio.mel_bins=96", "--set", "training.augmentation.mixup=0",
    )  # fmt: skip
    assert config.models == ("cnn", "lstm", "ensemble")
    assert config.audio.mel_bins == 96
    assert config.gate.min_accuracy == 0.25
    training = config.training("cnn")
    assert (training.epochs, training.seed, training.augmentation.mixup) == (3, 7, 0.0)
    assert config.beam.pipeline_args() == ["--runner=FlinkRunner", "--flink_master=host:8081"]


def test_weights_reach_the_backbones_and_leave_the_others_alone():
    config = parse("--models", "vgg16,cnn,musicnn", "--weights", "none", "--fine-tune")
    assert config.training("vgg16").model.weights == "none"
    assert config.training("musicnn").model.weights == "msd"
    assert config.training("musicnn").model.fine_tune


def test_remote_folders_are_taken_as_they_are_and_metadata_stays_local():
    config = parse("--data", "s3://music/genres", "--output", "s3://music/out")
    assert config.data.folder == "s3://music/genres"
    assert config.serving_folder == "s3://music/out/serving/genre"
    assert not str(config.local_folder).startswith("s3:")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--data", "/does/not/exist"], "--data"),
        (["--models", "cnn,vgg17"], "vgg17"),
        (["--models", "cnn,ensemble"], "ensemble"),
        (["--min-accuracy", "1.5"], "--min-accuracy"),
        (["--epochs", "0"], "--epochs"),
        (["--split", "artist"], "--artists"),
        (["--split", "listed"], "--split-lists"),
        (["--artists", "a.csv"], "--split artist"),
        (["--set", "audio.mel_bands=3"], "mel_bins"),
        (["--set", "audio.mel_bins=many"], "mel_bins=many"),
        (["--set", "training.model.width"], "training.NAME=VALUE"),
        (["--set", "training.epochs=0"], "epochs"),
        (["--data", "x", "--download"], "--download"),
        (["--models", "vgg16", "--weights", "/no/such/file.h5"], "/no/such/file.h5"),
        (["--models", "cnn", "--weights", "none"], "--weights is for vgg16"),
        (["--models", "cnn", "--fine-tune"], "--fine-tune is for musicnn"),
        (["--split-family", "filtered"], "--split listed"),
        (["--tune", "1"], "--tune"),
        (["--seed", "-1"], "--seed"),
        (["--set", "audio.mel_bins=0"], "mel_bins must be over 0"),
        (["--set", "audio.window_seconds=40"], "window_seconds"),
        (["--set", "training.learning_rate=-1"], "learning_rate must be over 0"),
        (["--set", "training.model.dropout=2"], "dropout must be from 0"),
        (["--set", "training.augmentation.mixup=-3"], "mixup must be at least 0"),
    ],
)
def test_a_mistake_is_named(arguments, named):
    with pytest.raises(UserError, match=named.replace("|", r"\|")):
        cli.parse(arguments)


def test_a_search_has_ten_trials_unless_told_otherwise():
    assert cli.parse([])[0].trials == 0
    assert cli.parse(["--tune"])[0].trials == 10
    assert cli.parse(["--tune", "3"])[0].trials == 3


def test_mistakes_end_with_one_line_and_without_a_trace():
    done = run_cli("--data", "/does/not/exist")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "local_runner.py: --data: there is no folder /does/not/exist"
    ]
    unknown = run_cli("--no-such-flag")
    assert unknown.returncode == 1
    assert "Traceback" not in unknown.stderr


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
