"""Several processes that train one model: how they are named, and that they train as one."""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from components.audio.settings import AudioSettings
from components.common import validation
from components.common.errors import UserError
from components.gtzan.genres import GENRES
from components.trainer import workers
from components.trainer.models import build
from components.trainer.parts import heads
from components.trainer.settings import AugmentationSettings
from components.trainer.trainer import run_fn
from components.trainer.training import devices
from components.trainer.training.tuner import tuner_fn
from pipeline.flink.job_server import free_port
from tests.trainer.conftest import described, tiny
from tests.trainer.release.test_skew import encoded

ROOT = Path(__file__).resolve().parents[2]
TWO = ["one:1", "two:2"]


def config(cluster, kind="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    "text", ["", "{}", config({}), config({"worker": ["one:1"]}), config({"chief": ["one:1"]})]
)
def test_a_process_alone_is_no_several_workers(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    assert workers.workers() is None
    workers.refuse("a search")


@pytest.mark.parametrize(
    ("text", "chief"),
    [
        (config({"worker": TWO}), True),
        (config({"worker": TWO}, index=1), False),
        (config({"chief": ["a:0"], "worker": TWO}), False),
        (config({"worker": TWO, "chief": ["a:0"]}, kind="chief"), True),
    ],
)
def test_the_chief_is_the_task_of_that_name_or_the_first_worker(monkeypatch, text, chief):
    monkeypatch.setenv("TF_CONFIG", text)
    assert workers.workers().chief == chief


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cluster": ["one:1", "two:2"]}',
        json.dumps({"cluster": {"worker": TWO}}),
        config({"worker": TWO}, index=2),
        config({"worker": TWO}, kind="chief"),
        config({"worker": TWO, "ps": ["three:3"]}),
    ],
)
def test_a_wrong_list_of_workers_is_one_sentence_before_any_training(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=r"TF_CONFIG m.*Received: "):
        devices.strategy("auto")


def test_what_several_workers_cannot_do_is_refused(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config({"worker": TWO}))
    with pytest.raises(UserError, match=r"distribution=mirrored runs in one process.* 2 workers"):
        devices.strategy("mirrored")
    with pytest.raises(UserError, match="a search runs in one process"):
        tuner_fn(FnArgs(custom_config={}))


def trained_together(name, folder):
    """What the Trainer is given: `lstm` from scratch, or `musicnn`'s head on a frozen body."""
    settings = dataclasses.replace(
        tiny(name, epochs=3, head_epochs=3, batch_size=8, windows_per_track=4),
        augmentation=AugmentationSettings(noise=0.2, mixup=0.2),
    )
    # Without dropout, whose masks each process draws for its part of a batch.
    model = dataclasses.replace(settings.model, dropout=0.0)
    if name == "musicnn":
        reads = described(name)
        whole = build(name, feature=reads, genre_count=len(GENRES), settings=model)
        weights = folder / "body.weights.h5"
        whole.get_layer(heads.BODY).save_weights(weights)
        model = dataclasses.replace(model, weights=str(weights), fine_tune=False)
        # Their outputs are kept in files.
        settings = dataclasses.replace(settings, cache_megabytes=0)
    return {
        "model": name,
        "audio": dataclasses.asdict(AudioSettings()),
        "genres": list(GENRES),
        "training": dataclasses.asdict(dataclasses.replace(settings, model=model)),
        "serving_name": "genre",
    }


@pytest.fixture
def examples(tmp_path, transformed):
    """Twelve tracks to train on and ten to validate on, of four sounds, in several files."""
    rows = [encoded(row) for row in transformed[1]]
    for split, count in (("train", 12), ("validation", 10)):
        folder = tmp_path / "examples" / f"Split-{split}"
        folder.mkdir(parents=True)
        for number in range(count):
            options = tf.io.TFRecordOptions(compression_type="GZIP")
            example = tf.train.Example.FromString(rows[number % len(rows)])
            features = example.features.feature
            features["track_id"].bytes_list.value[:] = [b"%s %02d" % (split.encode(), number)]
            with tf.io.TFRecordWriter(str(folder / f"{number:02d}.gz"), options) as writer:
                writer.write(example.SerializeToString())
    return tmp_path / "examples"


EXECUTOR = textwrap.dedent(
    """
    import json, sys
    from tfx.types import standard_artifacts as kinds
    from components.trainer.executor import TrainerExecutor
    examples_uri, transform_uri, output, custom_config = sys.argv[1:]

    def artifact(kind, uri):
        made = kind()
        made.uri = uri
        return made

    examples = artifact(kinds.Examples, examples_uri)
    examples.split_names = '["train", "validation"]'
    TrainerExecutor().Do(
        {
            "examples": [examples],
            "transform_graph": [artifact(kinds.TransformGraph, transform_uri)],
        },
        {
            "model": [artifact(kinds.Model, output + "/model")],
            "model_run": [artifact(kinds.ModelRun, output + "/model_run")],
        },
        {
            "run_fn": "components.trainer.trainer.run_fn",
            "train_args": '{"splits": ["train"]}',
            "eval_args": '{"splits": ["validation"]}',
            "custom_config": custom_config,
        },
    )
    """
)


@pytest.mark.parametrize("name", ["lstm", "musicnn"])
def test_two_processes_train_as_one_and_the_chief_alone_writes(
    name, tmp_path, examples, transformed
):
    custom_config = trained_together(name, tmp_path)
    addresses = [f"localhost:{free_port()}" for _ in range(2)]
    logs = [tmp_path / f"{index}.log" for index in range(2)]
    running = []
    for index, log in enumerate(logs):
        command = [sys.executable, "-c", EXECUTOR, str(examples), str(transformed[0])]
        command += [str(tmp_path / str(index)), json.dumps(custom_config)]
        environment = {**os.environ, "TF_CONFIG": config({"worker": addresses}, index=index)}
        environment["PYTHONPATH"] = str(ROOT)
        with log.open("wb") as output:
            running.append(
                subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
            )
    try:
        run_fn(
            FnArgs(
                train_files=[str(examples / "Split-train" / "*.gz")],
                eval_files=[str(examples / "Split-validation" / "*.gz")],
                transform_output=str(transformed[0]),
                model_run_dir=str(tmp_path / "alone"),
                serving_model_dir=str(tmp_path / "model"),
                custom_config=custom_config,
            )
        )
        for process, log in zip(running, logs, strict=True):
            assert process.wait(600) == 0, log.read_text(errors="replace")[-3000:]
    finally:
        for process in running:
            process.kill()
    chief = tmp_path / "0"
    assert not (tmp_path / "1").exists()
    tf.saved_model.load(str(chief / "model" / "Format-Serving"))

    history, by_itself = (
        json.loads((folder / "history.json").read_text())
        for folder in (chief / "model_run", tmp_path / "alone")
    )
    assert history["best_epoch"] == by_itself["best_epoch"]
    assert set(history["epochs"]) == set(by_itself["epochs"])
    for name, values in by_itself["epochs"].items():
        assert len(values) == 3
        np.testing.assert_allclose(history["epochs"][name], values, rtol=1e-3, err_msg=name)
    answers, expected_answers = (
        validation.read(str(folder)) for folder in (chief / "model_run", tmp_path / "alone")
    )
    assert answers.track_ids == expected_answers.track_ids
    np.testing.assert_allclose(answers.probabilities, expected_answers.probabilities, atol=1e-3)
