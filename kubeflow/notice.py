"""Posts one JSON line about how a run ended: `python -m kubeflow.notice FOLDER`.

The command of the exit task. FOLDER holds the runs' artifacts; the run's id and the URL come from
the environment (`GATEFOLD_RUN_ID`, `GATEFOLD_NOTICE_URL`). What it says is read from the artifacts,
because Kubeflow calls the nodes of a run that was killed RUNNING.
"""

import json
import os
import sys
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from components.common import files, lineage, storage
from components.common.tracking import RUN_ID_VARIABLE
from kubeflow.deployment import NOTICE_KEYS

_TIMEOUT_SECONDS = 20
# It waits for 0, 4, 8 and 16 seconds.
RETRIES = Retry(4, status_forcelist=range(500, 600), allowed_methods=None, backoff_factor=2)


def notice(folder: str, run_id: str) -> dict[str, Any]:
    """What is said about a run.

    Args:
      folder: The folder with a folder for each run.
      run_id: The run.

    Returns:
      `run`, `state` (SUCCEEDED if all nodes ended, though perhaps no model passed the gate; else
      FAILED), `verdict` (the outcome, one sentence) and `report` (the release report's address);
      "" for what the run did not come to.
    """
    place = f"{folder.rstrip('/')}/{run_id}"
    names = sorted(files.files_below(place)) if files.exists(place) else []
    verdict = report = ""
    records = [name for name in names if name.endswith(lineage.LAST_FILE)]
    for name in records:
        with files.open_file(f"{place}/{name}", "r") as file:
            verdict = str(json.loads(file.read()).get("outcome", ""))
    for name in names:
        if name.endswith(f"/{lineage.LINEAGE_FILE}"):
            task = lineage.read(f"{place}/{name}".rpartition("/")[0])
            if task is not None and task.inputs.get("report"):
                report = f"{task.inputs['report'][0]}/index.html"
    return {
        "run": run_id,
        "state": "SUCCEEDED" if records else "FAILED",
        "verdict": verdict,
        "report": report,
    }


def post(url: str, content: dict[str, Any]) -> str:
    """Posts a line, several times if it must be.

    Args:
      url: http:// or https://; may hold a password, so it is never printed.
      content: The line.

    Returns:
      Why it did not arrive; "" if it did.
    """
    if not url.startswith(("http://", "https://")):
        return f"{NOTICE_KEYS[0]} is no address that begins with http:// or https://"
    session = requests.Session()
    session.mount(url, HTTPAdapter(max_retries=RETRIES))
    try:
        answer = session.post(
            url,
            data=f"{json.dumps(content, ensure_ascii=False)}\n".encode(),
            headers={"Content-Type": "application/json"},
            timeout=_TIMEOUT_SECONDS,
            # A redirect would turn the post into a question without content.
            allow_redirects=False,
        )
    except (requests.RequestException, ValueError) as error:
        return f"the notice was not taken ({type(error).__name__})"
    refused = answer.status_code >= 300
    return f"the notice was not taken (status {answer.status_code})" if refused else ""


def main(arguments: list[str]) -> int:
    """Posts the notice; 1 if it did not arrive, so that Kubeflow shows it."""
    (folder,) = arguments
    if storage.is_remote(folder):
        storage.open_object_stores(folder)
    content = notice(folder, os.environ[RUN_ID_VARIABLE])
    print(json.dumps(content, ensure_ascii=False))
    problem = post(os.environ[NOTICE_KEYS[0]], content)
    if problem:
        print(f"kubeflow.notice: {problem}", file=sys.stderr)
    return int(bool(problem))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
