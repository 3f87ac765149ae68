"""The site of the docs: it builds strictly, loads nothing from outside, and is true to the code."""

import html
import re
import subprocess
import sys
from pathlib import Path

import prometheus_client
import pytest

import gatefold
from components.gate import settings as gate_settings
from components.gate.gates.rows import GATES
from pipeline import settings_table
from serving.server.metrics import Metrics
from tests.conftest import ROOT

_FLAG = re.compile(r'"(--[a-z][a-z-]+)')
_OTHERS = ("entry_point.py", "mlflow_store.py")  # their flags are Kubeflow's and MLflow's
_DECLARES_FLAGS = re.compile(r"\bOption\(|\.add_argument\b")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-W", "ignore", "-m", "mkdocs", "-q", "build", "--strict"]
    done = subprocess.run(
        [*build, "--site-dir", str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr  # where a link or an anchor is broken
    return folder


def code_of(page: Path) -> set[str]:
    """What stands in code on a page."""
    return set(map(html.unescape, re.findall(r"<code>(.*?)</code>", page.read_text())))


def test_every_flag_of_every_command_is_in_the_reference(site):
    written = {
        flag
        for folder in ("pipeline", "serving", "kubeflow")
        for file in (ROOT / folder).rglob("*.py")
        if _DECLARES_FLAGS.search(text := file.read_text()) and file.name not in _OTHERS
        for flag in _FLAG.findall(text)
    }
    assert len(written) > 80
    page = site / "reference" / "commands.html"
    documented = {word for code in code_of(page) for word in re.findall(r"--[a-z][a-z-]+", code)}
    assert written - documented == set()
    headings = set(re.findall(r'<h2 id="gatefold-([\w-]+)"', page.read_text()))
    assert {*gatefold.WORDS} <= headings


def test_every_word_of_make_is_in_the_reference(site):
    makefile = (ROOT / "Makefile").read_text()
    words = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    page = (site / "reference" / "commands.html").read_text()
    assert {word for word in words if f"<td><code>make {word}</code></td>" not in page} == set()


def test_every_setting_is_in_the_reference(site, capsys):
    settings_table.main([])
    keys = set(re.findall(r"^((?:audio|training)\.[\w.]+)", capsys.readouterr().out, re.MULTILINE))
    assert len(keys) > 30
    assert keys - code_of(site / "reference" / "settings.html") == set()


def test_every_gate_and_threshold_is_in_the_reference_with_its_default(site):
    page = site / "reference" / "gates.html"
    assert {*GATES} - code_of(page) == set()
    rows = re.findall(
        r"<td><code>(.+?)</code></td>\s*<td>.*?</td>\s*<td><code>(.+?)<", page.read_text()
    )
    defaults = gate_settings.flat(gate_settings.GateSettings())
    assert dict(rows) == {key: str(value) for key, value in defaults.items()}


def test_every_metric_is_in_the_reference(site):
    text = prometheus_client.generate_latest(Metrics().registry).decode()
    metrics = set(re.findall(r"^# TYPE (gatefold_\w+)", text, re.MULTILINE))
    named = {name for name in metrics if not name.endswith("_created")}
    assert len(named) >= 8
    assert named - code_of(site / "reference" / "metrics.html") == set()


def test_no_page_loads_anything_from_elsewhere(site):
    pages = [*site.rglob("*.html")]
    assert len(pages) > 50
    for page in pages:
        loads = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*", page.read_text())
        assert [tag for tag in loads if re.search(r"""["'](https?:)?//""", tag)] == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"""(@import|url\()\s*["']?(https?:)?//""", sheet.read_text()), sheet
