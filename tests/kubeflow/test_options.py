"""The command line of kubeflow.runner, which starts without TensorFlow."""

import subprocess
import sys

import pytest

from components.common.errors import UserError
from kubeflow import options
from kubeflow.deployment import Resources
from pipeline import options as local_options
from tests.conftest import ROOT

COMPILE = [
    *("compile", "--image", "registry/gatefold:1", "--pipeline-root", "s3://bucket/gatefold"),
    *("--data", "s3://bucket/genres"),
]


def settings(*arguments: str):
    return options.compile_settings(options.parse([*COMPILE, *arguments]))


def test_settings_are_those_of_a_local_run_with_the_same_flags():
    shared = [
        *("--models", "cnn,lstm", "--epochs", "3", "--split-seed", "4"),
        *("--set", "audio.top_db=70"),
    ]
    config, deployment = settings(*shared)
    local, _ = local_options.parse(
        ["--data", "s3://bucket/genres", "--output", "s3://bucket/gatefold", *shared]
    )
    assert config == local
    assert config.serving_folder == "s3://bucket/gatefold/serving/genre"
    assert deployment.pipeline_root == "s3://bucket/gatefold"


def test_resources_are_given_by_node_and_by_kind():
    _, deployment = settings("--resources", "1,4", "--node", "Trainer=8,32", "--node", "Pusher=1,2")
    assert deployment.resources_of("Trainer-cnn") == Resources(8, 32)
    assert deployment.resources_of("Pusher") == Resources(1, 2)
    assert deployment.resources_of("StatisticsGen") == Resources(1, 4)


def test_an_epoch_reaches_the_run_and_a_notices_secret_the_cluster():
    config, deployment = settings("--cache-epoch", "2", "--notice-secret", "hook")
    assert (config.cache_epoch, deployment.notice_secret) == ("2", "hook")
    config, deployment = settings()
    assert (config.cache_epoch, deployment.notice_secret) == ("", "")


def test_a_store_that_needs_no_keys_gets_no_secret():
    arguments = ["compile", "--image", "i", "--pipeline-root", "gs://b/r", "--data", "gs://b/d"]
    _, deployment = options.compile_settings(options.parse(arguments))
    assert deployment.object_store_secret == ""
    assert "AWS" not in str(deployment.environment())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pipeline-root", "root"], "--pipeline-root must be s3://"),
        (["--pipeline-root", "/tmp/x"], "--pipeline-root must be s3://"),
        (["--image", "registry/gatefold@sha256:…"], "--image must be NAME:TAG or NAME@sha256:"),
        (["--image", "registry:5000/gatefold:"], "--image must be NAME:TAG"),
        (["--data", "."], "--data must be in an object store"),
        (["--split", "artist", "--artists", "README.md"], "--artists must be in an object store"),
        (["--models", "vgg16", "--weights", "README.md"], "--weights must be imagenet or none"),
        (["--output", "genre.json"], "--output must be a .yaml file"),
        (["--retries", "-1"], "--retries must be 0 or more"),
        (["--resources", "two"], "--resources expects CORES,GB"),
        (["--node", "Trainer=0,1"], "--node Trainer expects CORES,GB"),
        (["--accelerator", "nvidia.com/gpu=none"], "--accelerator expects"),
        (["--models", "nonsense"], "--models"),
        (["--beam-runner", "flink"], "--beam-runner flink needs --job-endpoint"),
        (["--beam-runner", "spark"], "--beam-runner spark needs --job-endpoint"),
        (["--infra-validator", "kubernetes"], "--infra-validator: TFX's InfraValidator does not"),
    ],
)
def test_mistakes_are_named(arguments, message, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=message):
        settings(*arguments)


def test_the_command_line_starts_without_tensorflow():
    script = "import sys, kubeflow.runner, kubeflow.client; print('tensorflow' in sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "False"
