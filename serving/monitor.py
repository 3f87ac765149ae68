"""Compares what is served with what the released model was trained on.

    python -m serving.monitor --samples DIR --page monitor.html

DIR is the server's --sample-folder. docs/how-to/drift.md explains the figures.
"""

import argparse
import dataclasses
import datetime
import json
import math
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from components.common import runtime
from components.common.command_line import VerdictParser
from components.common.errors import UserError
from components.common.releases import ReleaseStore
from components.common.storage import is_remote, open_object_stores
from serving.client.cli import positive
from serving.drift import reporting
from serving.drift.judgement import Thresholds
from serving.drift.samples import read_samples

_EPILOG = "Exit codes: 0 no drift (or too few samples), 1 it could not be done, 2 drift."
_MIN_SAMPLES = 50
# Flags of the fields of `Thresholds`.
_THRESHOLDS = {
    "--max-divergence": ("divergence", "Jensen-Shannon divergence of a descriptor, in bits"),
    "--max-genre-shift": ("genre_shift", "change of a genre's share"),
    "--max-confidence-drop": ("confidence_drop", "drop of the mean confidence"),
    "--max-close": ("close_share", "share of close calls"),
    "--max-refused": ("refused_share", "share of calls with refused input"),
}


def _from_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number from 0 up. Received: {text!r}")
    return value


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = VerdictParser(
        prog="gatefold monitor",
        description="Compare sampled requests with the released model's training statistics.",
        epilog=_EPILOG,
    )
    folder_flags = parser.add_mutually_exclusive_group()
    folder_flags.add_argument(
        "--output",
        default="output",
        metavar="DIR",
        help="the pipeline's output folder, whose serving/genre is meant (default: output)",
    )
    folder_flags.add_argument(
        "--base", metavar="DIR", help="the folder of version folders (local, gs:// or s3://)"
    )
    parser.add_argument(
        "--samples",
        required=True,
        type=pathlib.Path,
        metavar="DIR",
        help="the server's --sample-folder",
    )
    parser.add_argument("--model", default="genre", help="as the server names it (default: genre)")
    parser.add_argument(
        "--version", type=positive, metavar="N", help="(default: the one in production)"
    )
    parser.add_argument(
        "--hours", type=_from_zero, metavar="H", help="only samples of the last H hours"
    )
    parser.add_argument("--page", type=pathlib.Path, metavar="FILE", help="write an HTML page")
    parser.add_argument(
        "--json", type=pathlib.Path, metavar="FILE", help="write the figures as JSON"
    )
    parser.add_argument(
        "--min-samples",
        type=positive,
        default=_MIN_SAMPLES,
        metavar="N",
        help=f"judge nothing with fewer (default: {_MIN_SAMPLES})",
    )
    most = parser.add_argument_group("what is drift")
    for flag, (field, text) in _THRESHOLDS.items():
        default = getattr(Thresholds(), field)
        most.add_argument(
            flag,
            dest=field,
            type=_from_zero,
            default=default,
            metavar="MOST",
            help=f"{text} (default: {default:g})",
        )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares. Returns the exit code."""
    parsed = build_parser().parse_args(arguments)
    store = ReleaseStore(parsed.base or f"{parsed.output.rstrip('/')}/serving/genre")
    try:
        report = _compare(parsed, store)
        if parsed.page is not None:
            reporting.write(parsed.page, reporting.render(report))
        if parsed.json is not None:
            text = json.dumps(report, indent=2, ensure_ascii=False)
            reporting.write(parsed.json, f"{text}\n")
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for note in report["notes"]:
        print(f"note: {note}", file=sys.stderr)
    print(report["sentence"])
    for finding in report["findings"]:
        if finding["drift"]:
            print(
                f"  {finding['measure']} {finding['value']:.3g}, at most {finding['threshold']:.3g}"
            )
    return 2 if report["verdict"] == reporting.DRIFT else 0


def _compare(parsed: argparse.Namespace, store: ReleaseStore) -> dict[str, Any]:
    if not parsed.samples.is_dir():
        raise UserError(
            "--samples is no folder: start the server with --sample-requests 0.1 "
            f"--sample-folder DIR. Received: {str(parsed.samples)!r}"
        )
    if is_remote(store.base):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
        runtime.quieten()
        open_object_stores(store.base)
    version = store.require(parsed.version)
    since = None
    if parsed.hours is not None:
        now = datetime.datetime.now(datetime.timezone.utc)
        since = now - datetime.timedelta(hours=min(parsed.hours, 1e6))
    samples = read_samples(parsed.samples, model=parsed.model, version=version, since=since)
    values = {field.name: getattr(parsed, field.name) for field in dataclasses.fields(Thresholds)}
    return reporting.make_report(
        store,
        version,
        samples,
        model=parsed.model,
        thresholds=Thresholds(**values),
        min_samples=parsed.min_samples,
    )


if __name__ == "__main__":
    sys.exit(main())
