"""What the cluster gives to the nodes of a run: image, resources, retries and secrets."""

import dataclasses
from collections.abc import Mapping

OBJECT_STORE_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "S3_ENDPOINT",
    "AWS_ENDPOINT_URL_S3",
)
MLFLOW_KEYS = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
# Where the exit task posts; that task alone gets it.
NOTICE_KEYS = ("GATEFOLD_NOTICE_URL",)

# Kubeflow Pipelines gives every pod of a run this label.
RUN_ID_FIELD = "metadata.labels['pipeline/runid']"


@dataclasses.dataclass(frozen=True)
class Resources:
    """Resources of a node's container; request and limit are the same.

    Attributes:
      cpu: Cores.
      memory_gb: Memory, in units of 10⁹ bytes.
    """

    cpu: float = 2.0
    memory_gb: float = 8.0


@dataclasses.dataclass(frozen=True)
class Deployment:
    """Where and with what the nodes run.

    Attributes:
      image: Container image, best by digest.
      pipeline_root: Folder of the artifacts and of what is pushed: s3:// or gs:// (an absolute path
        where the file is walked without a cluster).
      resources: Of every node that `node_resources` does not name.
      node_resources: Resources by node id (`Transform-log-mel`) or kind (`Transform`); an id wins.
      accelerator: Kubernetes resource of the accelerators for training, as `nvidia.com/gpu`; "" for
        none.
      accelerators: How many of them a training node gets.
      retries: How often a failed node is started again.
      object_store_secret: Kubernetes secret with `OBJECT_STORE_KEYS`; "" for none.
      mlflow_secret: Kubernetes secret with `MLFLOW_KEYS`; "" for none.
      notice_secret: Kubernetes secret with `NOTICE_KEYS`; "" for no notices.
    """

    image: str
    pipeline_root: str
    resources: Resources = Resources()
    node_resources: Mapping[str, Resources] = dataclasses.field(default_factory=dict)
    accelerator: str = ""
    accelerators: int = 1
    retries: int = 2
    object_store_secret: str = ""
    mlflow_secret: str = ""
    notice_secret: str = ""

    def resources_of(self, node: str) -> Resources:
        """Resources of a node, by its id."""
        kind = node.partition("-")[0]
        return self.node_resources.get(node) or self.node_resources.get(kind) or self.resources

    def environment(self) -> dict[str, object]:
        """The part of Kubeflow's platform spec that fills a node's environment.

        It names secrets and never holds their values.
        """
        secrets = (
            (self.object_store_secret, OBJECT_STORE_KEYS),
            (self.mlflow_secret, MLFLOW_KEYS),
        )
        return {
            "secretAsEnv": [
                {
                    "secretName": secret,
                    "keyToEnv": [{"secretKey": key, "envVar": key} for key in keys],
                }
                for secret, keys in secrets
                if secret
            ],
            "fieldPathAsEnv": [{"name": "GATEFOLD_RUN_ID", "fieldPath": RUN_ID_FIELD}],
        }
