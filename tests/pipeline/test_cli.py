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
        (["--seed", "4294967296"], "--seed must be from 0 to 4294967295"),
        (["--set", "training.seed=4294967296"], "seed must be from 0 to 4294967295"),
        (["--set", "training.epochs.x=3"], "training.epochs: this setting has no fields"),
        (["--set", "audio.mel_bins.x=3"], "audio.mel_bins: this setting has no fields"),
        (["--set", "training.model.width.x=3"], "training.model.width: this setting has no"),
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
            ["--models", "cnn,musicnn", "--set", "audio.sample_rate_hz=16000"],
            "audio.sample_rate_hz must be 22050 for musicnn",
        ),
        (
            ["--models", "musicvgg", "--set", "audio.window_seconds=2"],
            "audio.window_seconds must be at least 2.99 for musicvgg",
        ),
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


def test_another_rate_is_for_the_models_that_were_not_pretrained_on_music():
    config = parse("--models", "cnn,lstm", "--set", "audio.sample_rate_hz=16000")
    assert config.audio.sample_rate_hz == 16_000
    assert parse("--seed", "4294967295").training("cnn").seed == 4_294_967_295


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


def test_without_its_mlflow_server_a_run_stops_before_its_first_stage(tmp_path):
    output = tmp_path / "out"
    server = "http://127.0.0.1:9"  # where nothing listens
    done = run_cli("--data", str(tmp_path), "--output", str(output), "--mlflow-uri", server)
    assert done.returncode == 1
    assert f"--mlflow-uri: the MLflow server at {server} does not answer" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    # Not even the data was looked at, nor TFX started.
    assert {path.name for path in output.iterdir()} == {".lock", "logs"}


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
