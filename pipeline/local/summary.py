"""The end of a run: the table of figures, the verdict and the next commands."""

import dataclasses
import json
import os
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.common.releases import pretraining_note
from pipeline.config import PipelineConfig

if TYPE_CHECKING:  # it brings TensorFlow
    from pipeline.local.stages import Output, StageResult

_MOST_NAMED = 4
_NOTE = (
    "Test: share of whole tracks that no training of this run has seen, with its 95 % interval "
    "over tracks; it decides whether a model may be pushed. Validation decides which."
)
_SYNTHETIC = "The music is synthetic: they say that the pipeline works, nothing about GTZAN."


@dataclasses.dataclass(frozen=True)
class Summary:
    """What the nodes of a run have to say about it.

    Attributes:
      ingest: The ingest report.
      selection: ModelSelector's `selection.json`.
      judgement: The gate's `report.json`.
      pushed: What Pusher says of the model in production.
      remarks: What trainers and Pusher have to say, a sentence each.
    """

    ingest: "Output"
    selection: Mapping[str, Any]
    judgement: Mapping[str, Any]
    pushed: Mapping[str, Any]
    remarks: tuple[str, ...] = ()

    @property
    def pushed_to(self) -> str:
        """The version folder that holds the chosen model in production, or ""."""
        return str(self.pushed.get("pushed_destination", ""))


def show_run(results: "dict[str, StageResult]", config: PipelineConfig, console: Console) -> bool:
    """Prints what came out of a run.

    Args:
      results: Of every stage, by node id.
      config: Settings of the run.
      console: Where to print.

    Returns:
      Whether production has the model that the run chose, or one that is as good.
    """
    from pipeline.local import tracking

    summary = gather(results)
    show(summary, config=config, console=console)
    if shortcomings := tracking.shortcomings(results["RunRecorder"]):
        console.print()
        for line in shortcomings:
            _print(console, f"[yellow]![/] {escape(line)}")
    return bool(summary.pushed_to or summary.pushed.get("kept"))


def gather(results: "dict[str, StageResult]") -> Summary:
    """Reads the figures from the artifacts of a finished run."""
    from tfx.utils import io_utils

    from components.common import remarks

    def document(stage: str, key: str, file: str) -> Any:
        return json.loads(io_utils.read_string_file(f"{results[stage].outputs[key][0].uri}/{file}"))

    return Summary(
        ingest=results["GtzanExampleGen"].outputs["ingest_report"][0],
        selection=document("ModelSelector", "selection", "selection.json"),
        judgement=document("Gate", "judgement", "report.json"),
        pushed=results["Pusher"].outputs["pushed_model"][0].properties,
        remarks=tuple(
            remark
            for result in results.values()
            for output in ("model_run", "pushed_model")
            for artifact in result.outputs.get(output, ())
            for remark in remarks.read(artifact.uri)
        ),
    )


def show(summary: Summary, *, config: PipelineConfig, console: Console) -> None:
    """Prints the table, the verdict and the next commands."""
    from components.common.metrics import FEW_TRACKS
    from components.example_gen.report import as_sentence

    data, figures = config.data, summary.ingest.properties
    test_tracks = int(figures["test"])
    folder = f"{data.folder} (synthetic music)" if data.synthetic else data.folder
    console.print()
    _print(console, f"[bold]{escape(folder)}[/]: {escape(as_sentence(figures))}")
    _print(
        console,
        f"{figures['train']} tracks to train on, {figures['validation']} for validation, "
        f"{test_tracks} to test on ({data.split} split)",
    )
    console.print(_table(summary))
    for candidate in summary.selection["candidates"]:
        if not candidate["blessed"]:
            _print(console, f"[red]✗[/] {escape(candidate['model'])} is refused:")
            for reason in candidate["reasons"]:
                _print(console, f"    {escape(reason)}")
    for remark in summary.remarks:
        _print(console, f"[yellow]Note[/]: {escape(remark)}.")
    _print(console, f"[dim]{_NOTE} {_SYNTHETIC if data.synthetic else ''}")
    if test_tracks < FEW_TRACKS:
        _print(
            console,
            f"[yellow]Note[/]: {test_tracks} test tracks say little: each is "
            f"{100 / max(test_tracks, 1):.1f} points of accuracy. Read the intervals.",
        )
    if note := pretraining_note(_pretraining(summary)):
        _print(console, f"[yellow]Note[/]: {summary.selection['chosen']} was {escape(note)}.")
    _show_judgement(summary.judgement, console)
    console.print()
    _print(console, _verdict(summary))
    _show_next_commands(summary, config, console)


