"""Code fingerprints: every file that a stage's result depends on belongs to that stage."""

from pathlib import Path

from pipeline import fingerprint
from tests.conftest import ROOT

# Settings reach a stage as parameters, so their file is no part of a code fingerprint.
PARAMETERS = {"components/audio/settings.py", "components/audio/__init__.py"}


def test_every_sound_module_belongs_to_ingest_or_to_features():
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "components" / "audio").glob("*.py")}
    owned = {*fingerprint.INGEST_CODE, *fingerprint.FEATURE_CODE, *PARAMETERS}
    assert modules - owned == set()


def test_ingest_and_features_share_no_module():
    assert not set(fingerprint.INGEST_CODE) & set(fingerprint.FEATURE_CODE)


def test_a_fingerprint_changes_with_one_byte_and_with_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "_ROOT", tmp_path)
    folder = tmp_path / "node"
    folder.mkdir()
    source: Path = folder / "executor.py"
    source.write_text("x = 1\n")
    before = fingerprint.source_fingerprint(["node"])
    source.touch()
    (folder / "notes.txt").write_text("not code")
    assert fingerprint.source_fingerprint(["node"]) == before
    source.write_text("x = 2\n")
    assert fingerprint.source_fingerprint(["node"]) != before
