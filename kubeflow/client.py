"""Runs, schedules, shows and stops compiled pipelines through Kubeflow Pipelines' API."""

import argparse
import contextlib
import datetime
import http.client
import io
import logging
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from components.common.errors import UserError
from kubeflow.options import HOST_VARIABLE

_TIMEOUT_SECONDS = 10
_CRON_FIELDS = 5
_SHOWN = 20


def run(options: argparse.Namespace) -> list[str]:
    """Runs a compiled file once.

    Args:
      options: `file`, `name`, `experiment`, and how to reach Kubeflow.

    Returns:
      Lines for people.

    Raises:
      UserError: The file is none of ours, or Kubeflow does not answer or refuses.
    """
    root = _pipeline_root(options.file)
    with _session(options) as client:
        started = client.create_run_from_pipeline_package(
            options.file,
            run_name=options.name or _name(options.file),
            experiment_name=options.experiment,
            namespace=options.namespace,
            pipeline_root=root,
        )
    return [f"run {started.run_id} has started; its artifacts go to {root}"]


def schedule(options: argparse.Namespace) -> list[str]:
    """Runs a compiled file whenever a cron expression says, one run at a time.

    Args:
      options: `file`, `cron`, `name`, `experiment`, and how to reach Kubeflow.

    Returns:
      Lines for people.

    Raises:
      UserError: As `run`, or the expression has not five fields.
    """
    fields = options.cron.split()
    if len(fields) != _CRON_FIELDS:
        raise UserError(
            '--cron expects minute, hour, day, month and weekday, as "0 3 * * 1". '
            f"Received: {options.cron!r}"
        )
    root = _pipeline_root(options.file)
    with _session(options) as client:
        experiment = client.create_experiment(options.experiment, namespace=options.namespace)
        recurring = client.create_recurring_run(
            experiment_id=experiment.experiment_id,
            job_name=options.name or _name(options.file),
            # Kubeflow's cron has seconds in front.
            cron_expression=" ".join(["0", *fields]),
            # Two runs at a time would push into the same folder; a missed one is not repeated.
            max_concurrency=1,
            no_catchup=True,
            pipeline_package_path=options.file,
            pipeline_root=root,
        )
    return [f"schedule {recurring.recurring_run_id} runs {options.file} at {options.cron!r} (UTC)"]


def status(options: argparse.Namespace) -> list[str]:
    """Lists the latest runs and the schedules, or the nodes of one run.

    Args:
      options: `run`, an id or "", and how to reach Kubeflow.

    Returns:
      Lines for people.

    Raises:
      UserError: Kubeflow does not answer or knows no such run.
    """
    with _session(options) as client:
        if options.run:
            found = client.get_run(options.run)
            details = found.run_details.task_details or [] if found.run_details else []
            nodes = [f"  {task.display_name}: {task.state}" for task in details]
            problem = [f"  {found.error.message}"] if found.error else []
            return [f"run {found.run_id} ({found.display_name}): {found.state}", *problem, *nodes]
        runs = client.list_runs(
            page_size=_SHOWN, sort_by="created_at desc", namespace=options.namespace
        ).runs
        schedules = client.list_recurring_runs(
            page_size=_SHOWN, namespace=options.namespace
        ).recurring_runs
    lines = [
        f"run {one.run_id} ({one.display_name}): {one.state}, created {one.created_at}"
        for one in runs or []
    ]
    lines += [
        f"schedule {one.recurring_run_id} ({one.display_name}): {one.status}"
        for one in schedules or []
    ]
    return lines or ["there are neither runs nor schedules"]


def stop(options: argparse.Namespace) -> list[str]:
    """Stops a run, or deletes a schedule; runs that a schedule has started go on.

    Args:
      options: `id`, and how to reach Kubeflow.

    Returns:
      Lines for people.

    Raises:
      UserError: Kubeflow does not answer or knows no such id.
    """
    import kfp_server_api

    with _session(options) as client:
        try:
            client.get_recurring_run(options.id)
        except kfp_server_api.ApiException as error:
            if error.status != http.client.NOT_FOUND:
                raise
        else:
            client.delete_recurring_run(options.id)
            return [f"schedule {options.id} is deleted"]
        client.terminate_run(options.id)
    return [f"run {options.id} is stopped"]


COMMANDS: dict[str, Callable[[argparse.Namespace], list[str]]] = {
    "run": run,
    "schedule": schedule,
    "status": status,
    "stop": stop,
}


@contextlib.contextmanager
def _session(options: argparse.Namespace) -> Iterator[Any]:
    """Opens kfp's client once Kubeflow has answered; its errors become one sentence."""
    if not options.host:
        raise UserError(f"--host is missing: give the URL of Kubeflow Pipelines or {HOST_VARIABLE}")
    token = _token(options.token_file)
    _check_answers(options.host, token)
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger().setLevel(logging.ERROR)  # kfp reports at length what it does
    import kfp
    import kfp_server_api
    import urllib3

    try:
        # kfp prints links for notebooks.
        with contextlib.redirect_stdout(io.StringIO()):
            yield kfp.Client(
                host=options.host,
                existing_token=token or None,
                namespace=options.namespace or "kubeflow",
            )
    except kfp_server_api.ApiException as error:
        raise UserError(f"Kubeflow at {options.host} refuses: {_reason(error)}") from error
    except (urllib3.exceptions.HTTPError, TimeoutError) as error:
        raise UserError(f"--host: {options.host} no longer answers ({error})") from error


def _check_answers(host: str, token: str) -> None:
    """Asks Kubeflow for its health: kfp's own client repeats that for half a minute."""
    if not host.startswith(("http://", "https://")):
        raise UserError(f"--host must begin with http:// or https://. Received: {host}")
    request = urllib.request.Request(f"{host.rstrip('/')}/apis/v2beta1/healthz")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            answer.read()
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"--host: Kubeflow Pipelines does not answer at {host} ({reason}); "
            "kubectl port-forward -n kubeflow svc/ml-pipeline 8888 makes it http://localhost:8888"
        ) from error


def _token(file: str) -> str:
    if not file:
        return ""
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token-file: {file} cannot be read ({error})") from error


def _pipeline_root(file: str) -> str:
    """The pipeline root that `compile` put into a file.

    Kubeflow takes it from the run, not from the file.
    """
    try:
        with Path(file).open() as source:
            spec = next(yaml.safe_load_all(source), None)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{file} cannot be read ({str(error).splitlines()[0]})") from error
    root = spec.get("defaultPipelineRoot") if isinstance(spec, dict) else None
    if not root:
        raise UserError(f"{file} is no file that kubeflow.runner compile wrote")
    return str(root)


def _name(file: str) -> str:
    return f"{Path(file).stem} {datetime.datetime.now():%Y-%m-%d %H:%M:%S}"


def _reason(error: Any) -> str:
    """The first line of what the API answered."""
    text = str(error.body or error.reason or error)
    with contextlib.suppress(yaml.YAMLError):
        content = yaml.safe_load(text)
        if isinstance(content, dict):
            text = str(content.get("message") or content.get("error") or text)
    return text.strip().splitlines()[0]
