"""Executes compiled pipelines as Kubeflow Pipelines 2 does, without Kubernetes.

What a run needs is taken from the YAML file alone. The driver's, the launcher's and Argo's part is
done here as their Go code does it (backend/src/v2/driver, component, cacheutils, metadata), with
what each release does to a file (`releases.py`):
- inputs are resolved from the task's spec and from outputs of upstream tasks. An input artifact is
  named by its number in the metadata store and has no type. Its metadata has every number as a
  double, lists and structs wrapped, and two keys of Kubeflow's;
- an output `executor-logs` is added to those that a node declares;
- a task is cached by the names of its input artifacts, its parameters, its outputs' types and its
  container's image and command, and a cached task hands on the artifacts of the earlier one;
- a container gets `{{$}}` replaced by the ExecutorInput, starts in an empty folder, and sees no
  environment but what the platform spec gives it from secrets and from the pod's fields;
- a task that fails is started again as often as Argo would, in a pod whose name Kubernetes takes.

Not done: resources, and copying of artifacts between the store and the container's disk, which
TFX's executors do not need. Artifacts lie on this disk or in an object store; the folder `tmp` or
`s3` of a task stands for these paths in its container.
"""

import dataclasses
import hashlib
import json
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from tests.kubeflow import releases
from tests.kubeflow.releases import Release
from tests.warm import WarmProcess

_TAIL = 6000
_STORE = '{"Provider":"s3","Params":{"fromEnv":"false"}}'
_ATTEMPT_SECONDS = 8 * 3600  # of Argo's clock
_LONGEST_TASK_SECONDS = 600


# Runs a command in a folder, with an environment, its output in a log; returns the exit code.
Start = Callable[[list[str], Path, dict[str, str], Path], int]


def start_process(command: list[str], folder: Path, environment: dict[str, str], log: Path) -> int:
    """Runs a command as a process of its own, as a container does."""
    with log.open("w") as output:
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode


def start_warm(command: list[str], folder: Path, environment: dict[str, str], log: Path) -> int:
    """Runs a command as a fork of a process that has imported TensorFlow and TFX.

    A walk of many tasks spends most of its time on imports otherwise. Our own code is imported by
    each task: from the environment in which its `python` lies, or from `PYTHONPATH`.
    """
    program, option, module, *arguments = command
    assert (program, option) == ("python", "-m"), command
    if "PYTHONPATH" not in environment:
        folders = Path(environment["PATH"].split(":")[0]).parent.glob("lib/python*/site-packages")
        environment = {**environment, "PYTHONPATH": str(next(folders))}
    process = WarmProcess(module, arguments, cwd=folder, env=environment)
    screen, _ = process.communicate(timeout=_LONGEST_TASK_SECONDS)
    log.write_text(screen)
    return process.returncode


class TaskFailedError(Exception):
    """A task failed, for a reason of Kubernetes' or of Kubeflow's, or with the end of its log."""


@dataclasses.dataclass
class Run:
    """A finished run.

    Attributes:
      run_id: Its id.
      executed: Tasks whose container ran, in order; again for each further attempt.
      cached: Tasks that were not started, in order.
      outputs: Artifacts by task and output key.
      parameters: Output parameters by task and key.
      seconds: Wall-clock time of each executed task.
    """

    run_id: str
    executed: list[str] = dataclasses.field(default_factory=list)
    cached: list[str] = dataclasses.field(default_factory=list)
    outputs: dict[tuple[str, str], pb.RuntimeArtifact] = dataclasses.field(default_factory=dict)
    parameters: dict[tuple[str, str], Any] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    def output(self, task: str, key: str) -> pb.RuntimeArtifact:
        return self.outputs[task, key]


@dataclasses.dataclass(frozen=True)
class _Finished:
    """What a task leaves: artifacts, and parameters as protobuf values, by output key."""

    artifacts: dict[str, pb.RuntimeArtifact]
    parameters: dict[str, Any]