def _pretraining(summary: Summary) -> Any:
    release = summary.judgement.get("release") or {}
    return (release.get("pretraining") or {}).get(summary.selection["chosen"])


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)


def _table(summary: Summary) -> Table:
    table = Table("model")
    for heading in ("validation", "test accuracy", "test macro-F1"):
        table.add_column(heading, justify="right")
    table.add_column("gate")
    for candidate in summary.selection["candidates"]:
        verdict = "[green]blessed[/]"
        if not candidate["blessed"]:
            verdict = f"[red]refused[/]: {escape(', '.join(candidate['failed']))}"
        elif candidate["model"] == summary.selection["chosen"]:
            verdict = "[green]blessed, chosen[/]"
        table.add_row(
            candidate["model"],
            _number(candidate["validation_accuracy"]),
            _number(candidate["accuracy"], candidate["accuracy_interval"]),
            _number(candidate["macro_f1"], candidate["macro_f1_interval"]),
            verdict,
        )
    baseline = summary.judgement["baseline"]
    figures = baseline.get("figures") or {}
    table.add_row(
        "baseline",
        _number((baseline.get("validation") or {}).get("accuracy")),
        *(_number(**(figures.get(name) or {"value": None})) for name in ("accuracy", "macro_f1")),
        "[dim]logistic regression, to be beaten[/]",
    )
    return table


def _number(value: float | None, interval: Any = None, **_: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" ({interval[0]:.2f}–{interval[1]:.2f})" if interval else "")


def _show_judgement(judgement: Mapping[str, Any], console: Console) -> None:
    """Names the model in production, waivers, and thresholds below their defaults."""
    production = escape(judgement["production"]["note"])
    _print(console, f"[dim]Production before this run: {production}.")
    for waiver in judgement["waivers"]:
        _print(console, f"[yellow]Waived[/] {escape(waiver['gate'])}: {escape(waiver['reason'])}")
    if loosened := judgement["loosened"]:
        named = ", ".join(
            f"{row['gate']} {row['value']:g} (default {row['default']:g})"
            for row in loosened[:_MOST_NAMED]
        )
        more = len(loosened) - _MOST_NAMED
        _print(
            console, f"[yellow]Gate loosened[/]: {named}{f' and {more} more' if more > 0 else ''}"
        )


def _verdict(summary: Summary) -> str:
    version = f"version {summary.pushed.get('pushed_version', '')}"
    model = escape(f"{summary.selection['chosen']}, in {summary.pushed_to}")
    if summary.pushed_to and summary.pushed.get("written"):
        return f"[green]Pushed[/] {version}: {model}"
    if summary.pushed_to:
        return f"[green]Already in production[/]: {version}: {model}"
    if summary.pushed.get("kept"):
        chosen, reason = summary.selection["chosen"], summary.pushed["reason"]
        return f"[green]Kept[/]: {escape(f'{chosen} is {reason}')} (--release not-worse pushes it)"
    if reason := summary.pushed.get("reason"):
        return f"[red]Not pushed[/]: {escape(str(reason))}"
    return "[red]Not pushed[/]: no model passed the gate. What was in production stays there."


def _show_next_commands(summary: Summary, config: PipelineConfig, console: Console) -> None:
    console.print("\nEvery gate with its evidence, on one page:")
    _print(console, f"  {escape(config.report_folder)}/index.html")
    console.print("\nHow the ingest went, with pictures:")
    _print(console, f"  {escape(summary.ingest.uri)}/index.html")
    by_make = "MAKELEVEL" in os.environ
    command, song, data = ("make", "SONG=", "DATA=") if by_make else ("gatefold", "", "--data ")
    variable = "" if config.output == "output" else f" OUTPUT={shlex.quote(config.output)}"
    output = variable if by_make else variable.replace("OUTPUT=", "--output ", 1)
    lines = [
        (f"{command} classify {song}song.mp3{output}", "what genre a song is"),
        (f"{command} demo{output}", "the same on a page, second by second"),
    ]
    if not summary.pushed_to:
        lines = [
            (f"make mlflow{variable}", "learning curves and confusion matrices of every model")
        ]
    if config.data.synthetic:
        lines.append((f"{command} run {data}folder", "a model of your own music, in genre folders"))
    console.print("\nNext:")
    for line, purpose in lines:
        _print(console, f"  {escape(line)}  [dim]# {purpose}")
