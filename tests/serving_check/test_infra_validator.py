"""TFX's InfraValidator as configured for our releases, as far as that shows without Docker."""

import numpy as np
import pytest
import yaml
from tfx.components.infra_validator import request_builder, serving_bins
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import pipeline
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner
from tfx.proto import infra_validator_pb2
from tfx.types import channel_utils, standard_artifacts
from tfx.utils import path_utils, proto_utils

from components.gtzan.genres import GENRES
from components.serving_check.calls import BareModel
from components.serving_check.infra_validator import TF_SERVING_TAG, infra_validator
from tests.conftest import ROOT
from tests.serving.tone_model import serialized_example, tone, write_tone_model


def node(**arguments: object):
    return infra_validator(
        model=channel_utils.as_channel([standard_artifacts.Model()]),
        examples=channel_utils.as_channel([standard_artifacts.Examples()]),
        model_name="genre",
        **arguments,
    )


def specs(validator) -> tuple[infra_validator_pb2.ServingSpec, infra_validator_pb2.RequestSpec]:
    properties = validator.exec_properties
    serving, request = infra_validator_pb2.ServingSpec(), infra_validator_pb2.RequestSpec()
    proto_utils.json_to_proto(properties["serving_spec"], serving)
    proto_utils.json_to_proto(properties["request_spec"], request)
    return serving, request


@pytest.mark.parametrize(
    ("platform", "field"), [("docker", "local_docker"), ("kubernetes", "kubernetes")]
)
def test_it_names_the_image_that_our_own_configuration_runs(platform, field):
    serving, request = specs(node(platform=platform))
    assert serving.WhichOneof("serving_platform") == field
    (binary,) = serving_bins.parse_serving_binaries(serving)
    assert binary.image == f"tensorflow/serving:{TF_SERVING_TAG}"
    compose = yaml.safe_load((ROOT / "serving/tf_serving/docker-compose.yml").read_text())
    assert binary.image in {service["image"] for service in compose["services"].values()}
    assert (request.split_name, request.num_examples) == ("test", 3)


def test_tfx_makes_requests_of_raw_examples_that_the_model_answers(tmp_path):
    import tensorflow as tf

    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "model")
    serving = path_utils.serving_model_dir(model.uri)
    write_tone_model(tmp_path / "model" / "Format-Serving")
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "examples")
    examples.split_names = '["train", "test"]'
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    for split, genre in (("train", "blues"), ("test", "jazz")):
        folder = tmp_path / "examples" / f"Split-{split}"
        folder.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(folder / "data_tfrecord-00000-of-00001")) as file:
            for _ in range(4):
                file.write(serialized_example(tone(genre, seconds=30.0)))
    requests = request_builder.build_requests(
        model_name="genre", model=model, examples=examples, request_spec=specs(node())[1]
    )
    assert len(requests) == 3
    bare = BareModel(serving)
    for request in requests:
        assert request.model_spec.signature_name == "serving_default"
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        outputs = bare.call("serving_default", inputs)
        assert GENRES[int(np.argmax(outputs["probabilities"][0]))] == "jazz", "of the test split"
    bare.close()


def test_kubeflow_v2_refuses_it(tmp_path):
    """TFX's own words; docs/how-to/tf-serving.md says so."""
    kinds = {"model": standard_artifacts.Model, "examples": standard_artifacts.Examples}
    sources = {
        name: Importer(source_uri=f"gs://bucket/{name}", artifact_type=kind).with_id(name)
        for name, kind in kinds.items()
    }
    channels = {name: source.outputs["result"] for name, source in sources.items()}
    dag = pipeline.Pipeline(
        pipeline_name="checked",
        pipeline_root=str(tmp_path),
        components=[*sources.values(), infra_validator(**channels, model_name="genre")],
    )
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(use_pipeline_spec_2_1=True),
        output_filename=str(tmp_path / "pipeline.yaml"),
    )
    with pytest.raises(NotImplementedError, match=r"InfraValidator.*is not supported"):
        runner.run(dag)
