"""What was in production when, and how to go back: reads and extends the release log.

    python -m serving.release list

docs/releases.md explains versions, the log, rollback and the shadow.
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

from components.common import release_log, releases, runtime
from components.common.errors import UserError
from components.common.release_check import log_faults, version_faults
from components.common.release_history import Released, history, lines_about
from components.common.release_reading import read_release, versions
from components.common.release_shadow import mark_shadow, read_shadow, unmark_shadow
from components.common.storage import is_remote, open_object_stores

_EPILOG = """\
Servers follow the newest version, so going back publishes the earlier version's files again under
the next number. Exit codes: 0 done, 1 verify found what was altered, 2 it cannot be done.
"""
_WIDE = 200  # of output that is no terminal: nothing is folded there


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    where = argparse.ArgumentParser(add_help=False)
    place = where.add_mutually_exclusive_group()
    place.add_argument(
        "--output",
        default="output",
        metavar="DIR",
        help="the pipeline's output folder, whose serving/genre is meant (default: output)",
    )
    place.add_argument(
        "--base", metavar="DIR", help="the folder of version folders (local, gs:// or s3://)"
    )
    where.add_argument("--json", action="store_true", help="print JSON")
    parser = argparse.ArgumentParser(
        prog="python -m serving.release",
        description="See what was in production when, go back, and check that nothing was altered.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[where], help=text, description=text)

    command("list", "list every version, and from when to when it was in production")
    show = command("show", "print what a version says of itself, and the log's lines about it")
    show.add_argument("version", type=int, metavar="VERSION")
    promote = command("promote", "put an earlier version's model into production, or ask it aside")
    promote.add_argument("version", type=int, nargs="?", metavar="VERSION")
    shadow = promote.add_mutually_exclusive_group()
    shadow.add_argument(
        "--shadow",
        action="store_true",
        help="only let servers ask it too, without answering from it",
    )
    shadow.add_argument("--no-shadow", action="store_true", help="end that")
    rollback = command(
        "rollback", "put the model before into production and withdraw the one that is there"
    )
    rollback.add_argument(
        "--to",
        type=int,
        metavar="VERSION",
        help="this version's (default: the newest other model that was not withdrawn)",
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
    base = (parsed.base or f"{parsed.output.rstrip('/')}/serving/genre").rstrip("/")
    commands = {
        "list": _list,
        "show": _show,
        "promote": _promote,
        "rollback": _rollback,
        "verify": _verify,
    }
    try:
        if is_remote(base):
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
            runtime.quieten()
            open_object_stores(base)
        if not versions(base):
            raise UserError(f"{base} holds no versions: `make run` trains and pushes one")
        return commands[parsed.command](base, parsed)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {base}: {error}", file=sys.stderr)
        return 2


def _list(base: str, parsed: argparse.Namespace) -> int:
    rows = history(base, release_log.read(base))
    if parsed.json:
        _print_json([dataclasses.asdict(row) for row in rows])
        return 0
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("version", "model", "in production from", "to", "run", "accuracy", ""):
        table.add_column(title, overflow="fold")
    for row in rows:
        accuracy = "" if row.test_accuracy is None else f"{row.test_accuracy:.3f}"
        end = "now" if row.in_production else _moment(row.production_to)
        cells = (str(row.version), row.model, _moment(row.production_from), end, row.run_id)
        # Text, and never a string: a name may hold what rich takes for markup.
        table.add_row(*(Text(cell) for cell in (*cells, accuracy, _note(row))))
    _console().print(table)
    return 0


def _show(base: str, parsed: argparse.Namespace) -> int:
    log = release_log.read(base)
    lines = lines_about(parsed.version, log)
    rows = [row for row in history(base, log) if row.version == parsed.version]
    if not rows:
        there = ", ".join(map(str, versions(base)))
        raise UserError(f"{base} has no version {parsed.version}. It has: {there}")
    release = read_release(f"{base}/{parsed.version}")
    if parsed.json:
        entries = [dataclasses.asdict(line) for line in lines]
        _print_json({"history": dataclasses.asdict(rows[0]), "release": release, "log": entries})
        return 0
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in release.items():
        if name in ("files", "evidence") and isinstance(value, dict):
            value = f"{len(value)} files" if name == "files" else ", ".join(value) or "none"
        if name != "log":
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            table.add_row(Text(name), Text(text))
    if not release:
        state = "cannot be read" if rows[0].there else "is not there any more"
        table.add_row(Text("version"), Text(f"{parsed.version} ({state})"))
    table.add_row(Text("checksum"), Text(rows[0].checksum))
    table.add_row(Text("now"), Text(_note(rows[0])))
    for line in lines:
        table.add_row(Text(f"log line {line.sequence}"), Text(_sentence(line)))
    _console().print(table)
    return 0


def _promote(base: str, parsed: argparse.Namespace) -> int:
    if parsed.no_shadow:
        version = unmark_shadow(base)
        text = "There was no shadow." if version is None else f"Version {version} is not asked now."
        return _done(parsed, {"shadow": None, "was": version}, text)
    if parsed.version is None:
        raise UserError("promote needs a VERSION; `list` shows them")
    if parsed.shadow:
        mark_shadow(base, parsed.version)
        text = f"Version {parsed.version} is the shadow: servers ask it too, and answer without it."
        return _done(parsed, {"shadow": parsed.version}, text)
    done = releases.promote(base, parsed.version)
    if read_shadow(base) == parsed.version:
        unmark_shadow(base)  # a shadow of itself tells nothing
    return _published(parsed, base, done)


def _rollback(base: str, parsed: argparse.Namespace) -> int:
    return _published(parsed, base, releases.rollback(base, to=parsed.to))


def _published(parsed: argparse.Namespace, base: str, done: releases.Push) -> int:
    release = read_release(done.path)
    if not done.written:
        text = f"Version {done.version} holds this model and is in production already."
    else:
        text = (
            f"Version {done.version} is in production: {release.get('model', 'the model')}, the "
            f"files of version {release.get('source_version')}."
        )
    lines = [
        line
        for line in release_log.read(base).entries
        if line is not None and line.action == release_log.WITHDRAW
    ]
    if done.written and parsed.command == "rollback":
        text += (
            f" Version {lines[-1].version} was withdrawn: no run pushes its model again unless "
            "`promote` allows it."
        )
    fields = {"version": done.version, "written": done.written, "log_head": done.log_head}
    return _done(parsed, fields, text)


def _verify(base: str, parsed: argparse.Namespace) -> int:
    log = release_log.read(base)
    there = versions(base)
    chosen = there if parsed.all else [there[-1] if parsed.version is None else parsed.version]
    by_version = {version: version_faults(base, version, log) for version in chosen}
    of_log, notes = log_faults(base, log)
    faults = [fault for found in by_version.values() for fault in found] + of_log
    if parsed.json:
        verified = [version for version, found in by_version.items() if not found]
        fields = {"faults": faults, "notes": notes, "intact": verified, "log_head": log.head}
        _print_json({"ok": not faults, **fields})
        return int(bool(faults))
    for sentence in faults:
        print(f"ALTERED: {sentence}")
    for version, found in by_version.items():
        if not found:
            print(f"version {version} is what was released")
    if not of_log and log.lines:
        print(f"the log is intact: {len(log.lines)} lines, the last one's SHA-256 is {log.head}")
    for note in notes:
        print(f"note: {note}")
    return int(bool(faults))


def _done(parsed: argparse.Namespace, fields: dict[str, Any], text: str) -> int:
    if parsed.json:
        _print_json(fields)
    else:
        print(text)
    return 0


def _note(row: Released) -> str:
    notes = []
    if row.source is not None:
        notes.append(f"{row.action} to {row.source}")
    if row.in_production:
        notes.append("in production")
    if row.withdrawn:
        notes.append("withdrawn")
    if row.shadow:
        notes.append("shadow")
    if not row.there:
        notes.append("folder is gone")
    return ", ".join(notes)


def _sentence(line: release_log.Entry) -> str:
    replaced = f", in place of {line.replaces}" if line.replaces is not None else ""
    source = f", the files of {line.source}" if line.source is not None else ""
    return f"{_moment(line.time)} {line.action} {line.version}{source}{replaced}"


def _moment(time: str) -> str:
    """A time of the log as a person reads it: "2026-11-22 13:50 UTC"."""
    return f"{time[:10]} {time[11:16]} UTC" if time.endswith("Z") and len(time) == 20 else time


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_WIDE)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())
