"""Makes the pages of docs/reference from the code while MkDocs builds; none of them is written.

A hook of MkDocs (see mkdocs.yml). Signatures are read from the source, so no model is made.
"""

import argparse
import html
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gatefold
from components.common.command_line import Parser
from components.gate.gates.rows import GATES
from components.gate.settings import GateSettings
from components.trainer.catalog import CATALOG
from components.trainer.settings import TrainingSettings
from pipeline.settings_table import AudioSettings, settings
from serving.server.metrics import Metrics

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
# Modules whose `build_parser` reads a word's flags, where it is not the word's own.
PARSERS = {
    "run": "pipeline.options",
    "serve": "serving.server.cli",
    "client": "serving.client.cli",
    "kubeflow": "kubeflow.options",
    "classify --tags": "pipeline.music_tags",
}


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages to those of the site."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lets the search list the notes last."""
    if page.file.src_uri.startswith("notes/"):
        page.meta["search"] = {"boost": 0.1}
    return markdown


def pages() -> dict[str, str]:
    """The text of every page of the reference, by its name."""
    made = {
        "commands": ("Commands and flags", _commands()),
        "settings": ("Settings", _settings()),
        "gates": ("Gates", _gates()),
        "signatures": ("Signatures", _signatures()),
        "metrics": ("Metrics", _metrics()),
        "exit-codes": ("Exit codes", _exit_codes()),
    }
    return {name: "\n\n".join([f"# {title}", *parts]) for name, (title, parts) in made.items()}


def parsers() -> Iterator[tuple[str, str, Parser]]:
    """Name, purpose and parser of every command, and of its commands."""
    for word in [*gatefold.WORDS, "classify --tags"]:
        if word == "dag":  # it reads the flags of run
            continue
        module = PARSERS.get(word) or gatefold.WORDS[word][0]
        parser = importlib.import_module(module).build_parser()
        yield f"gatefold {word}", parser.description or "", parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                purposes = {choice.dest: choice.help for choice in action._choices_actions}
                for name, command in action.choices.items():
                    yield f"gatefold {word} {name}", purposes[name] or "", command


