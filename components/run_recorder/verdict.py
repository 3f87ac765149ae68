"""What MLflow says of the gate: verdicts and reasons as tags, the judged figures as metrics."""

import math
from collections.abc import Mapping
from typing import Any

from components.common.tracking import PipelineRuns

PASSED, REFUSED = "passed", "refused"
_LONGEST_TAG = 4000  # MLflow's stores take 5000 characters


def record(runs: PipelineRuns, judgement: Mapping[str, Any]) -> None:
    """Adds the verdicts to the runs of the pipeline and of every branch.

    Args:
      runs: Of this run of the pipeline.
      judgement: The gate's `report.json`.
    """
    for model, judged in judgement["models"].items():
        _record_branch(runs, runs.branch_run(model), judged)
    _record_pipeline(runs, runs.pipeline_run(), judgement)


def _record_branch(runs: PipelineRuns, run: str, judged: Mapping[str, Any]) -> None:
    failed = [row for row in judged["gates"] if not row["passed"]]
    runs.log_tags(
        run,
        {
            "gate": PASSED if judged["blessed"] else REFUSED,
            "gate.failed": ", ".join(row["gate"] for row in failed) or "none",
            "gate.reasons": "; ".join(map(_reason, failed))[:_LONGEST_TAG] or "none",
            "checksum": judged["checksum"],
        },
    )
    figures = {f"gate_{row['gate']}": row["figure"] for row in judged["gates"]}
    for name in ("ece", "brier"):
        figures[f"test_track_{name}"] = (judged["figures"].get(name) or {}).get("value")
    runs.log_metrics(run, {name: value for name, value in figures.items() if _is_number(value)})


def _record_pipeline(runs: PipelineRuns, run: str, judgement: Mapping[str, Any]) -> None:
    models = judgement["models"]
    passed = [name for name, judged in models.items() if judged["blessed"]]
    waivers = [f"{entry['gate']}: {entry['reason']}" for entry in judgement.get("waivers", ())]
    loosened = [
        f"{entry['gate']}: {entry['value']:g} instead of {entry['default']:g}"
        for entry in judgement.get("loosened", ())
    ]
    runs.log_tags(
        run,
        {
            "gate": PASSED if passed else REFUSED,
            "gate.passed": ", ".join(passed) or "none",
            "gate.refused": ", ".join(name for name in models if name not in passed) or "none",
            "gate.waivers": "; ".join(waivers)[:_LONGEST_TAG] or "none",
            "gate.loosened": "; ".join(loosened)[:_LONGEST_TAG] or "none",
            "production": judgement["production"].get("note", ""),
        },
    )


def _reason(row: Mapping[str, Any]) -> str:
    if row["figure"] is None:
        return f"{row['title']}: {row['detail']}"
    threshold = "" if row["threshold"] is None else f", {row['direction']} {row['threshold']:.4g}"
    return f"{row['title']}: {row['figure']:.4g}{threshold}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
