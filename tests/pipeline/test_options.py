"""The command line: what it means, what it refuses, and that it answers without TensorFlow."""

import subprocess
import sys

import pytest

from components.audio.settings import AudioSettings
from components.common.errors import UserError
from components.trainer import models
from components.trainer.catalog import recommended
from components.trainer.settings import ModelSettings
from pipeline import options, settings_table
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
    assert (config.audio.clips_per_track, config.data.duplicates) == (1, "warn")


def test_flags_reach_the_configuration(tmp_path):
    artists = tmp_path / "artists.csv"
    artists.write_text("track_id,artist\n")
    config = parse(
        "--data", str(tmp_path), "--split", "artist", "--artists", str(artists), "--seed", "7",
        "--split-seed", "5", "--clips-per-track", "3", "--duplicates", "drop",
        "--models", "ensemble,cnn,lstm", "--epochs", "3", "--min-accuracy", "0.25",
        "--beam-runner", "flink", "--flink-master", "host:8081", "--jobs", "3",
        "--set", "audio.mel_bins=96", "--set", "training.augmentation.mixup=0",
    )  # fmt: skip
    assert config.models == ("cnn", "lstm", "ensemble")
    assert (config.data.split_seed, config.data.duplicates, config.jobs) == (5, "drop", 3)
    assert (config.audio.mel_bins, config.audio.clips_per_track) == (96, 3)
    assert config.gate.min_accuracy == 0.25
    training = config.training("cnn")
    assert (training.epochs, training.seed, training.augmentation.mixup) == (3, 7, 0.0)
    assert (config.beam.runner, config.beam.flink_master) == ("flink", "host:8081")


def test_a_run_s_own_file_runs_it_again_and_flags_win_over_it(tmp_path):
    arguments = [
        *("--data", "s3://music/genres", "--copies", "0", "--tune", "3", "--models", "cnn,lstm"),
        *("--set", "audio.mel_bins=96", "--set", "training.augmentation.mixup=0"),
        *("--max-rejected", "0", "--fine-tune", "--models", "musicnn"),
    ]
    file = tmp_path / "gatefold.yaml"
    file.write_text(options.effective(arguments))
    assert parse("--config", str(file)) == parse(*arguments)
    assert parse("--copies", "1", "--config", str(file)).copies == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("set: {audio: {mel_bins: 3, mel_bnis: 3}}", "did you mean mel_bins"),
        ("data: {folder: x}", "data takes no settings"),
        ("- data", "expected lines of `key: value`"),
        ("", "holds no setting"),
    ],
)
def test_a_file_of_flags_is_judged_as_they_are(tmp_path, content, message):
    file = tmp_path / "gatefold.yaml"
    file.write_text(content)
    with pytest.raises(UserError, match=message):
        parse("--config", str(file))


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
    with pytest.raises(UserError, match=r"'cnn-1' \(did you mean cnn\?\), .* 'vgg17-2'"):
        parse("--models", "cnn-1,vgg17-2")
    with pytest.raises(UserError, match=r"no model 'ensemble-2' \(did you mean ensemble\?\)"):
        parse("--models", "cnn,lstm,ensemble,ensemble-2")


def test_a_model_without_its_line_in_the_catalog_is_told_so(tmp_path, monkeypatch):
    (tmp_path / "fresh.py").touch()
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    with pytest.raises(UserError, match=r"fresh\.py is not in the catalog: add 'fresh'"):
        parse("--models", "fresh")


def test_remote_folders_are_taken_as_they_are_and_metadata_stays_local():
    config = parse("--data", "s3://music/genres", "--output", "s3://music/out")
    assert config.data.folder == "s3://music/genres"
    assert config.serving_folder == "s3://music/out/serving/genre"
    assert not str(config.local_folder).startswith("s3:")


