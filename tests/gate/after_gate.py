"""What follows the gate, run over its real output: choice, report, push, screen and MLflow."""

import dataclasses
import io
import json
from pathlib import Path

import mlflow
from rich.console import Console
from tfx.dsl.components.base import base_executor
from tfx.types import standard_artifacts

from components.common.artifacts import Report
from components.common.tracking import PipelineRuns
from components.model_selector import executor as selector_executor
from components.pusher import executor as pusher_executor
from components.release_report import executor as report_executor
from components.run_recorder import verdict
from pipeline.config import DataConfig, PipelineConfig
from pipeline.local import summary
from pipeline.local.stages import Output, StageResult
from tests.gate.tone_world import SETTINGS, artifact


@dataclasses.dataclass(frozen=True)
class Ended:
    """The end of a run.

    Attributes:
      summary: What the local runner gathers; its exit code is 2 where `pushed_to` is empty.
      screen: What it prints.
      page: The report's page.
      card: Its model card.
      tags: MLflow's tags of each branch, by model, and of "pipeline".
    """

    summary: summary.Summary
    screen: str
    page: str
    card: str
    tags: dict[str, dict[str, str]]


def finish(world, candidates: dict[str, dict], serving: Path, place: Path) -> Ended:
    """Runs what follows the world's last judgement of these candidates."""
    selected = _select(world, candidates, place)
    report = _report(world, candidates, selected, place)
    pushed = _push(world, selected, report, serving, place)
    results = {
        "GtzanExampleGen": {"ingest_report": world.ingest_report},
        "ModelSelector": {"selection": selected["selection"]},
        "Gate": {"judgement": world.judgement},
        "Pusher": {"pushed_model": pushed},
    }
    gathered = summary.gather({stage: _result(stage, made) for stage, made in results.items()})
    screen = io.StringIO()
    config = PipelineConfig(DataConfig("music"), output=str(place), models=("cnn",))
    summary.show(gathered, config=config, console=Console(file=screen, width=300))
    return Ended(
        gathered,
        screen.getvalue(),
        (place / "report" / "index.html").read_text(),
        (place / "report" / "model_card.md").read_text(),
        _record(world, place),
    )


def _select(world, candidates: dict[str, dict], place: Path) -> dict:
    outputs = {
        "model": artifact(standard_artifacts.Model, place / "chosen"),
        "blessing": artifact(standard_artifacts.ModelBlessing, place / "blessing"),
        "selection": artifact(Report, place / "selection"),
    }
    selector_executor.Executor().Do(
        {
            "judgement": [world.judgement],
            **{f"model_{name}": [made["model"]] for name, made in candidates.items()},
            **{f"blessing_{name}": [world.blessings[name]] for name in candidates},
        },
        {name: [made] for name, made in outputs.items()},
        {"models": json.dumps(list(candidates))},
    )
    return outputs


def _report(world, candidates: dict[str, dict], selected: dict, place: Path):
    report = artifact(Report, place / "report")
    run = {"models": list(candidates), "facts": {}, "audio": dataclasses.asdict(SETTINGS)}
    report_executor.Executor().Do(
        {
            "judgement": [world.judgement],
            "selection": [selected["selection"]],
            "examples": [world.examples],
            "ingest_report": [world.ingest_report],
            **{f"answers_{name}": [made["answers"]] for name, made in candidates.items()},
        },
        {"report": [report]},
        {"run": json.dumps(run), "data_fingerprint": "c0ffee"},
    )
    return report


def _push(world, selected: dict, report, serving: Path, place: Path):
    pushed = artifact(standard_artifacts.PushedModel, place / "pushed")
    context = base_executor.BaseExecutor.Context(tmp_dir=str(place))
    pusher_executor.Executor(context).Do(
        {
            "model": [selected["model"]],
            "model_blessing": [selected["blessing"]],
            "selection": [selected["selection"]],
            "ingest_report": [world.ingest_report],
            "report": [report],
            "statistics": [world.statistics],
        },
        {"pushed_model": [pushed]},
        {
            "base_directory": str(serving),
            "release": "{}",
            "run_id": "run",
            "code": json.dumps(dict.fromkeys(world.blessings, "")),
            "rule": "not-worse",
        },
    )
    return pushed


def _result(stage: str, made: dict) -> StageResult:
    outputs = {
        key: [
            Output(
                one.uri,
                {
                    name: getattr(value, value.WhichOneof("value"))
                    for name, value in one.mlmd_artifact.custom_properties.items()
                },
            )
        ]
        for key, one in made.items()
    }
    return StageResult(stage, cached=False, seconds=0.0, outputs=outputs)


def _record(world, place: Path) -> dict[str, dict[str, str]]:
    uri = f"sqlite:///{world.folder}/mlflow.db"
    judgement = json.loads((Path(world.judgement.uri) / "report.json").read_text())
    runs = PipelineRuns(uri, experiment="gatefold", run_id=place.name)
    verdict.record(runs, judgement)
    client = mlflow.MlflowClient(uri)
    found = {"pipeline": runs.pipeline_run()}
    found |= {name: runs.branch_run(name) for name in judgement["models"]}
    return {name: client.get_run(run).data.tags for name, run in found.items()}
