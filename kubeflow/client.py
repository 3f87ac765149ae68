"""Runs, schedules, shows and stops compiled pipelines through Kubeflow Pipelines' API.

Each command takes its parsed options and returns lines for people. It raises a UserError if
Kubeflow does not answer, is too old or refuses, or if a file or an id is none of ours.
"""

import argparse
import contextlib
import datetime
import http.client
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests
import yaml

from components.common.errors import UserError
from kubeflow.exit_task import EXIT_TASK
from kubeflow.options import HOST_VARIABLE, pipeline_root

_TIMEOUT_SECONDS = 10
_SHOWN = 20
_PAGE = 100
_ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")

# Before 2.5 nodes get no run id; before 2.14 an exit task takes the others' retries away.
_NEEDED = (2, 5)
_NEEDED_FOR_EXIT_TASK = (2, 14)


def run(options: argparse.Namespace) -> list[str]:
    """Runs a compiled file once."""
    with _session_for_file(options) as (client, root):
        started = client.create_run_from_pipeline_package(
            options.file,
            run_name=options.name or _name(options.file),
            experiment_name=options.experiment,
            namespace=options.namespace,
            pipeline_root=root,
        )
    return [f"run {started.run_id} has started; its artifacts go to {root}"]


def schedule(options: argparse.Namespace) -> list[str]:
    """Runs a compiled file whenever a cron expression says, one run at a time."""
    fields = options.cron.split()
    if len(fields) != 5:
        raise UserError(
            '--cron expects minute, hour, day, month and weekday, as "0 3 * * 1". '
            f"Received: {options.cron!r}"
        )
    with _session_for_file(options) as (client, root):
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
    """Lists the latest runs and the schedules, or the nodes of one run."""
    with _session(options) as client:
        if options.run:
            return _run_lines(_run_document(client, options.run))
        runs = client.list_runs(
            page_size=_SHOWN, sort_by="created_at desc", namespace=options.namespace
        ).runs
        schedules = client.list_recurring_runs(
            page_size=_SHOWN, namespace=options.namespace
        ).recurring_runs
    lines = [
        f"run {run.run_id} ({run.display_name}): {run.state}, created {run.created_at}"
        for run in runs or []
    ]
    lines += [
        f"schedule {schedule.recurring_run_id} ({schedule.display_name}): {schedule.status}"
        for schedule in schedules or []
    ]
    return lines or ["there are neither runs nor schedules"]


def stop(options: argparse.Namespace) -> list[str]:
    """Stops a run, or deletes a schedule; runs that a schedule has started go on."""
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


def clean(options: argparse.Namespace) -> list[str]:
    """Removes artifacts that neither a kept run nor production needs, while no run goes on."""
    root = pipeline_root(options)
    if options.keep_runs < 1:
        raise UserError(f"--keep-runs must be 1 or more. Received: {options.keep_runs}")
    from kubeflow import retention

    with _session(options) as client:
        _require_no_run(client, root, options.namespace)
        removal = retention.plan(root, keep_runs=options.keep_runs)
        if options.dry_run:
            return ["this would be removed:", *removal.lines()]
        # A run that begins from here on is not handed what is removed; one that began before is
        # seen by the second look.
        retention.retire(removal)
        _require_no_run(client, root, options.namespace)
        retention.remove(removal)
    return ["this was removed:", *removal.lines()]


COMMANDS: dict[str, Callable[[argparse.Namespace], list[str]]] = {
    "run": run,
    "schedule": schedule,
    "status": status,
    "stop": stop,
    "clean": clean,
}


def _require_no_run(client: Any, root: str, namespace: str | None) -> None:
    """Raises a UserError if a run with this pipeline root has not ended."""
    page = ""
    while True:
        answer = client.list_runs(page_token=page, page_size=_PAGE, namespace=namespace)
        for run in answer.runs or []:
            runs_root = run.runtime_config.pipeline_root if run.runtime_config else None
            if run.state not in _ENDED and (runs_root or root).rstrip("/") == root:
                raise UserError(f"run {run.run_id} is {run.state}: clean once it has ended")
        page = answer.next_page_token
        if not page:
            return


