"""What was in production when, and how to go back.

    python -m serving.release list

docs/explanation/releases.md explains versions, the log and rollback.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.common import runtime
from components.common.command_line import Parser
from components.common.errors import UserError
from components.common.releases import Push, ReleaseStore, Row
from components.common.storage import is_remote, open_object_stores

_EPILOG = """\
Servers follow the newest version, so going back publishes the earlier version's files again under
the next number. Exit codes: 0 done, 1 verify found what was altered, 2 it cannot be done.
"""
_WIDE = 200  # of output that is no terminal: nothing is folded there


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    shared = Parser(add_help=False)
    folder = shared.add_mutually_exclusive_group()
    folder.add_argument(
        "--output",
        default="output",
        metavar="DIR",
        help="the pipeline's output folder, whose serving/genre is meant (default: output)",
    )
    folder.add_argument(
        "--base", metavar="DIR", help="the folder of version folders (local, gs:// or s3://)"
    )
    shared.add_argument("--json", action="store_true", help="print JSON")
    parser = Parser(
        prog="gatefold release",
        description="See what was in production when, go back, and check that nothing was altered.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[shared], help=text, description=text)

    command("list", "list every version, and from when to when it was in production")
    show = command("show", "print, as JSON, what a version says of itself and the log says of it")
    show.add_argument("version", type=int, metavar="VERSION")
    promote = command("promote", "put an earlier version's model into production")
    promote.add_argument("version", type=int, metavar="VERSION")
    rollback = command(
        "rollback", "put the model before into production and withdraw the one that is there"
    )
    rollback.add_argument(
        "--to",
        type=int,
        metavar="VERSION",
        help="this version's (default: the newest intact other model that was not withdrawn)",
    )
    verify = command("verify", "compare files with their checksums, and the log with the versions")
    verify.add_argument(
        "version", type=int, nargs="?", metavar="VERSION", help="(default: the one in production)"
    )
    verify.add_argument("--all", action="store_true", help="every version")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command. Returns the exit code."""
    parsed = build_parser().parse_args(arguments)
    store = ReleaseStore(parsed.base or f"{parsed.output.rstrip('/')}/serving/genre")
    try:
        if is_remote(store.base):
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
            runtime.quieten()
            open_object_stores(store.base)
        store.require()
        if parsed.command == "list":
            return _list(store, parsed.json)
        if parsed.command == "show":
            return _show(store, parsed.version)
        if parsed.command == "promote":
            return _print_push(store, store.promote(parsed.version), parsed.json)
        if parsed.command == "rollback":
            return _print_push(store, store.rollback(parsed.to), parsed.json)
        return _verify(store, parsed)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: {store.base}: {error}", file=sys.stderr)
    return 2


def _list(store: ReleaseStore, as_json: bool) -> int:
    rows = store.history()
    if as_json:
        _print_json([_fields(row) for row in rows])
        return 0
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("version", "model", "in production from", "to", "run", "accuracy", ""):
        table.add_column(title, overflow="fold")
    for row in rows:
        change, accuracy = row.change, row.release.test_accuracy
        cells = (
            str(change.version),
            change.model,
            _moment(change.time),
            "now" if row.in_production else _moment(row.until),
            change.run_id,
            "" if accuracy is None else f"{accuracy:.3f}",
            _note(row),
        )
        # Text, and never a string: a name may hold what rich takes for markup.
        table.add_row(*map(Text, cells))
    _print_table(table)
    return 0


def _show(store: ReleaseStore, version: int) -> int:
    history = store.history()
    rows = {row.change.version: row for row in history}
    if version not in rows:
        store.require(version)  # which says what there is
    row = rows[version]
    changes = [
        change
        for change in (row.change for row in history)
        if change.action and version in (change.version, change.replaces, change.source)
    ]
    log = [dataclasses.asdict(change) for change in changes]
    release = row.release
    fields = {"release": dict(release.fields), "problem": release.problem, "log": log}
    _print_json({"history": _fields(row), **fields})
    return 0


def _print_push(store: ReleaseStore, done: Push, as_json: bool) -> int:
    if as_json:
        _print_json({name: getattr(done, name) for name in ("version", "written", "remarks")})
        return 0
    for remark in done.remarks:
        print(f"note: {remark}", file=sys.stderr)
    (change,) = (row.change for row in store.history() if row.change.version == done.version)
    if not done.written:
        print(f"Version {done.version} holds this model and is in production already.")
        return 0
    model = change.model or "the model"
    print(f"Version {done.version} is in production: {model}, the files of {change.source}.")
    if change.withdraws:
        print(
            f"Version {change.replaces} was withdrawn: no run pushes its model again unless "
            "`promote` allows it."
        )
    return 0


def _verify(store: ReleaseStore, parsed: argparse.Namespace) -> int:
    chosen = [store.require() if parsed.version is None else parsed.version]
    result = store.verify(store.versions() if parsed.all else chosen)
    intact = [version for version, faults in result.versions.items() if not faults]
    if parsed.json:
        fields = {"faults": result.faults, "notes": result.notes, "intact": intact}
        _print_json({"ok": not result.faults, **fields})
        return int(bool(result.faults))
    for sentence in result.faults:
        print(f"ALTERED: {sentence}")
    for version in intact:
        print(f"version {version} is what was released")
    if not result.log:
        print("the log agrees with the versions")
    for note in result.notes:
        print(f"note: {note}")
    return int(bool(result.faults))


def _fields(row: Row) -> dict[str, Any]:
    change = row.change
    return {
        "version": change.version,
        "model": change.model,
        "run_id": change.run_id,
        "test_accuracy": row.release.test_accuracy,
        "action": change.action,
        "source": change.source,
        "production_from": change.time,
        "production_to": row.until,
        "checksum": change.checksum,
        "in_production": row.in_production,
        "there": row.there,
        "withdrawn": row.withdrawn,
    }


def _note(row: Row) -> str:
    notes = {
        f"{row.change.action} to {row.change.source}": row.change.source is not None,
        "in production": row.in_production,
        "withdrawn": row.withdrawn,
        "folder is gone": not row.there,
    }
    return ", ".join(note for note, holds in notes.items() if holds)


def _moment(time: str) -> str:
    """A time of the log as a person reads it: "2026-11-22 13:50 UTC"."""
    return f"{time[:10]} {time[11:16]} UTC" if time.endswith("Z") and len(time) == 20 else time


def _print_table(table: Table) -> None:
    console = Console()
    (console if console.is_terminal else Console(width=_WIDE)).print(table)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())
