"""What each release of Kubeflow Pipelines does to a compiled file, as its Go source has it.

docs/notes/kubeflow.md#releases shows this table, and `test_releases.py` compares the two.
"""

import dataclasses
import itertools
import re

# RFC 1123, as Kubernetes checks the names of pods.
POD_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_POD_NAME = 253
_WORKFLOW = "gatefold-x7k2p"  # the pipeline's name, and letters that the API server draws
_HASH = "1234567890"  # of a pod's node in the workflow, at most ten digits


@dataclasses.dataclass(frozen=True)
class Release:
    """One release, or several that do the same.

    Attributes:
      name: Their versions.
      whole_schema: An input's type is a title that holds the whole schema; else it is empty.
      pods_named_after_tasks: The pod of a task with retries has the task's name.
      no_window_is_zero: A retry policy without `backoffMaxDuration` has a window of no time.
      metadata_in_bucket_path: The executor's output file is `/s3/<bucket>/…/output_metadata.json`;
        else `/tmp/kfp_outputs/output_metadata.json`.
      own_mlflow_run: A plugin may put a run of its own into `MLFLOW_RUN_ID`.
      missing_output_fails: An output that is not on the pod's disk fails its task.
    """

    name: str
    whole_schema: bool = False
    pods_named_after_tasks: bool = False
    no_window_is_zero: bool = True
    metadata_in_bucket_path: bool = True
    own_mlflow_run: bool = False
    missing_output_fails: bool = False


RELEASES = (
    Release(
        "2.5.0",
        pods_named_after_tasks=True,
        no_window_is_zero=False,
        metadata_in_bucket_path=False,
    ),
    Release("2.14.0 to 2.14.4", metadata_in_bucket_path=False),
    Release("2.15, 2.16"),
    Release("2.17", own_mlflow_run=True),
    Release("development", whole_schema=True, own_mlflow_run=True, missing_output_fails=True),
)
OLDEST, NEWEST = RELEASES[0], RELEASES[-1]


def pod_name(release: Release, task: str, *, retried: bool) -> str:
    """The name that Argo makes for a task's pod: workflow, template, hash."""
    template = "system-container-impl"
    if retried:
        prefix = task if release.pods_named_after_tasks else "retry"
        template = f"{prefix}-{template}"
    stem = f"{_WORKFLOW}-{template}"
    return f"{stem[: _LONGEST_POD_NAME - len(_HASH) - 1]}-{_HASH}"


def attempts(release: Release, policy: dict | None, *, attempt_seconds: float) -> int:
    """How often Argo starts a node that always fails.

    Args:
      release: Of Kubeflow, which makes Argo's `retryStrategy` from `policy`.
      policy: The task's `retryPolicy` in the compiled file.
      attempt_seconds: How long each attempt takes until it fails.
    """
    if policy is None:
        return 1
    seconds = {key: float(str(value).removesuffix("s")) for key, value in policy.items()}
    factor = seconds["backoffFactor"]
    assert factor == int(factor), f"Argo takes whole numbers for a factor, not {factor}"
    window = seconds.get("backoffMaxDuration")
    if window is None:
        window = 0.0 if release.no_window_is_zero else float("inf")
    now, wait = 0.0, seconds["backoffDuration"]
    for started in itertools.count(1):
        now += attempt_seconds
        # The window opens when the first attempt starts, and must hold the waiting as well.
        if started > seconds["maxRetryCount"] or now + wait > window:
            return started
        now += wait
        wait *= factor
    raise AssertionError
