"""The end of a run: the table of figures, the verdict and the next commands."""

import dataclasses
import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.config import PipelineConfig

if TYPE_CHECKING:  # it brings TensorFlow
    from pipeline.local.stages import StageResult

SPLITS = ("train", "validation", "test")
_MOST_NAMED = 4


@dataclasses.dataclass(frozen=True)
class Summary:
    """The end of a run.

    Attributes:
      split_sizes: Tracks of train, validation and test.
      files: A sentence on how many files were accepted and why others were not.
      candidates: Each judged model's figures, as in `selection.json`.
      chosen: The model that was chosen, or None.
      pushed_to: The version folder that holds the chosen model in production, or "".
      pushed_version: Its version, or "".
      written: Whether this run wrote it; else production had it already.
      report_page: The ingest report's page.
      baseline: The baseline's figures, as in the gate's `report.json`.
      production: One sentence on the model in production that the candidates were compared with.
      waivers: What the gate did not ask, one sentence each.
      loosened: Thresholds that let more pass than their defaults, a phrase each.
      refusal: Why a model that passed the gate was not pushed, or "".
      remarks: What trainers and Pusher have to say, a sentence each.
    """

    split_sizes: dict[str, int]
    files: str
    candidates: list[dict[str, Any]]
    chosen: str | None
    pushed_to: str
    pushed_version: str
    written: bool
    report_page: str
    baseline: dict[str, Any] = dataclasses.field(default_factory=dict)
    production: str = ""
    waivers: tuple[str, ...] = ()
    loosened: tuple[str, ...] = ()
    refusal: str = ""
    remarks: tuple[str, ...] = ()


def show_run(results: "dict[str, StageResult]", config: PipelineConfig, console: Console) -> bool:
    """Prints what came out of a run.

    Args:
      results: Of every stage, by node id.
      config: Settings of the run.
      console: Where to print.

    Returns:
      Whether production has the model that the run chose.
    """
    from pipeline.local import tracking

    summary = gather(results)
    show(summary, config=config, console=console)
    if shortcomings := tracking.shortcomings(results["RunRecorder"]):
        console.print()
        for line in shortcomings:
            console.print(f"[yellow]![/] {escape(line)}", highlight=False, soft_wrap=True)
    return bool(summary.pushed_to)


