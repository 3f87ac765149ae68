"""TF Serving's own configuration files say what they should, in TF Serving's own messages."""

import pathlib
import re

import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.server.registry import parse_config
from serving.server.settings import BatchingSettings
from tests.serving.server_process import REPOSITORY

FOLDER = REPOSITORY / "serving" / "tf_serving"
FIELD = descriptor_pb2.FieldDescriptorProto


def described(name: str, fields: dict[str, tuple[int, int, str]], **nested):
    """A message class of the given fields: name → (number, type, message type).

    For TF Serving's messages that tensorflow-serving-api leaves out: names and numbers are those
    of its session_bundle_config.proto and monitoring_config.proto (2.16).
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", syntax="proto3", package="c")
    for wrapper, kind in (("Int64Value", FIELD.TYPE_INT64), ("StringValue", FIELD.TYPE_STRING)):
        file.message_type.add(name=wrapper).field.add(
            name="value", number=1, type=kind, label=FIELD.LABEL_OPTIONAL
        )
    for message, its_fields in {**nested, name: fields}.items():
        added = file.message_type.add(name=message)
        for field, (number, kind, type_name) in its_fields.items():
            repeated = field.startswith("allowed")
            entry = added.field.add(name=field, number=number, type=kind)
            entry.label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
            if type_name:
                entry.type_name = f".c.{type_name}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.MessageFactory(pool).GetPrototype(
        pool.FindMessageTypeByName(f"c.{name}")
    )


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


def test_batching_config_runs_as_the_embedded_server_does() -> None:
    wrapped = (11, "Int64Value")
    parameters = described(
        "BatchingParameters",
        {
            "max_batch_size": (1, *wrapped),
            "batch_timeout_micros": (2, *wrapped),
            "max_enqueued_batches": (3, *wrapped),
            "num_batch_threads": (4, *wrapped),
            "thread_pool_name": (5, 11, "StringValue"),
            "allowed_batch_sizes": (6, FIELD.TYPE_INT64, ""),
            "pad_variable_length_inputs": (7, FIELD.TYPE_BOOL, ""),
        },
    )
    parsed = text_format.Parse((FOLDER / "batching.config").read_text(), parameters())
    ours = BatchingSettings()
    assert parsed.max_batch_size.value == ours.max_batch_size
    assert parsed.num_batch_threads.value == ours.batch_threads
    assert parsed.max_enqueued_batches.value * ours.max_batch_size == ours.queue_length
    assert not parsed.pad_variable_length_inputs


def test_monitoring_config_is_where_the_embedded_server_has_it() -> None:
    monitoring = described(
        "MonitoringConfig",
        {"prometheus_config": (1, FIELD.TYPE_MESSAGE, "PrometheusConfig")},
        PrometheusConfig={
            "enable": (1, FIELD.TYPE_BOOL, ""),
            "path": (2, FIELD.TYPE_STRING, ""),
        },
    )
    parsed = text_format.Parse((FOLDER / "monitoring.config").read_text(), monitoring())
    assert parsed.prometheus_config.enable
    assert parsed.prometheus_config.path == "/monitoring/prometheus/metrics"


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
    page = (REPOSITORY / "docs" / "serving.md").read_text()
    section = page.partition("### Where it differs from TF Serving")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 10
    sources = [file.read_text() for file in pathlib.Path(__file__).parent.glob("test_*.py")]
    for row in rows:
        names = re.findall(r"`(test_\w+)`", row)
        assert names, row
        for name in names:
            assert any(f"def {name}(" in source for source in sources), name