def _run_document(client: Any, run_id: str) -> dict[str, Any]:
    """The run as JSON: the client's own classes lack what newer releases answer."""
    document: dict[str, Any] = client._run_api.api_client.call_api(
        "/apis/v2beta1/runs/{run_id}",
        "GET",
        {"run_id": run_id},
        [("view", "FULL")],  # without it the development branch leaves its tasks out
        response_type="object",
        auth_settings=["Bearer"],
        _return_http_data_only=True,
    )
    return document


def _run_lines(run: dict[str, Any]) -> list[str]:
    # `run_details.task_details` up to 2.17, `tasks` on the development branch.
    tasks = (run.get("run_details") or {}).get("task_details") or run.get("tasks") or []
    message = (run.get("error") or {}).get("message")
    return [
        f"run {run['run_id']} ({run['display_name']}): {run.get('state')}",
        *([f"  {message}"] if message else []),
        *(
            f"  {task.get('display_name') or task.get('name')}: {task.get('state')}"
            for task in tasks
        ),
    ]


@contextlib.contextmanager
def _session_for_file(options: argparse.Namespace) -> Iterator[tuple[Any, str]]:
    """A session on a Kubeflow that is new enough for a compiled file, and the file's root."""
    spec = _specification(options.file)
    has_exit_task = EXIT_TASK in spec["root"]["dag"]["tasks"]
    with _session(options, _NEEDED_FOR_EXIT_TASK if has_exit_task else _NEEDED) as client:
        yield client, spec["defaultPipelineRoot"]


@contextlib.contextmanager
def _session(options: argparse.Namespace, needed: tuple[int, int] = (0, 0)) -> Iterator[Any]:
    """Opens kfp's client once Kubeflow has answered; its errors become one sentence."""
    if not options.host:
        raise UserError(f"--host is missing: give the URL of Kubeflow Pipelines or {HOST_VARIABLE}")
    token = _token(options.token_file)
    health = _health(options.host, token)
    if not options.namespace and (health.get("multi_user") or options.namespace == ""):
        raise UserError(
            f"--namespace is missing: several users share Kubeflow at {options.host}; name your "
            "profile's namespace"
        )
    _check_version(options.host, str(health.get("tag_name", "")), needed)
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


def _health(host: str, token: str) -> dict[str, Any]:
    """What Kubeflow says of itself: kfp's own client repeats the question for half a minute."""
    if not host.startswith(("http://", "https://")):
        raise UserError(f"--host must begin with http:// or https://. Received: {host}")
    try:
        answer = requests.get(
            f"{host.rstrip('/')}/apis/v2beta1/healthz",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=_TIMEOUT_SECONDS,
        )
        answer.raise_for_status()
        health = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise UserError(
            f"--host: Kubeflow Pipelines does not answer at {host} ({error}); "
            "kubectl port-forward -n kubeflow svc/ml-pipeline 8888 makes it http://localhost:8888"
        ) from error
    return health if isinstance(health, dict) else {}


def _check_version(host: str, version: str, needed: tuple[int, int]) -> None:
    """Refuses an older release; one that does not say its number is believed to be new enough."""
    number = re.match(r"v?(\d+)\.(\d+)", version)
    if number and (int(number[1]), int(number[2])) < needed:
        why = "an exit task" if needed == _NEEDED_FOR_EXIT_TASK else "a run"
        raise UserError(
            f"{why} of Gatefold needs Kubeflow Pipelines {needed[0]}.{needed[1]} or newer; "
            f"{host} is {version} (docs/notes/kubeflow.md)"
        )


def _token(file: str) -> str:
    if not file:
        return ""
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token-file: {file} cannot be read ({error})") from error


def _specification(file: str) -> dict[str, Any]:
    """The pipeline's specification in a file that `compile` wrote."""
    try:
        with Path(file).open() as source:
            spec = next(yaml.safe_load_all(source), None)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{file} cannot be read ({str(error).splitlines()[0]})") from error
    # Kubeflow takes the pipeline root from the run, not from the file.
    if not isinstance(spec, dict) or not spec.get("defaultPipelineRoot"):
        raise UserError(f"{file} is no file that `gatefold kubeflow compile` wrote")
    return spec


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