class Cluster:
    """Stands for a cluster: its secrets, its disks, and the cache of its Kubeflow."""

    def __init__(
        self,
        folder: Path,
        *,
        programs: Path,
        secrets: Mapping[str, Mapping[str, str]],
    ) -> None:
        """Makes a cluster without any run; `programs` is the image, the folder of its `python`."""
        self._folder = folder
        self._programs = programs
        self._secrets = secrets
        self._cache: dict[str, _Finished] = {}
        self._artifacts = 0

    def run(
        self,
        file: Path,
        *,
        pipeline_root: str,
        release: Release = releases.OLDEST,
        until: str = "",
        start: Start = start_process,
        cold: Collection[str] = (),
    ) -> Run:
        """Runs a compiled file.

        Args:
          file: The YAML file.
          pipeline_root: As given when a run is created.
          release: Of Kubeflow.
          until: The task to end with, after those that it depends on; all tasks unless given.
          start: Runs a command; as a new process unless given.
          cold: Tasks whose command is a new process, whatever `start` is.

        Raises:
          TaskFailedError: A task failed for good.
        """
        walk = _Walk(self, file, Run(str(uuid.uuid4())), pipeline_root.rstrip("/"), release)
        order = walk.order(until)
        assert set(cold) <= set(order), f"no such tasks: {set(cold) - set(order)}"
        for task in order:
            walk.do(task, start_process if task in cold else start)
        return walk.run

    def store(self, artifact: pb.RuntimeArtifact) -> pb.RuntimeArtifact:
        """Puts an artifact into the metadata store: it gets a number, which becomes its name."""
        self._artifacts += 1
        stored = pb.RuntimeArtifact()
        stored.CopyFrom(artifact)
        stored.name = str(self._artifacts)
        return stored

    def found(self, key: str) -> _Finished | None:
        return self._cache.get(key)

    def keep(self, key: str, finished: _Finished) -> None:
        self._cache[key] = finished

    def environment(self, platform: Mapping[str, Any], run_id: str) -> dict[str, str]:
        """Variables of a container: what its platform spec says, and where programs are."""
        variables = {"PATH": f"{self._programs}:/usr/bin:/bin"}
        assert set(platform) <= {"secretAsEnv", "fieldPathAsEnv"}, platform
        for secret in platform.get("secretAsEnv", []):
            for key in secret["keyToEnv"]:
                # A missing secret or key keeps a pod from starting.
                variables[key["envVar"]] = self._secrets[secret["secretName"]][key["secretKey"]]
        labels = {"pipeline/runid": run_id}
        for field in platform.get("fieldPathAsEnv", []):
            label = re.fullmatch(r"metadata\.labels\['(.+)'\]", field["fieldPath"])
            assert label, field
            variables[field["name"]] = labels[label.group(1)]
        return variables

    def execute(
        self, command: list[str], pod: Path, environment: dict[str, str], start: Start
    ) -> None:
        """Runs a container's command in an empty folder.

        Raises:
          TaskFailedError: It ended with another code than 0.
        """
        work = pod / "work"
        work.mkdir()
        log = pod / "log.txt"
        log.touch()
        code = start(command, work, {**environment, "HOME": str(work)}, log)
        if code:
            raise TaskFailedError(f"{pod.name} ended with {code}:\n{log.read_text()[-_TAIL:]}")

    def pod(self, run_id: str, task: str, attempt: int) -> Path:
        """Makes the folder of a task's container."""
        folder = self._folder / run_id / f"{task}-{attempt}"
        folder.mkdir(parents=True)
        return folder