INCEPTION = ["--models", "inceptionv3", "--weights", "none"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        # Files and folders.
        (["--data", "/does/not/exist"], "--data: there is no folder"),
        (["--data", ""], "--data is empty"),
        (["--output", " "], "--output is empty"),
        (["--data", "/"], "--data must be a folder of its own"),
        (["--output", "/tmp/.."], "--output must be a folder of its own"),
        (["--output", "x" * 300], "--output cannot be used .File name too long"),
        (["--data", "~nobody-of-this-name/music"], "--data cannot be used"),
        (["--metadata", "a\0b"], "--metadata cannot be used"),
        (["--genres", sys.executable], "--genres: .* cannot be read as UTF-8 text"),
        (["--output", "my [first] run"], "--output: TFX would take .* for patterns"),
        (["--data", "s3://"], "--data: a place in an object store is"),
        (["--output", "s3:///genre"], "--output: a place in an object store is"),
        (["--output", "http://host/genre"], "--output: a place in an object store is"),
        (["--metadata", "s3://bucket/m.db"], "--metadata must be on this machine's disk"),
        (["--data", "x", "--download"], "--download"),
        (["--split", "artist"], "--split artist needs --artists"),
        (["--split", "listed"], "--split listed needs --split-lists"),
        (["--artists", "README.md"], "--artists is only used with --split artist"),
        (["--split-family", "filtered"], "--split-family is only used with --split listed"),
        # Numbers.
        (["--jobs", "0"], "--jobs must be .* 1. Received: 0"),
        (["--min-accuracy", "1.5"], "--min-accuracy must be .* 1. Received: 1.5"),
        (["--max-rejected", "-1"], "--max-rejected must be .* 0. Received: -1"),
        (["--epochs", "0"], "--epochs must be .* 1. Received: 0"),
        (["--clips-per-track", "0"], "--clips-per-track must be"),
        (["--tune", "1"], "--tune: a search needs 2 trials"),
        (["--tune", "-2"], "--tune must be"),
        (["--seed", "-1"], "--seed must be"),
        (["--seed", "4294967296"], "--seed must be .* 4294967295"),
        (["--split-seed", "-1"], "--split-seed must be"),
        # Models and their weights.
        (["--models", "cnn,vgg17"], r"no model 'vgg17' \(did you mean vgg\d+\?\)"),
        (["--models", "CNN"], r"no model 'CNN' \(did you mean cnn\?\)"),
        (["--models", "cnn,\x1b[31m"], r"no model '\\x1b\[31m'"),
        (["--models", ","], "--models"),
        (["--models", "cnn,ensemble"], "an ensemble needs at least two other models"),
        (["--models", "vgg16", "--weights", "/no/such/file.h5"], "/no/such/file.h5"),
        (["--models", "cnn", "--weights", "none"], "--weights is for vgg16"),
        (["--models", "vgg16", "--weights", "."], "--weights is for embedding"),
        (["--models", "embedding"], "--weights FOLDER"),
        (["--models", "embedding", "--weights", "docs"], "holds no SavedModel"),
        (["--models", "embedding", "--weights", "/nope"], "no folder /nope; for embedding"),
        (["--models", "embedding", "--fine-tune"], "--fine-tune is for musicnn"),
        # Settings.
        (["--set", "training.model.width"], "training.NAME=VALUE"),
        (["--set", "audio.mel_bnis=3"], r"no such setting \(did you mean mel_bins\?\). There are"),
        (["--set", "audio.mel_bins=many"], "audio.mel_bins must be a valid integer"),
        (["--set", "audio.mel_bins=0"], "mel_bins must be"),
        (["--set", "audio.mel_bins=100000"], "mel_bins must be"),
        (["--set", "audio.mel_bins=1"], "mel_bins 1"),
        (["--set", "audio.top_db=nan"], "top_db must be a finite number"),
        (["--set", "audio.window_seconds=40"], "window_seconds"),
        (["--set", "audio.hop_length=4096"], "hop_length must be at most fft_length"),
        (
            ["--set", "audio.sample_rate_hz=16000", "--models", "cnn"],
            "sample_rate_hz must be 22050",
        ),
        (["--set", "audio.mel_bins.x=3"], "audio.mel_bins has no settings"),
        (["--set", "training.learning_rate=nan"], "learning_rate must be a finite number"),
        (["--set", "training.learning_rate=-1"], "learning_rate must be greater than 0"),
        (["--set", "training.model.dropout=2"], "dropout must be less than or equal to 0.95"),
        (["--set", "training.seed=1"], "--set training.seed: use --seed"),
        (["--epochs", "3", "--set", "training.epochs=4"], "--set training.epochs: use --epochs"),
        # Sound that a model cannot work with.
        (["--models", "ann", "--set", "audio.mfcc_coefficients=13"], "must be 20 for ann"),
        (["--models", "ann", "--set", "audio.hop_length=500"], "a multiple of audio.hop_length"),
        (["--models", "musicvgg", "--set", "audio.window_seconds=2"], "2.99 for musicvgg"),
        ([*INCEPTION, "--set", "training.model.shrink=2"], "too small a picture for inceptionv3"),
        ([*INCEPTION, "--set", "audio.mel_bins=64"], "at least 75 for inceptionv3"),
        ([*INCEPTION, "--set", "audio.window_seconds=1.5"], "at least 75 frames.*Received: 1.5"),
    ],
)
def test_a_mistake_is_named(arguments, named):
    with pytest.raises(UserError, match=named):
        options.parse(arguments)


def test_a_list_of_genres_may_be_longer_than_the_name_of_a_file():
    genres = tuple(f"genre number {number}" for number in range(40))
    assert parse("--genres", ",".join(genres)).data.genres == genres


def test_settings_that_bound_each_other_are_judged_together_in_any_order():
    pairs = ["--set", "audio.hop_length=256", "--set", "audio.fft_length=256"]
    for order in (pairs, [*pairs[2:], *pairs[:2]]):
        audio = parse("--models", "cnn", *order).audio
        assert (audio.hop_length, audio.fft_length) == (256, 256)


def test_a_tilde_is_the_home_folder_wherever_a_place_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "music").mkdir()
    config = parse("--data", "~/music", "--output", "~/out/", "--metadata", "~/m.db")
    assert config.data.folder == str(tmp_path / "music")
    assert config.output == str(tmp_path / "out")
    assert config.metadata_file == tmp_path / "m.db"


def test_the_table_of_settings_lists_what_set_takes(capsys):
    assert settings_table.main([]) == 0
    assert "training.augmentation.mixup" in capsys.readouterr().out
    for tree, prefix in ((AudioSettings(), "audio"), (recommended("cnn"), "training")):
        for setting in settings_table.settings(tree, prefix):
            assert setting.meaning.endswith(".")
            if setting.key != "training.seed":  # which has a flag
                parse("--models", "cnn", "--set", f"{setting.key}={setting.default}")


def test_a_search_has_ten_trials_unless_told_otherwise():
    assert options.parse([])[0].trials == 0
    assert options.parse(["--tune"])[0].trials == 10
    assert options.parse(["--tune", "3"])[0].trials == 3


def test_mistakes_end_with_one_line_and_without_a_trace():
    done = run_cli("--data", "/does/not/exist")
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["gatefold run: --data: there is no folder /does/not/exist"]
    unknown = run_cli("--modles", "cnn")
    assert unknown.returncode == 1
    assert "--modles (did you mean --models?)" in unknown.stderr
    assert len(unknown.stderr.splitlines()) == 2


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
