"""The documentation: its links lead somewhere, and its commands have the flags that exist."""

import re
import shlex

import pytest
import yaml

from pipeline import options
from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)")
_FILE = re.compile(r"`((?:tests|benchmarks|components|pipeline|serving|kubeflow)/[\w./-]+)`")
_RUN = re.compile(r"^make run\b([^#\n]*)", re.MULTILINE)


def _anchors(text):
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for target, anchor in _LINK.findall(page.read_text()):
        if "://" in target:
            continue
        file = page.parent / target
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in _anchors(file.read_text()), f"{page.name} links to {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_the_docs_exist(page):
    named = set(_FILE.findall(page.read_text()))
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_pages_of_the_docs_are_on_the_readme():
    linked = {target for target, _ in _LINK.findall((ROOT / "README.md").read_text())}
    assert {f"docs/{page.name}" for page in PAGES if page.parent.name == "docs"} <= linked


def test_commands_of_the_readme_are_accepted_by_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("genres_original", "my music"):
        (tmp_path / folder).mkdir()
    (tmp_path / "artists.csv").write_text("track_id,artist\n")
    commands = _RUN.findall((ROOT / "README.md").read_text())
    assert len(commands) >= 6
    for command in commands:
        variables = dict(word.split("=", 1) for word in shlex.split(command))
        arguments = shlex.split(variables.get("ARGS", ""))
        if "DATA" in variables:
            arguments += ["--data", variables["DATA"]]
        if "MODELS" in variables:
            arguments += ["--models", variables["MODELS"]]
        options.parse(arguments)  # raises or exits where a flag or value is unknown


def test_pre_commit_runs_what_make_lint_runs():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert [hook["entry"] for hook in hooks] == ["make lint"]
    assert hooks[0]["always_run"] and not hooks[0]["pass_filenames"]
