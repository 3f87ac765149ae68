"""TF Serving's own configuration files say what they should, in TF Serving's own messages."""

import pathlib
import re

import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.server.registry import parse_config
from serving.server.settings import ServerSettings
from tests.serving.server_process import REPOSITORY

FOLDER = REPOSITORY / "serving" / "tf_serving"


def test_models_config_keeps_two_releases_and_has_both_labels() -> None:
    text = (FOLDER / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    [model] = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == (
        "genre",
        "/models/genre",
        "tensorflow",
    )
    assert model.model_version_policy.latest.num_versions == 2
    assert set(model.version_labels) == {"stable", "canary"}
    ours = parse_config(text).SerializeToString(deterministic=True)
    assert ours == config.SerializeToString(deterministic=True)


def test_monitoring_and_batching_are_those_of_the_embedded_server() -> None:
    monitoring = (FOLDER / "monitoring.config").read_text()
    assert 'path: "/monitoring/prometheus/metrics"' in monitoring
    batching = (FOLDER / "batching.config").read_text()
    assert f"max_batch_size {{ value: {ServerSettings('').max_batch_size} }}" in batching
    assert "pad_variable_length_inputs: false" in batching


def test_compose_file_pins_tf_serving_and_mounts_what_its_flags_name() -> None:
    compose = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())
    service = compose["services"]["tensorflow-serving"]
    assert service["image"] == "tensorflow/serving:2.16.1"
    flags = dict(flag.removeprefix("--").split("=") for flag in service["command"])
    for flag in ("model_config_file", "batching_parameters_file", "monitoring_config_file"):
        folder, file = flags[flag].rsplit("/", 1)
        assert folder == "/config"
        assert (FOLDER / file).is_file()
    models, config = service["volumes"]
    assert models.endswith("output/serving}:/models:ro")
    assert config == ".:/config:ro"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    default = pathlib.PurePosixPath(models.split(":-")[1].split("}")[0])
    assert (FOLDER / default).resolve() == REPOSITORY / "output" / "serving"


def test_every_difference_that_the_docs_name_has_its_test() -> None:
    page = (REPOSITORY / "docs" / "notes" / "serving.md").read_text()
    section = page.partition("\n## Where it differs from TF Serving\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 10
    sources = [file.read_text() for file in pathlib.Path(__file__).parent.glob("test_*.py")]
    for row in rows:
        names = re.findall(r"`(test_\w+)`", row)
        assert names, row
        for name in names:
            assert any(f"def {name}(" in source for source in sources), name
