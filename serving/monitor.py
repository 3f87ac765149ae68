"""Compares what is served with what the released model was trained on.

    python -m serving.monitor --samples DIR --page monitor.html

DIR is the server's --sample-folder. docs/serving.md explains the figures ("Monitoring").
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
from typing import Any, NoReturn

from components.common import runtime
from components.common.errors import UserError
from components.common.release_reading import versions
from components.common.storage import is_remote, open_object_stores
from serving.drift.thresholds import Thresholds

_EPILOG = "Exit codes: 0 no drift (or too few samples), 1 it could not be done, 2 drift."
_MIN_SAMPLES = 50


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exits with 1: argparse's own 2 stands for drift here."""
        self.print_usage(sys.stderr)
        self.exit(1, f"error: {message}\n")


def _from_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number from 0 up. Received: {text!r}")
    return value


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 up. Received: {text!r}")
    return int(text)


# Flags of the fields of `Thresholds`.
_THRESHOLDS = {
    "--max-psi": ("psi", "population stability index of a descriptor"),
    "--max-divergence": ("divergence", "Jensen-Shannon divergence of a descriptor, in bits"),
    "--max-genre-shift": ("genre_shift", "change of a genre's share"),
    "--max-confidence-drop": ("confidence_drop", "drop of the mean confidence"),
    "--max-close": ("close_share", "share of close calls"),
    "--max-refused": ("refused_share", "share of calls with refused input"),
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = _Parser(
        prog="python -m serving.monitor",
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
        "--version", type=_positive, metavar="N", help="(default: the one in production)"
    )
    parser.add_argument(
        "--hours", type=_from_zero, metavar="H", help="only samples of the last H hours"
    )
    parser.add_argument(
        "--training-statistics",
        default="",
        metavar="FILE",
        help="StatisticsGen's FeatureStats.pb (default: what the version holds)",
    )
    parser.add_argument("--page", type=pathlib.Path, metavar="FILE", help="write an HTML page")
    parser.add_argument(
        "--json", type=pathlib.Path, metavar="FILE", help="write the figures as JSON"
    )
    parser.add_argument(
        "--min-samples",
        type=_positive,
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
    base = (parsed.base or f"{parsed.output.rstrip('/')}/serving/genre").rstrip("/")
    try:
        report = _report(parsed, base)
        return _publish(parsed, report)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    return 1


def _report(parsed: argparse.Namespace, base: str) -> dict[str, Any]:
    if not parsed.samples.is_dir():
        raise UserError(
            "--samples is no folder: start the server with --sample-requests 0.1 "
            f"--sample-folder DIR. Received: {str(parsed.samples)!r}"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
    runtime.quieten()
    if is_remote(base):
        open_object_stores(base)
    there = versions(base)
    if not there:
        raise UserError(f"{base} holds no versions: `make run` trains and pushes one")
    version = there[-1] if parsed.version is None else parsed.version
    if version not in there:
        listed = ", ".join(map(str, there))
        raise UserError(f"{base} has no version {version}. It has: {listed}")
    # Mistakes need not wait for scipy and the protos of TFDV.
    from serving.drift import reporting
    from serving.drift.samples import read_samples

    folder = f"{base}/{version}"
    since = None
    if parsed.hours is not None:
        now = datetime.datetime.now(datetime.timezone.utc)
        since = now - datetime.timedelta(hours=min(parsed.hours, 1e6))
    training = reporting.training_statistics(folder, parsed.training_statistics)
    samples = read_samples(parsed.samples, model=parsed.model, version=version, since=since)
    values = {field.name: getattr(parsed, field.name) for field in dataclasses.fields(Thresholds)}
    return reporting.report(
        model=parsed.model,
        version=version,
        training=training,
        samples=samples,
        thresholds=Thresholds(**values),
        confidence=reporting.test_confidence(folder),
        min_samples=parsed.min_samples,
    )


def _publish(parsed: argparse.Namespace, report: dict[str, Any]) -> int:
    from serving.drift import page, reporting

    if parsed.page is not None:
        reporting.write(parsed.page, page.render(report))
    if parsed.json is not None:
        text = json.dumps(report, indent=2, ensure_ascii=False)
        reporting.write(parsed.json, f"{text}\n")
    for note in report["notes"]:
        print(f"note: {note}", file=sys.stderr)
    print(report["sentence"])
    for finding in report["findings"]:
        if finding["drift"]:
            print(
                f"  {finding['measure']} {finding['value']:.3g}, at most {finding['threshold']:.3g}"
            )
    return 2 if report["verdict"] == reporting.DRIFT else 0


if __name__ == "__main__":
    sys.exit(main())
