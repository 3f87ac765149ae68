"""Posts one JSON line about how a run ended: `python -m kubeflow.notice FOLDER`.

The command of the exit task. FOLDER holds the runs' artifacts; the run's id and the URL come from
the environment (`GATEFOLD_RUN_ID`, `GATEFOLD_NOTICE_URL`). What it says is read from the artifacts,
because Kubeflow calls the nodes of a run that was killed RUNNING.
"""

import http.client
import json
import os
import sys
import time
import urllib.request
from typing import Any

from components.common import files, lineage, storage
from components.common.tracking import RUN_ID_VARIABLE
from kubeflow.deployment import NOTICE_KEYS

_TIMEOUT_SECONDS = 20
_PAUSES_SECONDS = (1, 5, 30)


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
    request = urllib.request.Request(
        url,
        data=f"{json.dumps(content, ensure_ascii=False)}\n".encode(),
        headers={"Content-Type": "application/json"},
    )
    # A redirect would turn the post into a question without content.
    opener = urllib.request.build_opener(_NoRedirect)
    problem = ""
    for pause in (*_PAUSES_SECONDS, 0):
        try:
            with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                answer.read()
            return ""
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = str(getattr(error, "code", "") or type(error).__name__)
        time.sleep(pause)
    return f"the notice was not taken ({problem})"


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


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