class _Walk:
    """One run on a cluster."""

    def __init__(self, cluster: Cluster, file: Path, run: Run, root: str, release: Release) -> None:
        spec, *others = yaml.safe_load_all(file.read_text())
        self.run = run
        self._release = release
        self._cluster = cluster
        self._retry_policies = {
            name: task.get("retryPolicy") for name, task in spec["root"]["dag"]["tasks"].items()
        }
        self._spec = json_format.ParseDict(spec, pb.PipelineSpec())
        self._deployment = json_format.ParseDict(
            json_format.MessageToDict(self._spec.deployment_spec), pb.PipelineDeploymentConfig()
        )
        platform = others[0]["platforms"]["kubernetes"] if others else {"deploymentSpec": {}}
        self._platform = platform["deploymentSpec"].get("executors", {})
        self._root = f"{root}/{self._spec.pipeline_info.name}/{run.run_id}"

    def order(self, until: str) -> list[str]:
        """Names of the tasks, each behind those that it depends on."""
        tasks, ordered = self._spec.root.dag.tasks, []
        needed = {until} if until else set(tasks)
        for _ in tasks:
            needed |= {one for name in needed for one in tasks[name].dependent_tasks}
        while len(ordered) < len(needed):
            ready = sorted(
                name
                for name in needed
                if name not in ordered and set(tasks[name].dependent_tasks) <= set(ordered)
            )
            assert ready, "the tasks depend on each other in a circle"
            ordered += ready
        return ordered

    def do(self, name: str, start: Start) -> None:
        """Runs a task or finds it in the cache, and hands on its outputs."""
        task = self._spec.root.dag.tasks[name]
        component = self._spec.components[task.component_ref.name]
        container = self._deployment.executors[component.executor_label].container
        invocation = pb.ExecutorInput()
        assert task.task_info.name == name
        self._resolve_inputs(invocation, task, component)
        self._provide_outputs(invocation, name, component)
        key = self._cache_key(invocation, component, container)
        finished = self._cluster.found(key) if task.caching_options.enable_cache else None
        if finished:
            self.run.cached.append(name)
        else:
            started = time.monotonic()
            finished = self._launch_until_it_succeeds(name, component, container, invocation, start)
            self.run.seconds[name] = time.monotonic() - started
            if task.caching_options.enable_cache:
                self._cluster.keep(key, finished)
        for output, artifact in finished.artifacts.items():
            self.run.outputs[name, output] = artifact
        for output, value in finished.parameters.items():
            self.run.parameters[name, output] = value

    def _resolve_inputs(
        self, invocation: pb.ExecutorInput, task: pb.PipelineTaskSpec, component: pb.ComponentSpec
    ) -> None:
        for name, source in task.inputs.artifacts.items():
            producer = source.task_output_artifact
            assert producer.producer_task in task.dependent_tasks
            artifact = self.run.outputs[producer.producer_task, producer.output_artifact_key]
            invocation.inputs.artifacts[name].artifacts.append(
                _as_input(artifact, producer.output_artifact_key, self._release)
            )
        for name, source in task.inputs.parameters.items():
            value = invocation.inputs.parameter_values[name]
            if source.WhichOneof("kind") == "task_output_parameter":
                producer = source.task_output_parameter
                assert producer.producer_task in task.dependent_tasks
                value.CopyFrom(
                    self.run.parameters[producer.producer_task, producer.output_parameter_key]
                )
            else:
                assert source.WhichOneof("kind") == "runtime_value", source
                value.CopyFrom(source.runtime_value.constant)
                if value.string_value == "{{$.pipeline_job_uuid}}":
                    value.string_value = self.run.run_id
        for name in component.input_definitions.parameters:
            assert name in invocation.inputs.parameter_values, f"{name} is not optional"

    def _provide_outputs(
        self, invocation: pb.ExecutorInput, name: str, component: pb.ComponentSpec
    ) -> None:
        salt = uuid.uuid4()
        for key, output in component.output_definitions.artifacts.items():
            artifact = invocation.outputs.artifacts[key].artifacts.add(
                uri=f"{self._root}/{name}/{salt}/{key}"
            )
            artifact.type.CopyFrom(output.artifact_type)
            artifact.metadata.CopyFrom(output.metadata)
        log = invocation.outputs.artifacts["executor-logs"].artifacts.add()
        log.uri = f"{self._root}/{name}/{salt}/executor-logs"
        log.type.schema_title = "system.Artifact"

    def _cache_key(
        self,
        invocation: pb.ExecutorInput,
        component: pb.ComponentSpec,
        container: Any,
    ) -> str:
        inputs = invocation.inputs
        outputs = component.output_definitions
        content = {
            "pipeline": self._spec.pipeline_info.name,
            "artifacts": {
                key: [artifact.name for artifact in value.artifacts]
                for key, value in inputs.artifacts.items()
            },
            "parameters": {
                key: json_format.MessageToDict(value)
                for key, value in inputs.parameter_values.items()
            },
            "outputs": {
                key: json_format.MessageToDict(value) for key, value in outputs.artifacts.items()
            },
            "output_parameters": {
                key: value.parameter_type for key, value in outputs.parameters.items()
            },
            "image": container.image,
            "command": [*container.command, *container.args],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _launch_until_it_succeeds(
        self,
        name: str,
        component: pb.ComponentSpec,
        container: Any,
        invocation: pb.ExecutorInput,
        start: Start,
    ) -> _Finished:
        policy = self._retry_policies[name]
        pod = releases.pod_name(self._release, name, retried=policy is not None)
        if not releases.POD_NAME.fullmatch(pod):
            raise TaskFailedError(f"Kubernetes refuses the pod {pod}")
        most = releases.attempts(self._release, policy, attempt_seconds=_ATTEMPT_SECONDS)
        for attempt in range(1, most + 1):
            self.run.executed.append(name)
            try:
                return self._launch(name, component, container, invocation, start, attempt)
            except TaskFailedError:
                if attempt == most:
                    raise
        raise AssertionError

    def _launch(
        self,
        name: str,
        component: pb.ComponentSpec,
        container: Any,
        invocation: pb.ExecutorInput,
        start: Start,
        attempt: int,
    ) -> _Finished:
        pod = self._cluster.pod(self.run.run_id, name, attempt)
        outputs = invocation.outputs
        folder = f"s3/bucket/{name}" if self._release.metadata_in_bucket_path else "tmp/kfp_outputs"
        outputs.output_file = str(pod / folder / "output_metadata.json")
        for key in component.output_definitions.parameters:
            outputs.parameters[key].output_file = str(pod / "outputs" / key)
        for artifacts in outputs.artifacts.values():
            _make_parent(artifacts.artifacts[0].uri)
        text = json_format.MessageToJson(invocation)
        command = [part.replace("{{$}}", text) for part in (*container.command, *container.args)]
        environment = self._cluster.environment(
            self._platform.get(component.executor_label, {}), self.run.run_id
        )
        if self._release.own_mlflow_run:
            environment["MLFLOW_RUN_ID"] = "a run of Kubeflow's"
        self._cluster.execute(command, pod, environment, start)
        written = json_format.Parse(Path(outputs.output_file).read_text(), pb.ExecutorOutput())
        made = {}
        for key in component.output_definitions.artifacts:
            (artifact,) = outputs.artifacts[key].artifacts
            for update in written.artifacts[key].artifacts:
                artifact.uri = update.uri or artifact.uri
                artifact.metadata.update(json_format.MessageToDict(update.metadata))
            if self._release.missing_output_fails and _is_missing(artifact.uri):
                raise TaskFailedError(f"{name}: no {artifact.uri} to upload")
            if None in artifact.metadata.values():
                raise TaskFailedError(f"{name}: {key} has metadata that cannot be recorded")
            made[key] = self._cluster.store(artifact)
        return _Finished(made, dict(written.parameter_values))


def _as_input(artifact: pb.RuntimeArtifact, key: str, release: Release) -> pb.RuntimeArtifact:
    """An artifact as the driver hands it to a task."""
    made = pb.RuntimeArtifact(name=artifact.name, uri=artifact.uri)
    if release.whole_schema:
        made.type.schema_title = artifact.type.instance_schema
    else:
        made.type.instance_schema = ""
    for name, value in json_format.MessageToDict(artifact.metadata).items():
        wrapped = {list: {"list": value}, dict: {"struct": value}, bool: float(value is True)}
        made.metadata[name] = wrapped.get(type(value), value)
    made.metadata.update({"display_name": key, "store_session_info": _STORE})
    return made


def _is_missing(uri: str) -> bool:
    """Whether the launcher finds nothing to upload; a path of this disk stands for the pod's."""
    return "://" not in uri and not Path(uri).exists()


def _make_parent(uri: str) -> None:
    """Makes the folder above an artifact, as the launcher does on the container's disk."""
    if "://" not in uri:
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
