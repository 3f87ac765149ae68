"""Publishing a report: with the outcome, as a whole, over what was there."""

import json

import pytest

from components.common import published_report
from components.common.published_report import MARKER

CARD = "---\ntags: [a]\n---\n# A model\n"


@pytest.fixture
def report(tmp_path) -> str:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "index.html").write_text(f"<p>{MARKER}</p><p>ö</p>")
    (folder / "report.json").write_text('{"chosen": "cnn"}')
    (folder / "model_card.md").write_text(CARD)
    (folder / "ingest.html").write_text("<h1>Ingest</h1>")
    return str(folder)


def read(folder) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_each_file_says_what_the_push_came_to(report, tmp_path):
    folder = tmp_path / "a [b]" / "report"
    published_report.publish(report, f"{folder}/", "<cnn> & more.")
    files = read(folder)
    assert files["index.html"] == "<p>&lt;cnn&gt; &amp; more.</p><p>ö</p>"
    assert json.loads(files["report.json"]) == {"chosen": "cnn", "outcome": "<cnn> & more."}
    assert files["model_card.md"] == f"{CARD}\n> &lt;cnn&gt; &amp; more.\n"


def test_it_replaces_what_an_earlier_run_published_and_leaves_nothing_behind(report, tmp_path):
    folder = tmp_path / "report"
    published_report.publish(report, str(folder), "first.")
    published_report.publish(report, str(folder), "second.")
    files = read(folder)
    assert set(files) == {"index.html", "report.json", "model_card.md", "ingest.html"}
    assert "second." in files["index.html"] and "first." not in files["index.html"]


def test_a_publication_that_fails_keeps_what_was_there(report, tmp_path, monkeypatch):
    folder = tmp_path / "report"
    published_report.publish(report, str(folder), "first.")
    (folder / "index.html").unlink()
    (folder / "index.html").mkdir()  # a file cannot take its place
    (folder / "index.html" / "kept").write_text("")
    with pytest.raises(Exception, match=r"index\.html"):
        published_report.publish(report, str(folder), "second.")
    assert {file.name for file in folder.iterdir()} == {
        "index.html",
        "report.json",
        "model_card.md",
        "ingest.html",
    }