def gather(results: "dict[str, StageResult]") -> Summary:
    """Reads the figures from the artifacts of a finished run."""
    from tfx.utils import io_utils

    from components.common import remarks
    from components.example_gen.report import as_sentence

    report = results["GtzanExampleGen"].outputs["ingest_report"][0]
    selection_uri = results["ModelSelector"].outputs["selection"][0].uri
    selection = json.loads(io_utils.read_string_file(f"{selection_uri}/selection.json"))
    judgement_uri = results["Gate"].outputs["judgement"][0].uri
    judgement = json.loads(io_utils.read_string_file(f"{judgement_uri}/report.json"))
    pushed = results["Pusher"].outputs["pushed_model"][0].properties
    return Summary(
        split_sizes={split: int(report.properties[split]) for split in SPLITS},
        files=as_sentence(report.properties),
        candidates=selection["candidates"],
        chosen=selection["chosen"],
        pushed_to=str(pushed.get("pushed_destination", "")),
        pushed_version=str(pushed.get("pushed_version", "")),
        written=bool(pushed.get("written")),
        report_page=f"{report.uri}/index.html",
        baseline=judgement["baseline"],
        production=judgement["production"]["note"],
        waivers=tuple(f"{one['gate']}: {one['reason']}" for one in judgement["waivers"]),
        loosened=tuple(
            f"{one['gate']} {one['value']:g} (default {one['default']:g})"
            for one in judgement["loosened"]
        ),
        refusal=str(pushed.get("reason", "")),
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
    console.print()
    _show_data(summary, config=config, console=console)
    console.print(_table(summary))
    _show_refusals(summary, console=console)
    for remark in summary.remarks:
        console.print(f"[yellow]Note[/]: {escape(remark)}.", highlight=False, soft_wrap=True)
    note = (
        "Test: share of whole tracks that no model has seen, with its 95 % interval over tracks; "
        "it decides whether a model may be pushed. Validation decides which."
    )
    if config.data.synthetic:
        note += " The music is synthetic: they say that the pipeline works, nothing about GTZAN."
    console.print(f"[dim]{note}", soft_wrap=True)
    console.print(
        f"[dim]Production before this run: {escape(summary.production)}.",
        highlight=False,
        soft_wrap=True,
    )
    for waiver in summary.waivers:
        console.print(f"[yellow]Waived[/] {escape(waiver)}", highlight=False, soft_wrap=True)
    if summary.loosened:
        named = ", ".join(summary.loosened[:_MOST_NAMED])
        if (more := len(summary.loosened) - _MOST_NAMED) > 0:
            named += f" and {more} more"
        console.print(f"[yellow]Gate loosened[/]: {named}", highlight=False, soft_wrap=True)
    console.print()
    where = f"{summary.chosen}, in {summary.pushed_to}"
    if summary.pushed_to and summary.written:
        text = f"[green]Pushed[/] {escape(f'version {summary.pushed_version}: {where}')}"
    elif summary.pushed_to:
        text = (
            f"[green]Already in production[/]: {escape(f'version {summary.pushed_version}')}: "
            f"{escape(where)}"
        )
    elif summary.refusal:
        text = f"[red]Not pushed[/]: {escape(summary.refusal)}"
    else:
        text = "[red]Not pushed[/]: no model passed the gate. What was in production stays there."
    console.print(text, highlight=False, soft_wrap=True)
    _next_commands(summary, config=config, console=console)


def _show_data(summary: Summary, *, config: PipelineConfig, console: Console) -> None:
    sizes = summary.split_sizes
    data = config.data.folder
    if config.data.synthetic:
        data = f"{data} (synthetic music)"
    console.print(
        f"[bold]{escape(data)}[/]: {escape(summary.files)}", highlight=False, soft_wrap=True
    )
    console.print(
        f"{sizes['train']} tracks to train on, {sizes['validation']} for validation, "
        f"{sizes['test']} to test on ({config.data.split} split)",
        highlight=False,
        soft_wrap=True,
    )


def _table(summary: Summary) -> Table:
    table = Table()
    table.add_column("model")
    table.add_column("validation", justify="right")
    table.add_column("test accuracy", justify="right")
    table.add_column("test macro-F1", justify="right")
    table.add_column("gate")
    for candidate in summary.candidates:
        verdict = "[green]blessed[/]"
        if not candidate["blessed"]:
            verdict = f"[red]refused[/]: {escape(', '.join(candidate['failed']))}"
        elif candidate["model"] == summary.chosen:
            verdict = "[green]blessed, best on validation[/]"
        table.add_row(
            candidate["model"],
            _number(candidate["validation_accuracy"]),
            _with_interval(candidate["accuracy"], candidate["accuracy_interval"]),
            _with_interval(candidate["macro_f1"], candidate["macro_f1_interval"]),
            verdict,
        )
    figures = summary.baseline.get("figures") or {}
    accuracy, macro_f1 = (figures.get(name) or {} for name in ("accuracy", "macro_f1"))
    table.add_row(
        "baseline",
        _number((summary.baseline.get("validation") or {}).get("accuracy")),
        _with_interval(accuracy.get("value"), accuracy.get("interval")),
        _with_interval(macro_f1.get("value"), macro_f1.get("interval")),
        "[dim]logistic regression, to be beaten[/]",
    )
    return table


def _show_refusals(summary: Summary, *, console: Console) -> None:
    """Says for each refused model which gates it failed, with figure and threshold."""
    for candidate in summary.candidates:
        if candidate["blessed"]:
            continue
        console.print(f"[red]✗[/] {escape(candidate['model'])} is refused:", highlight=False)
        for reason in candidate["reasons"]:
            console.print(f"    {escape(reason)}", highlight=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None or interval is None:
        return _number(value)
    low, high = interval
    return f"{value:.3f} ({low:.2f}–{high:.2f})"


def _next_commands(summary: Summary, *, config: PipelineConfig, console: Console) -> None:
    output = "" if config.output == "output" else f" OUTPUT={shlex.quote(config.output)}"
    console.print("\nEvery gate with its evidence, on one page:")
    console.print(f"  {escape(config.report_folder)}/index.html", highlight=False, soft_wrap=True)
    console.print("\nHow the ingest went, with pictures:")
    console.print(f"  {escape(summary.report_page)}", highlight=False, soft_wrap=True)
    lines = [(f"make mlflow{output}", "learning curves and confusion matrices of every model")]
    if summary.pushed_to:
        lines = [
            (f"make serve{output}", "serve it over TF Serving's gRPC and REST"),
            (".venv/bin/python -m serving.client SONG.mp3", "ask it about a song"),
        ]
    console.print("\nNext:")
    for command, what in lines:
        console.print(f"  {escape(command)}  [dim]# {what}", highlight=False, soft_wrap=True)
