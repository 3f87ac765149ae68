"""TFX's own InfraValidator, configured for our releases: the real TF Serving in a container."""

from tfx import components as tfx_components
from tfx.proto import infra_validator_pb2
from tfx.types import BaseChannel

TF_SERVING_TAG = "2.16.1"
LOCAL_DOCKER, KUBERNETES = "docker", "kubernetes"
_CLUSTER_SECONDS = 600


def infra_validator(
    *,
    model: BaseChannel,
    examples: BaseChannel,
    model_name: str,
    platform: str = LOCAL_DOCKER,
    requests: int = 3,
) -> tfx_components.InfraValidator:
    """Makes the node that loads a candidate in TF Serving and sends it raw examples.

    It needs Docker on this machine, or a Kubernetes cluster that the pipeline runs in, where
    ServingCheck needs neither; TFX's compiler for Kubeflow Pipelines v2 refuses the node. TF
    Serving replays the candidate's own warmup requests as it loads it; then `serving_default` is
    asked about tracks of the test split. TFX checks that both succeed, and compares no answers:
    that is ServingCheck's part.

    Args:
      model: The candidate.
      examples: Raw examples.
      model_name: Name under which the candidate is served.
      platform: "docker" or "kubernetes".
      requests: Number of tracks that are sent.

    Raises:
      ValueError: The platform is not one of these.
    """
    platforms = {
        LOCAL_DOCKER: {"local_docker": infra_validator_pb2.LocalDockerConfig()},
        KUBERNETES: {
            "kubernetes": infra_validator_pb2.KubernetesConfig(
                active_deadline_seconds=_CLUSTER_SECONDS
            )
        },
    }
    if platform not in platforms:
        raise ValueError(f"platform must be one of {', '.join(platforms)}. Received: {platform!r}")
    return tfx_components.InfraValidator(
        model=model,
        examples=examples,
        serving_spec=infra_validator_pb2.ServingSpec(
            tensorflow_serving=infra_validator_pb2.TensorFlowServing(tags=[TF_SERVING_TAG]),
            model_name=model_name,
            **platforms[platform],
        ),
        validation_spec=infra_validator_pb2.ValidationSpec(
            max_loading_time_seconds=120, num_tries=2
        ),
        request_spec=infra_validator_pb2.RequestSpec(
            tensorflow_serving=infra_validator_pb2.TensorFlowServingRequestSpec(
                signature_names=["serving_default"]
            ),
            split_name="test",
            num_examples=requests,
        ),
    )
