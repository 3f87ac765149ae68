"""What a run came to: the table at its end and what to type next."""

import dataclasses
import json
import shlex
from typing import Any

from rich.console import Console
from rich.table import Table
from tfx.utils import io_utils

from pipeline.config import PipelineConfig
from pipeline.stages import StageResult

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Summary:
    """The end of a run.

    Attributes:
      split_sizes: Tracks of train, validation and test.
      candidates: Each judged model's figures, as in `selection.json`.
      chosen: The model that was chosen, or None.
      pushed_to: Where it was pushed, or "" where nothing was.
      report_page: The ingest report's page.
    """

    split_sizes: dict[str, int]
    candidates: list[dict[str, Any]]
    chosen: str | None
    pushed_to: str
    report_page: str


def gather(results: dict[str, StageResult]) -> Summary:
    """Reads the figures from the artifacts of a finished run."""
    report = results["GtzanExampleGen"].outputs["ingest_report"][0]
    selection_uri = results["ModelSelector"].outputs["selection"][0].uri
    selection = json.loads(io_utils.read_string_file(f"{selection_uri}/selection.json"))
    pushed = results["Pusher"].outputs["pushed_model"][0].properties
    return Summary(
        split_sizes={split: int(report.properties[split]) for split in SPLITS},
        candidates=selection["candidates"],
        chosen=selection["chosen"],
        pushed_to=str(pushed.get("pushed_destination", "")) if pushed.get("pushed") else "",
        report_page=f"{report.uri}/index.html",
    )


def show(summary: Summary, *, config: PipelineConfig, console: Console) -> None:
    """Prints the table, the verdict and the next commands."""
    sizes = summary.split_sizes
    data = "the synthetic sample" if config.data.synthetic else config.data.folder
    table = Table()
    table.add_column("model")
    table.add_column("accuracy", justify="right")
    table.add_column("macro-F1", justify="right")
    table.add_column("gate")
    for candidate in summary.candidates:
        verdict = "[green]blessed[/]"
        if not candidate["blessed"]:
            verdict = f"[red]not blessed[/]: {'; '.join(candidate['reasons'])}"
        elif candidate["model"] == summary.chosen:
            verdict = "[green]blessed, the best[/]"
        table.add_row(
            candidate["model"],
            f"{candidate['accuracy']:.3f}",
            f"{candidate['macro_f1']:.3f}",
            verdict,
        )
    console.print()
    console.print(
        f"[bold]{data}[/]: {sizes['train']} tracks to train on, {sizes['validation']} for "
        f"validation, {sizes['test']} to test on ({config.data.split} split)",
        highlight=False,
        soft_wrap=True,
    )
    console.print(table)
    note = "Figures: share of whole tracks of the test split, which no model has seen."
    if config.data.synthetic:
        note += " The music is synthetic: they say that the pipeline works, nothing about GTZAN."
    console.print(f"[dim]{note}", soft_wrap=True)
    console.print()
    if summary.pushed_to:
        console.print(
            f"[green]Pushed[/] {summary.chosen} to {summary.pushed_to}",
            highlight=False,
            soft_wrap=True,
        )
    else:
        console.print(
            "[red]Not pushed[/]: no model passed the gate. What was in production stays there."
        )
    _next_commands(summary, config=config, console=console)


def _next_commands(summary: Summary, *, config: PipelineConfig, console: Console) -> None:
    output = "" if config.output == "output" else f" OUTPUT={shlex.quote(config.output)}"
    console.print("\nHow the ingest went, with pictures:")
    console.print(f"  {summary.report_page}", highlight=False, soft_wrap=True)
    if summary.pushed_to:
        lines = [
            (f"make serve{output}", "serve it over TF Serving's gRPC and REST"),
            (".venv/bin/python -m serving.client SONG.mp3", "ask it about a song"),
        ]
    else:
        data = "" if config.data.synthetic else f" DATA={shlex.quote(config.data.folder)}"
        models = f" MODELS={','.join(config.models)}"
        command = f"make run{data}{output}{models} ARGS='--min-accuracy 0.3 --min-macro-f1 0.2'"
        lines = [(command, "move the gate, if you can defend it")]
    console.print("\nNext:")
    for command, what in lines:
        console.print(f"  {command}  [dim]# {what}", highlight=False, soft_wrap=True)
