"""The exit task: runs after all nodes, however they ended, and posts a notice (`notice`)."""

from typing import Any

from kubeflow.deployment import NOTICE_KEYS, Deployment, Resources

EXIT_TASK = "exit-notice"
NODES = "all-nodes"

_EXECUTOR = f"{EXIT_TASK}-executor"
_RESOURCES = Resources(cpu=0.5, memory_gb=2)


def add(spec: dict[str, Any], executors: dict[str, Any], deployment: Deployment) -> None:
    """Puts all tasks below one, and adds the exit task behind it, in place.

    Args:
      spec: A PipelineSpec whose tasks are complete.
      executors: The PlatformSpec's executors.
      deployment: What the cluster gives to the nodes; it names the notice's secret.
    """
    pipeline = spec["pipelineInfo"]["name"]
    spec["components"][NODES] = {"dag": {"tasks": spec["root"]["dag"]["tasks"]}}
    spec["components"][EXIT_TASK] = {"executorLabel": _EXECUTOR}
    spec["root"]["dag"]["tasks"] = {
        NODES: {"taskInfo": {"name": NODES}, "componentRef": {"name": NODES}},
        EXIT_TASK: {
            "taskInfo": {"name": EXIT_TASK},
            "componentRef": {"name": EXIT_TASK},
            "dependentTasks": [NODES],
            "triggerPolicy": {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
        },
    }
    spec["deploymentSpec"]["executors"][_EXECUTOR] = {
        "container": {
            "image": deployment.image,
            "command": ["python", "-m", "kubeflow.notice"],
            "args": [f"{deployment.pipeline_root}/{pipeline}"],
            "resources": {
                "cpuRequest": _RESOURCES.cpu,
                "cpuLimit": _RESOURCES.cpu,
                "memoryRequest": _RESOURCES.memory_gb,
                "memoryLimit": _RESOURCES.memory_gb,
            },
        }
    }
    environment: dict[str, Any] = deployment.environment()
    environment["secretAsEnv"] += [
        {
            "secretName": deployment.notice_secret,
            "keyToEnv": [{"secretKey": key, "envVar": key} for key in NOTICE_KEYS],
        }
    ]
    executors[_EXECUTOR] = environment
