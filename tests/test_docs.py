"""The documentation: its links lead somewhere, and its commands have the flags that exist."""

import re
import shlex

import pytest
import yaml

from pipeline import options
from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)")
_FILE = re.compile(r"`((?:tests|benchmarks|components|pipeline|serving|kubeflow)/[\w./-]+)`")
_PAGE = re.compile(r"\bdocs/[\w/-]+\.md")
_RUN = re.compile(r"^make run\b([^#\n]*)", re.MULTILINE)
_WORD = re.compile(r"\w")  # the lines of a table are none
_WORDS = 15_000  # of all that is neither reference nor notes


def _anchors(text):
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    """Of the pages outside the site, whose own links `make docs` checks (tests/test_site.py)."""
    for target, anchor in _LINK.findall(page.read_text()):
        if "://" in target:
            continue
        file = page.parent / target
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in _anchors(file.read_text()), f"{page.name} links to {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_named_in_the_docs_exist(page):
    text = page.read_text()
    named = {name for name in _FILE.findall(text) if f"# {name}\n" not in text}  # shown there
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_pages_named_in_the_code_exist():
    named = {
        name
        for folder in ("benchmarks", "components", "kubeflow", "pipeline", "serving", "tests")
        for file in (ROOT / folder).rglob("*.*")
        if file.suffix in (".py", ".yaml", ".conf", ".jinja")
        for name in _PAGE.findall(file.read_text())
    }
    assert len(named) > 10
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_docs_are_short_enough_to_be_read():
    parts = ("reference", "notes")
    pages = [
        page for page in PAGES if page.parent.name not in parts and page.name != "CHANGELOG.md"
    ]
    words = [word for page in pages for word in page.read_text().split() if _WORD.search(word)]
    assert len(words) <= _WORDS


def test_the_version_is_the_same_wherever_it_stands():
    project = (ROOT / "pyproject.toml").read_text()
    (version,) = re.findall(r'^version = "(.*)"', project, re.MULTILINE)
    for file, pattern in {
        "CHANGELOG.md": r"^## (\d+\.\d+\.\d+)",
        "kubeflow/manifests/kustomization.yaml": r"newTag: (\S+)",
        "docs/how-to/kubeflow.md": r"gatefold:(\d\S*)",
        "docs/tutorial/kubeflow.md": r"gatefold:(\d[\w.]*)",
    }.items():
        stated = re.findall(pattern, (ROOT / file).read_text(), re.MULTILINE)
        assert stated[:1] == [version], f"{file} says {stated}, pyproject.toml {version}"


def test_commands_of_the_readme_are_accepted_by_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("genres_original", "my music"):
        (tmp_path / folder).mkdir()
    (tmp_path / "artists.csv").write_text("track_id,artist\n")
    commands = _RUN.findall((ROOT / "README.md").read_text())
    assert len(commands) >= 2
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
