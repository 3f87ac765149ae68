"""The code's version in MLflow, with git and without."""

import shutil

from pipeline import fingerprint, run_parameters
from tests.conftest import ROOT


def test_without_git_the_version_is_a_hash_of_the_source(tmp_path, monkeypatch):
    """As in a container, which has no repository."""
    shutil.copytree(ROOT / "components", tmp_path / "components")
    for module in (fingerprint, run_parameters):
        monkeypatch.setattr(module, "_ROOT", tmp_path)
    before = run_parameters.code_version()
    assert len(before) == 16
    with (tmp_path / "components" / "pusher" / "executor.py").open("a") as source:
        source.write("\n")
    assert run_parameters.code_version() != before