def _table(*columns: str, rows: Iterable[tuple[object, ...]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _text(words: object) -> str:
    """Text for a cell; what stands between backticks is code."""
    parts = " ".join(str(words).split()).replace("|", "\\|").split("`")
    parts[::2] = [html.escape(part, quote=False).replace("*", "\\*") for part in parts[::2]]
    return "`".join(parts)


def _code(value: object) -> str:
    return f"`{value}`" if str(value) else ""


def _commands() -> Iterator[str]:
    yield "`make run` installs `gatefold` into `.venv/bin`; make has words for frequent calls."
    yield "## make"
    words = re.findall(r"^([a-z-]+):.*## (.*)$", MAKEFILE, re.M)
    yield _table("command", "does", rows=((_code(f"make {word}"), text) for word, text in words))
    yield "```bash\n" + "\n".join(re.findall(r"^#   (make .*)$", MAKEFILE, re.M)) + "\n```"
    for name, purpose, parser in parsers():
        yield f"{'#' * min(3, len(name.split()))} {name}\n\n{_text(purpose)}"
        for group in parser._action_groups:
            rows = list(_flags(parser, group._group_actions))
            if rows:
                yield _table(group.title or "flags", "meaning", rows=rows)
        if parser.epilog:
            yield f"```text\n{parser.epilog.strip()}\n```"
    dag = inspect.getdoc(importlib.import_module("pipeline.local.dag")) or ""
    yield f"## gatefold dag\n\n{dag}\n\n`--mermaid` prints the DAG for a Mermaid viewer."


def _flags(
    parser: argparse.ArgumentParser, actions: list[argparse.Action]
) -> Iterator[tuple[str, str]]:
    formatter = parser._get_formatter()
    for action in actions:
        hidden = action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction)
        if not hidden and not isinstance(action, argparse._SubParsersAction):
            flag = formatter._format_action_invocation(action)
            yield _code(flag), _text(formatter._expand_help(action) if action.help else "")


def _settings() -> Iterator[str]:
    yield "`gatefold run --set KEY=VALUE` changes any of them; `gatefold settings` prints them."
    yield _settings_table(AudioSettings(), "audio")
    yield _settings_table(TrainingSettings(), "training")
    yield "## Models\n\nWhat differs from the defaults above."
    defaults = {
        setting.key: setting.default for setting in settings(TrainingSettings(), "training")
    }
    rows = []
    for name, entry in CATALOG.items():
        own = settings(entry.recommended, "training") if entry.recommended else ()
        changed = [
            f"{key.partition('.')[2]}={value}" for key, _, value, _ in own if value != defaults[key]
        ]
        rows.append((_code(name), _code(entry.feature), " ".join(map(_code, changed))))
    yield _table("model", "feature", "its own settings", rows=rows)


def _settings_table(tree: Any, prefix: str) -> str:
    rows = (
        (_code(key), kind, _code(default), _text(meaning))
        for key, kind, default, meaning in settings(tree, prefix)
    )
    return _table("key", "type", "default", "meaning", rows=rows)


def _gates() -> Iterator[str]:
    yield "[How the gate decides](../explanation/gate.md) gives the reasons."
    yield "## Thresholds\n\nKeys of the file that `--gate` names; `null` switches a threshold off."
    yield _settings_table(GateSettings(), "")
    yield "## Rows of the report"
    rows = (
        (_code(gate), title, f"{direction} the threshold")
        for gate, (title, direction) in GATES.items()
    )
    yield _table("gate", "what it asks", "its figure is to be", rows=rows)


def signatures() -> dict[str, tuple[str, dict[str, str]]]:
    """The function behind every signature of a release, and its inputs with their types."""
    source = (ROOT / "components/trainer/release/export.py").read_text()
    specs = re.findall(r'(\w+) = tf.TensorSpec\((.*), tf.(\w+), name="(\w+)"\)', source)
    inputs = {variable: (name, f"{kind} {shape}") for variable, shape, kind, name in specs}
    owners = {"graph": "genre_graph.GenreGraph", "of_examples": "export._ExampleFunctions"}
    endpoints = re.findall(r'add_endpoint\("(\w+)", (\w+)\.(\w+), \[(.*)\]\)', source)
    return {
        signature: (f"{owners[owner]}.{method}", dict(map(inputs.get, variables.split(", "))))
        for signature, owner, method, variables in endpoints
    }


def _signatures() -> Iterator[str]:
    yield "What a released SavedModel answers, over gRPC, REST or in a session."
    for name, (function, inputs) in signatures().items():
        yield f"## {name}"
        yield _table("input", "type", rows=((_code(key), kind) for key, kind in inputs.items()))
        yield (
            f"::: components.trainer.release.{function}\n    options:\n"
            "      show_root_heading: false\n      show_root_toc_entry: false"
        )


def _metrics() -> Iterator[str]:
    yield "`/monitoring/prometheus/metrics` on the REST port has them, and those of the process."
    rows = []
    for metric in vars(Metrics()).values():
        if hasattr(metric, "describe"):
            (family,) = metric.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = ", ".join(map(_code, metric._labelnames))
            rows.append((_code(name), family.type, labels, _text(family.documentation)))
    yield _table("metric", "type", "labels", "meaning", rows=rows)


def _exit_codes() -> Iterator[str]:
    rows = []
    for name, _, parser in parsers():
        if len(name.split()) == 2:
            codes = (parser.epilog or "").partition("xit codes: ")[2].partition("\n\n")[0]
            rows.append((_code(name), _text(codes) or "0 done", parser.mistake_status))
    yield "Ctrl-C ends a command with 130."
    yield _table("command", "codes", "of a mistake in the flags", rows=rows)
