"""Code fingerprints: every file that a stage's result depends on belongs to that stage."""

import shutil
from pathlib import Path

from pipeline import fingerprint
from tests.conftest import ROOT


def test_codec_code_belongs_to_ingest_and_feature_code_to_transform(tmp_path, monkeypatch):
    for folder in ("components/audio", "components/transform"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.setattr(fingerprint, "_ROOT", tmp_path)
    before = fingerprint.feature_fingerprint()
    for file, changes in (("codec.py", False), ("spectral.py", True), ("descriptors.py", True)):
        with (tmp_path / "components" / "audio" / file).open("a") as source:
            source.write("# changed\n")
        after = fingerprint.feature_fingerprint()
        assert (after != before) == changes, file
        before = after


def test_every_listed_path_exists():
    assert fingerprint.source_fingerprint(fingerprint.INGEST_CODE)
    assert fingerprint.source_fingerprint(fingerprint.TRAINER_CODE)


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
